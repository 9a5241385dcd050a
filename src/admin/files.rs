//! What the agent changed in the node's files, as unified diffs from what each file would be without it, with the text of the
//! agent's own lines alone. Read when somebody looks, and kept for a few seconds.

use crate::node::NodeFilesStatus;
use crate::node::diff::unified;
use crate::node::hosts_toml::HEADER;
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

/// The diffs of the node's files, made on request and kept for a moment. Cheap to clone.
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

    /// Reads again where that is due.
    pub(super) async fn refresh(&self, of: Arc<NodeFilesStatus>) {
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
            let files = read(&inner.store);
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

fn read(store: &Store) -> Arc<[FileDiff]> {
    let Ok(ledger) = store.load() else {
        return Arc::default();
    };
    let files = ledger.files.iter().take(FILES);
    files
        .map(|(path, entry)| FileDiff {
            path: path.display().to_string(),
            diff: of_file(path, entry),
        })
        .collect()
}

fn of_file(path: &Path, entry: &Entry) -> String {
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
    let path = path.display().to_string();
    let diff = ours_alone(&unified(&path, before.as_deref(), now.as_deref(), &[]));
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

/// A diff with the lines of the agent alone; of all others it shows that they are there. Both kinds of files hold credentials of
/// the administrator's, in values of several lines and in comments too: no line tells by itself that it holds none.
fn ours_alone(diff: &str) -> String {
    let mut shown = String::with_capacity(diff.len());
    let mut is_below_mark = false;
    for (number, line) in diff.lines().enumerate() {
        // The names of the file, and places in it. What is gone was not the agent's.
        let is_place = number < 2 || line.starts_with(['@', '\\']);
        let text = line.strip_prefix(['+', ' ']);
        if is_place || text.is_some_and(|text| is_ours(text, is_below_mark)) {
            shown.push_str(line);
        } else {
            shown.extend(line.chars().take(1));
            shown.push('…');
        }
        shown.push('\n');
        is_below_mark = text.map_or(is_below_mark, is_mark);
    }
    shown
}

/// Whether the agent writes this line. Its key stands in none of them.
fn is_ours(text: &str, is_below_mark: bool) -> bool {
    const ALWAYS_THE_SAME: [&str; 6] = [
        "",
        HEADER,
        "capabilities = [\"pull\", \"resolve\"]",
        "dial_timeout = \"2s\"",
        "override_path = true",
        "skip_verify = true",
    ];
    let is_marked = text.ends_with(" # harbor-pilot");
    let is_table = is_below_mark && (text.starts_with("[host") || text == "[header]");
    // A carriage return alone ends a line for some readers.
    let is_one_line = !text.contains('\r');
    ALWAYS_THE_SAME.contains(&text) || (is_one_line && (is_marked || is_table || is_mark(text)))
}

/// Whether it says that the next line begins a table of ours. 0.1.0 wrote lists of the administrator's behind the same words.
fn is_mark(text: &str) -> bool {
    let who = text.strip_prefix("# harbor-pilot: ");
    who.is_some_and(|who| !who.contains('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_the_administrator_are_not_shown() {
        let old = "configs:\n  a:\n    auth:\n      password: |\n        geheim\n      username:\n        geheim\nmirrors:\n  b: {}\n";
        let new = old.replace(
            "  b: {}\n",
            "  b: {\n    auth: {password:\n    geheim}}\n  c: # harbor-pilot\n    endpoint: # harbor-pilot\n    - \"http://127.0.0.1:290\" # harbor-pilot\n",
        );
        let diff = unified("registries.yaml", Some(old), Some(&new), &[]);
        assert_eq!(diff.matches("geheim").count(), 2, "{diff}");
        let due = "--- registries.yaml\n+++ registries.yaml\n@@ -6,4 +6,9 @@\n …\n …\n …\n-…\n+…\n+…\n+…\n\
            +  c: # harbor-pilot\n+    endpoint: # harbor-pilot\n+    - \"http://127.0.0.1:290\" # harbor-pilot\n";
        assert_eq!(ours_alone(&diff), due);

        let theirs = "[host.\"https://geheim@a.example.com\"]\ncapabilities = [\"pull\"]\n[host.\"https://geheim@a.example.com\".header]\n\
            Authorization = \"Basic geheim\"\nX-Token = \"\"\"\ngeheim\"\"\"\n-- geheim\n";
        let ours = "# harbor-pilot: agent\n[host.\"http://127.0.0.1:290\"]\ncapabilities = [\"pull\", \"resolve\"]\n";
        let key = "[host.\"http://127.0.0.1:290\".header]\n\"x-harbor-pilot-key\" = \"geheim\"\n";
        let aside = theirs.replace('[', "#harbor-pilot:aside# [");
        let new = format!("{HEADER}\n\n{ours}{key}\n{aside}");
        for old in [Some(theirs), None] {
            let diff = unified("hosts.toml", old, Some(&new), &[]);
            assert!(diff.contains("geheim"), "{diff}");
            let shown = ours_alone(&diff);
            assert!(!shown.contains("geheim"), "{shown}");
            let begin = format!("+{HEADER}\n+\n{ours}").replace('\n', "\n+");
            let begin = begin.replace("++", "+");
            assert!(shown.contains(begin.trim_end_matches('+')), "{shown}");
        }
        let gone = ours_alone(&unified("hosts.toml", Some(&new), Some(theirs), &[]));
        assert!(!gone.contains("geheim"), "{gone}");
        assert_eq!(ours_alone(""), "");
    }

    #[tokio::test]
    async fn a_file_is_compared_with_what_it_was() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("hosts.toml");
        fs::write(
            &file,
            "server = \"x\" # harbor-pilot\nkey = \"word-of-the-node\"\n",
        )
        .unwrap();
        let ledger = serde_json::json!({
            "version": 1,
            "files": {file.to_str().unwrap(): {"kind": "hosts", "original": null, "written": []}},
        });
        fs::write(home.path().join("ledger.json"), ledger.to_string()).unwrap();
        let diffs = FileDiffs::new(home.path());
        let status = Arc::new(NodeFilesStatus::default());
        diffs.refresh(status.clone()).await;
        let shown = diffs.last();
        assert_eq!(shown[0].path, file.to_str().unwrap());
        let lines = "\n+server = \"x\" # harbor-pilot\n+…\n";
        assert!(shown[0].diff.ends_with(lines), "{shown:?}");
        // Nothing is read again while nothing has changed.
        fs::remove_file(&file).unwrap();
        diffs.refresh(status).await;
        assert_eq!(diffs.last(), shown);
        diffs.refresh(Arc::default()).await;
        assert_eq!(diffs.last()[0].diff, "");
    }
}
