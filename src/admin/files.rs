//! What the agent changed in the node's files, as unified diffs from what each file would be without it. Read when somebody
//! looks, and kept for a few seconds.

use crate::config::Secret;
use crate::node::NodeFilesStatus;
use crate::node::diff::unified;
use crate::node::ledger::{Entry, Kind, Store};
use parking_lot::Mutex;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

/// Files that are shown, bytes that are read of each, and bytes of a diff.
const FILES: usize = 100;
const FILE_BYTES: u64 = 256 * 1024;
const DIFF_BYTES: usize = 16 * 1024;

/// While nothing has changed the same is shown for so long.
const KEPT: Duration = Duration::from_secs(10);

/// A dead file system must not hold up the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A file that the agent changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileDiff {
    pub(super) path: String,
    /// Empty: it is as it would be without the agent.
    pub(super) diff: String,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FileDiffs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    one: Arc<Semaphore>,
    kept: Mutex<Kept>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    /// What was known of the files then, and when.
    of: Option<(Arc<NodeFilesStatus>, Instant)>,
    files: Arc<[FileDiff]>,
}

// === impl FileDiffs ===

impl FileDiffs {
    pub(crate) fn new(state_directory: &Path) -> Self {
        Self(Arc::new(Inner {
            store: Store::new(state_directory),
            one: Arc::new(Semaphore::new(1)),
            kept: Mutex::default(),
        }))
    }

    /// What was read last.
    pub(super) fn last(&self) -> Arc<[FileDiff]> {
        self.kept(|kept| kept.files.clone())
    }

    /// Reads again where that is due. `secret` is written into files, and not shown.
    pub(super) async fn refresh(&self, of: Arc<NodeFilesStatus>, secret: Option<Secret>) {
        let now = Instant::now();
        let is_new = self.kept(|kept| {
            let known = kept.of.as_ref();
            known.is_some_and(|(known, at)| {
                Arc::ptr_eq(known, &of) && now.duration_since(*at) < KEPT
            })
        });
        if is_new {
            return;
        }
        // One reader hangs at most.
        let Ok(one) = self.0.one.clone().try_acquire_owned() else {
            return;
        };
        let inner = self.0.clone();
        let read = spawn_blocking(move || {
            let files = read(&inner.store, secret.as_ref());
            let mut kept = inner.kept.lock();
            *kept = Kept {
                of: Some((of, now)),
                files,
            };
            drop((kept, one));
        });
        // Later it is there for the next who asks.
        let _ = timeout(PATIENCE, read).await;
    }

    fn kept<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.0.kept.lock())
    }
}

fn read(store: &Store, secret: Option<&Secret>) -> Arc<[FileDiff]> {
    let Ok(ledger) = store.load() else {
        return Arc::default();
    };
    let files = ledger.files.iter().take(FILES);
    files
        .map(|(path, entry)| FileDiff {
            path: path.display().to_string(),
            diff: of_file(path, entry, secret),
        })
        .collect()
}

fn of_file(path: &Path, entry: &Entry, secret: Option<&Secret>) -> String {
    if entry.kind == Kind::Ca {
        // A page of base64 tells nobody anything.
        return "the CA certificate from the configuration\n".to_owned();
    }
    let now = match text(path) {
        Ok(now) => now,
        Err(error) => return format!("it cannot be read: {error}\n"),
    };
    let before = match &entry.original {
        None => None,
        Some(original) => match original.standing() {
            Some(standing) => Some(String::from_utf8_lossy(&standing.bytes).into_owned()),
            None => return "what it was without the agent is not known\n".to_owned(),
        },
    };
    let secrets: Vec<&Secret> = secret.into_iter().collect();
    let path = path.display().to_string();
    let diff = unified(&path, before.as_deref(), now.as_deref(), &secrets);
    let diff = match entry.kind {
        Kind::Registries => without_credentials(&diff),
        Kind::Hosts | Kind::Ca => diff,
    };
    match diff.get(..diff.floor_char_boundary(DIFF_BYTES)) {
        Some(first) if first.len() < diff.len() => format!("{first}\n…\n"),
        _ => diff,
    }
}

/// `None`: there is no file.
fn text(path: &Path) -> std::io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// registries.yaml holds passwords of the administrator's: of it only the lines that differ are shown, and of these none that
/// may hold one.
fn without_credentials(diff: &str) -> String {
    const WORDS: [&str; 4] = ["password", "auth", "token", "username"];
    let mut shown = String::new();
    for line in diff.lines().filter(|line| !line.starts_with(' ')) {
        let small = line.to_ascii_lowercase();
        let is_header = line.starts_with("+++") || line.starts_with("---");
        if !is_header && WORDS.iter().any(|word| small.contains(word)) {
            shown.extend(line.chars().take(1));
            shown.push_str(" (a line about credentials)");
        } else {
            shown.push_str(line);
        }
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_registries_yaml_are_not_shown() {
        let old = "configs:\n  a:\n    auth:\n      password: geheim\nmirrors:\n  b: {}\n";
        let new = old.replace("  b: {}", "  b: {endpoint: [x], auth: {password: geheim}}");
        let diff = unified("registries.yaml", Some(old), Some(&new), &[]);
        assert!(diff.contains("geheim"), "{diff}");
        let shown = without_credentials(&diff);
        assert!(!shown.contains("geheim"), "{shown}");
        assert!(
            shown.contains("-  b: {}\n+ (a line about credentials)\n"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn a_file_is_compared_with_what_it_was() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("hosts.toml");
        fs::write(&file, "server = \"x\"\n# key = word-of-the-node\n").unwrap();
        let ledger = serde_json::json!({
            "version": 1,
            "files": {file.to_str().unwrap(): {"kind": "hosts", "original": null, "written": []}},
        });
        fs::write(home.path().join("ledger.json"), ledger.to_string()).unwrap();
        let diffs = FileDiffs::new(home.path());
        let secret = Secret::new("word-of-the-node");
        let status = Arc::new(NodeFilesStatus::default());
        diffs.refresh(status.clone(), Some(secret.clone())).await;
        let shown = diffs.last();
        assert_eq!(shown[0].path, file.to_str().unwrap());
        assert!(
            shown[0]
                .diff
                .contains("+server = \"x\"\n+# key = [redacted]\n"),
            "{shown:?}"
        );
        // Nothing is read again while nothing has changed.
        fs::remove_file(&file).unwrap();
        diffs.refresh(status, Some(secret.clone())).await;
        assert_eq!(diffs.last(), shown);
        diffs.refresh(Arc::default(), Some(secret)).await;
        assert_eq!(diffs.last()[0].diff, "");
    }
}
