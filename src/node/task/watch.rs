//! Notices changes in the directories of our files. Events mean only "look again": what changed is read anew.

use crate::node::write::is_temporary;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The one file of the state directory whose change matters: `apply` and `restore` write it.
const LEDGER: &str = "ledger.json";
/// More levels of directories than are ever made at once.
const LOOKS: usize = 8;
/// So long must nothing have happened after a mark. k3s removes its directories file by file when it starts; what is put
/// back into one of them meanwhile makes that fail, and its start with it.
const REST: Duration = Duration::from_millis(100);
/// At most: drift is repaired within a second.
pub(super) const LONGEST_REST: Duration = Duration::from_millis(500);
/// Names of what has gone that are kept one by one; with more of them everything counts as gone.
const MOST_GONE: usize = 1024;

/// Watches directories that may come, go and come again.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: Places,
    gone: Gone,
}

/// What was removed or renamed since the last look. The kernel and the watcher stop watching a directory then, and
/// everything below it, even one that was made anew and watched before they came to it; the file system may give the
/// new one the number of the old. So only this tells that a directory is not watched any more.
#[derive(Clone, Debug, Default)]
struct Gone(Arc<Mutex<BTreeSet<PathBuf>>>);

/// Directories, with what tells one that was made anew under the old name.
type Places = BTreeMap<PathBuf, (u64, u64)>;

/// Waits until there has been no mark for a while, at most until `latest`.
pub(super) async fn at_rest(marks: &mut mpsc::Receiver<()>, latest: Instant) {
    while Instant::now() < latest {
        let until = latest.min(Instant::now() + REST);
        if !matches!(timeout_at(until, marks.recv()).await, Ok(Some(()))) {
            // The sender lives as long as the receiver is asked, else nothing will come.
            return;
        }
    }
}

// === impl Watch ===

impl Watch {
    /// A watcher, and the channel that gets a mark when anything happens. One mark is enough: a full channel means
    /// that a look is already due.
    pub(super) fn new(state_directory: &Path) -> (Self, mpsc::Receiver<()>) {
        let (sender, receiver) = mpsc::channel(1);
        let state = state_directory.to_owned();
        let gone = Gone::default();
        let told = gone.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Before the mark: whoever gets that looks for this.
            match &event {
                Ok(event) => told.note(event),
                Err(_) => told.everything(),
            }
            if event.map_or(true, |event| matters(&event, &state)) {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .map_err(|error| {
                tracing::warn!("cannot watch directories, changes are noticed every 30 s: {error}")
            })
            .ok();
        let watch = Self {
            watcher,
            watched: Places::new(),
            gone,
        };
        (watch, receiver)
    }

    /// Stands in for one that is in use elsewhere.
    pub(super) fn idle() -> Self {
        Self {
            watcher: None,
            watched: Places::new(),
            gone: Gone::default(),
        }
    }

    /// Watches these directories, or of a missing one the nearest that is there. To be called before they are read:
    /// then nothing is missed.
    pub(super) fn follow(&mut self, directories: &BTreeSet<PathBuf>) {
        // A directory that was made while the one above it was not watched yet is seen at the second look.
        for _ in 0..LOOKS {
            self.forget_gone();
            let wanted = nearest(directories);
            if wanted == self.watched {
                return;
            }
            self.exchange(wanted);
        }
    }

    /// What has gone is watched anew, whatever stands there now.
    fn forget_gone(&mut self) {
        let gone = self.gone.take();
        let Some(watcher) = self.watcher.as_mut().filter(|_| !gone.is_empty()) else {
            return;
        };
        self.watched.retain(|path, _| {
            let stays = !path.ancestors().any(|place| gone.contains(place));
            if !stays {
                // The watcher may have forgotten it already.
                let _ = watcher.unwatch(path);
            }
            stays
        });
    }

    fn exchange(&mut self, wanted: Places) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (path, identity) in &self.watched {
            if wanted.get(path) != Some(identity) {
                // Of a directory that is gone the kernel has dropped it already.
                let _ = watcher.unwatch(path);
            }
        }
        let before = std::mem::take(&mut self.watched);
        for (path, identity) in wanted {
            let known = before.get(&path) == Some(&identity);
            let watched = if known {
                Ok(())
            } else {
                watcher.watch(&path, RecursiveMode::NonRecursive)
            };
            match watched {
                Ok(()) => {
                    self.watched.insert(path, identity);
                }
                Err(error) => tracing::debug!("cannot watch {}: {error}", path.display()),
            }
        }
    }
}

// === impl Gone ===

impl Gone {
    fn note(&self, event: &Event) {
        if event.need_rescan() {
            return self.everything();
        }
        let goes = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        if goes {
            let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gone.extend(event.paths.iter().cloned());
            if gone.len() > MOST_GONE {
                *gone = everywhere();
            }
        }
    }

    /// Events were lost.
    fn everything(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = everywhere();
    }

    fn take(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn everywhere() -> BTreeSet<PathBuf> {
    BTreeSet::from([PathBuf::from("/")])
}

fn nearest(directories: &BTreeSet<PathBuf>) -> Places {
    let mut places = Places::new();
    for directory in directories {
        for place in directory.ancestors() {
            if let Ok(metadata) = fs::metadata(place)
                && metadata.is_dir()
            {
                places.insert(place.to_owned(), (metadata.dev(), metadata.ino()));
                break;
            }
        }
    }
    places
}

/// Reading is no change: containerd reads these files on every pull, and so do we.
fn matters(event: &Event, state: &Path) -> bool {
    let changes = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    let counts = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        // A write of ours that fails leaves no other trace than its temporary file.
        !is_temporary(name) && (path.parent() != Some(state) || name == LEDGER)
    };
    changes && (event.paths.is_empty() || event.paths.iter().any(counts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, Flag, RemoveKind, RenameMode};
    use tokio::time::{sleep, timeout};

    #[test]
    fn reading_is_no_change() {
        let state = Path::new("/state");
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let modify = EventKind::Modify(ModifyKind::Any);
        let table = [
            (
                event(
                    EventKind::Access(AccessKind::Open(AccessMode::Any)),
                    "/c/hosts.toml",
                ),
                false,
            ),
            (
                event(
                    EventKind::Access(AccessKind::Close(AccessMode::Read)),
                    "/c/hosts.toml",
                ),
                false,
            ),
            (
                event(
                    EventKind::Access(AccessKind::Close(AccessMode::Write)),
                    "/c/hosts.toml",
                ),
                true,
            ),
            (event(EventKind::Create(CreateKind::Any), "/c"), true),
            (event(modify, "/state/sizes"), false),
            (event(modify, "/state/ledger.json"), true),
            (event(modify, "/state/.ledger.json.harbor-pilot-new"), false),
            (
                event(
                    EventKind::Create(CreateKind::Any),
                    "/c/.hosts.toml.harbor-pilot-new",
                ),
                false,
            ),
            // An overflow of the kernel's queue names no path.
            (Event::new(EventKind::Other), true),
        ];
        for (event, expected) in table {
            assert_eq!(matters(&event, state), expected, "{event:?}");
        }
    }

    #[tokio::test]
    async fn directories_that_come_and_go_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let registry = root.path().join("certs.d/docker.io");
        let wanted = BTreeSet::from([registry.clone()]);
        let (mut watch, mut marks) = Watch::new(Path::new("/nowhere"));
        let limit = Duration::from_secs(5);
        for _ in 0..2 {
            watch.follow(&wanted);
            fs::create_dir_all(&registry).unwrap();
            timeout(limit, marks.recv()).await.unwrap().unwrap();
            // One level of the missing ones a time.
            watch.follow(&wanted);
            sleep(Duration::from_millis(50)).await;
            let _ = marks.try_recv();
            fs::write(registry.join("hosts.toml"), "").unwrap();
            timeout(limit, marks.recv()).await.unwrap().unwrap();
            fs::remove_dir_all(root.path().join("certs.d")).unwrap();
            timeout(limit, marks.recv()).await.unwrap().unwrap();
            sleep(Duration::from_millis(50)).await;
            let _ = marks.try_recv();
        }
    }

    /// Waits for the last marks of what happened before.
    async fn quiet(marks: &mut mpsc::Receiver<()>) {
        let pause = Duration::from_millis(100);
        while timeout(pause, marks.recv()).await.is_ok() {}
    }

    /// A write in it makes a mark.
    async fn is_watched(directory: &Path, marks: &mut mpsc::Receiver<()>) -> bool {
        quiet(marks).await;
        fs::write(directory.join("hosts.toml"), "").unwrap();
        let limit = Duration::from_secs(5);
        matches!(timeout(limit, marks.recv()).await, Ok(Some(())))
    }

    /// ext4 gives the new directory the number of the old one, so that by its number it is the same.
    #[tokio::test]
    async fn a_directory_that_was_made_anew_between_two_looks_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let registry = root.path().join("certs.d/docker.io");
        let wanted = BTreeSet::from([registry.clone(), root.path().join("certs.d")]);
        let (mut watch, mut marks) = Watch::new(Path::new("/nowhere"));
        for round in 0..5 {
            let _ = fs::remove_dir_all(root.path().join("certs.d"));
            fs::create_dir_all(&registry).unwrap();
            quiet(&mut marks).await;
            watch.follow(&wanted);
            assert!(is_watched(&registry, &mut marks).await, "round {round}");
        }
    }

    /// The watcher drops what it sees leave, and the number stays.
    #[tokio::test]
    async fn a_directory_that_was_away_between_two_looks_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let registry = root.path().join("certs.d/docker.io");
        let wanted = BTreeSet::from([registry.clone(), root.path().join("certs.d")]);
        fs::create_dir_all(&registry).unwrap();
        let (mut watch, mut marks) = Watch::new(Path::new("/nowhere"));
        watch.follow(&wanted);
        for (from, away) in [
            (registry.clone(), root.path().join("certs.d/docker.io.old")),
            (root.path().join("certs.d"), root.path().join("old")),
        ] {
            fs::rename(&from, &away).unwrap();
            fs::rename(&away, &from).unwrap();
            quiet(&mut marks).await;
            watch.follow(&wanted);
            assert!(is_watched(&registry, &mut marks).await, "{away:?}");
        }
    }

    #[test]
    fn what_goes_is_noted_and_lost_events_are_everything() {
        let of = |kind| Event::new(kind).add_path("/c/docker.io".into());
        let all = [PathBuf::from("/")];
        let one = [PathBuf::from("/c/docker.io")];
        let table = [
            (of(EventKind::Remove(RemoveKind::Folder)), &one[..]),
            (
                of(EventKind::Modify(ModifyKind::Name(RenameMode::From))),
                &one,
            ),
            (of(EventKind::Create(CreateKind::Folder)), &[]),
            (of(EventKind::Modify(ModifyKind::Any)), &[]),
            (Event::new(EventKind::Other).set_flag(Flag::Rescan), &all),
        ];
        for (event, expected) in table {
            let gone = Gone::default();
            gone.note(&event);
            assert!(gone.take().iter().eq(expected), "{event:?}");
            assert!(gone.take().is_empty());
        }
        let gone = Gone::default();
        for number in 0..=MOST_GONE {
            gone.note(
                &Event::new(EventKind::Remove(RemoveKind::File))
                    .add_path(format!("/state/{number}").into()),
            );
        }
        assert!(gone.take().iter().eq(&all));
    }

    /// A start of k3s that is under way is not disturbed, and a restless directory is looked at all the same.
    #[tokio::test(start_paused = true)]
    async fn a_look_waits_for_rest_and_not_for_ever() {
        for (marks_sent, waited) in [(0, 100), (1, 190), (3, 370), (9, 500)] {
            let (sender, mut marks) = mpsc::channel(1);
            let start = Instant::now();
            let send = async {
                for _ in 0..marks_sent {
                    sleep(Duration::from_millis(90)).await;
                    let _ = sender.try_send(());
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = send => {}
                () = at_rest(&mut marks, start + LONGEST_REST) => {}
            }
            let waited = Duration::from_millis(waited);
            assert_eq!(start.elapsed(), waited, "{marks_sent} marks");
        }
    }
}
