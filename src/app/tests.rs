//! The composition root over real sockets on loopback.

use super::reload::{fingerprint, first_lines};
use super::*;
use crate::admission::Lookup;
use crate::config::Loader;
use crate::lifecycle::Inherited;
use crate::lifecycle::RawSignal;
use crate::telemetry::{Captured, EventName, Journal};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

fn write(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A home with a configuration that says this beside what every test needs.
fn home(listen: &str, more: &str) -> (TempDir, Loader) {
    let home = tempfile::tempdir().unwrap();
    let mut loader = Loader::packaged(BTreeMap::new());
    loader.config_file = home.path().join("config.toml");
    loader.explicit = true;
    let state = home.path().join("state");
    let text = format!(
        "[server]\nlisten = [\"{listen}\"]\nadmin = \"127.0.0.1:0\"\n[state]\ndirectory = \"{}\"\n{more}",
        state.display()
    );
    write(&loader.config_file, &text);
    (home, loader)
}

async fn built(loader: &Loader) -> Result<(Running, Captured), Error> {
    built_under(loader, Notifier::new(None, None)).await
}

async fn built_under(loader: &Loader, notifier: Notifier) -> Result<(Running, Captured), Error> {
    let (loaded, rejected) = load(loader)?;
    let (journal, captured) = Journal::capturing();
    let start = Start {
        loader: loader.clone(),
        journal,
        notifier,
        inherited: Inherited::default(),
        seed: 1,
        clients: Lookup::Kernel,
        explain: None,
    };
    let data = Threads::current();
    let running = build(start, loaded, rejected, &data).await?;
    Ok((running, captured))
}

#[tokio::test]
async fn what_was_bound_answers() {
    let (_home, loader) = home("127.0.0.1:0", "");
    let (running, _) = built(&loader).await.unwrap();
    let [listen] = running.bound.listen[..] else {
        panic!("{:?}", running.bound);
    };
    assert_ne!(listen.port(), 0);
    assert!(node::answers(listen).await);
    assert!(running.bound.admin.is_some() && running.bound.metrics.is_none());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (_home, loader) = home(&address.to_string(), "");
    let error = built(&loader).await.unwrap_err();
    assert!(
        matches!(error, Error::Bind { address: at, .. } if at == address),
        "{error}"
    );
    let said = error.to_string();
    assert!(
        said.contains(&format!("pid {}", std::process::id())),
        "{said}"
    );
}

#[tokio::test]
async fn bad_files_and_nothing_accepted_is_no_start() {
    let (home, loader) = home("127.0.0.1:0", "[nonsense]\nx = 1\n");
    let Err(Error::Config(problems)) = built(&loader).await else {
        panic!("it started");
    };
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(!home.path().join("state").exists(), "nothing was written");
}

/// Whoever asked may start it again; a daemon that failed leaves a closed port until it is back (design O3).
#[tokio::test]
async fn only_who_was_asked_to_stop_hands_its_listeners_over() {
    for fails in [false, true] {
        let (home, loader) = home("127.0.0.1:0", "");
        let path = home.path().join("notify");
        let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier::new(Some(path.into()), None);
        let (running, _) = built_under(&loader, notifier).await.unwrap();
        let (sender, signals) = Signals::by_hand();
        if fails {
            running.tasks.spawn("test", async {});
        } else {
            sender.send(RawSignal::Terminate).await.unwrap();
        }
        let ended = running.until_stopped(signals).await;
        assert_eq!(ended.is_err(), fails, "{ended:?}");
        let mut said = Vec::new();
        let mut text = [0; 500];
        while let Ok(length) = manager.recv(&mut text) {
            said.push(String::from_utf8_lossy(&text[..length]).into_owned());
        }
        let stored = said.iter().filter(|said| said.starts_with("FDSTORE=1"));
        assert_eq!(stored.count(), usize::from(!fails), "{said:?}");
    }
}

/// What needs a restart is said at the reload and not done; at the next one too, which does not bring it either.
#[tokio::test]
async fn every_reload_says_what_waits_for_a_restart() {
    let (_home, loader) = home("127.0.0.1:0", "");
    let (mut running, journal) = built(&loader).await.unwrap();
    let listen = running.bound.listen[0];
    let before = std::fs::read_to_string(&loader.config_file).unwrap();
    let text = before.replace(
        "listen = [\"127.0.0.1:0\"]",
        "listen = [\"127.0.0.1:5999\"]",
    );
    let first = format!("{text}[limits]\nconnections = 3\n");
    let second = format!("{first}[direct]\nenabled = false\n");
    for (text, waits) in [
        (
            &first,
            "a restart is needed for [server] addresses, [limits]",
        ),
        (
            &second,
            "a restart is needed for [server] addresses, [limits]",
        ),
        (&before, "is in force (SIGHUP)"),
    ] {
        write(&loader.config_file, text);
        running.reload("SIGHUP").await;
        let events = journal.events();
        let mut reloaded = events
            .iter()
            .filter(|event| event.event == EventName::ConfigReloaded);
        let message = &reloaded.next_back().unwrap().message;
        assert!(message.ends_with(waits), "{message}");
    }
    assert_ne!(listen.port(), 5999);
}

#[test]
fn a_changed_file_has_another_fingerprint() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("password");
    let all = [file.clone(), home.path().join("missing")];
    write(&file, "one");
    let first = fingerprint(&all);
    assert_eq!(first, fingerprint(&all));
    write(&file, "three");
    assert_ne!(first, fingerprint(&all), "another length");
    let second = fingerprint(&all);
    let new = home.path().join("new");
    write(&new, "seven");
    std::fs::rename(&new, &file).unwrap();
    assert_ne!(second, fingerprint(&all), "another file of the same length");
    let third = fingerprint(&all);
    std::fs::remove_file(&file).unwrap();
    assert_ne!(third, fingerprint(&all), "gone");
}

#[test]
fn a_status_line_names_three_problems_and_counts_the_rest() {
    let text = "[a]\n[b]\n[c]\n[d]\n[e]\n";
    let problems = Config::from_toml(text).unwrap_err();
    let line = first_lines(&problems);
    assert!(line.ends_with("; and 2 more"), "{line}");
    assert_eq!(line.matches("config.toml:").count(), 3, "{line}");
}

/// DNS that says nothing delays the start by a moment and does not stop it (design H1).
#[tokio::test(start_paused = true)]
async fn the_start_waits_for_dns_only_so_long() {
    use crate::topology::{Snapshot, Source, SourceState};
    let tiers = Config::from_toml(
        "[[tier]]\nname = \"replica\"\nurl = \"https://replicas.example.com\"\nproject = \"x-{registry_dashed}\"\n",
    );
    let sources = Sources::from_config(&tiers.unwrap(), 1);
    let (publish, snapshot) = watch::channel(Arc::<Snapshot>::default());
    let settles = |snapshot| async {
        let since = Instant::now();
        settled(snapshot, &sources, settled::AT_START).await;
        since.elapsed()
    };
    assert_eq!(settles(snapshot.clone()).await, Duration::from_millis(100));
    let shown = |source: &Arc<Source>, dns_error: Option<&str>| {
        Arc::new(SourceState {
            source: source.clone(),
            endpoints: Vec::new(),
            ready: false,
            dns_stale: false,
            dns_error: dns_error.map(Into::into),
            refused: None,
        })
    };
    let publish = |change: &dyn Fn(&Arc<Source>) -> Arc<SourceState>| {
        let sources = sources.all().map(change).collect();
        publish.send_replace(Arc::new(Snapshot {
            generation: 1,
            sources,
        }));
    };
    publish(&|source| shown(source, None));
    assert_eq!(
        settles(snapshot.clone()).await,
        Duration::from_millis(100),
        "no answer yet"
    );
    publish(&|source| shown(source, Some("no such name")));
    assert_eq!(
        settles(snapshot.clone()).await,
        Duration::ZERO,
        "a failure is an answer too"
    );
    publish(&|source| {
        let mut old = Source::clone(source);
        old.url.port = 8443;
        shown(&Arc::new(old), Some("no such name"))
    });
    assert_eq!(
        settles(snapshot).await,
        Duration::from_millis(100),
        "that is the old one"
    );
}
