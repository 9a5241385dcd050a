//! An agent in this process, built by the daemon's own composition root, with its journal and its signals in the
//! test's hand.

use super::client::{Client, Got};
use crate::support::FakeRegistry;
use harbor_pilot::admission::Lookup;
use harbor_pilot::app::{self, Start};
use harbor_pilot::config::Loader;
use harbor_pilot::lifecycle::{Inherited, Notifier, RawSignal, Signals, Threads};
use harbor_pilot::telemetry::{AccessRecord, Captured, EventName, Journal, StateChange};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Where the image is at the real registry.
pub const REPOSITORY: &str = "library/app";
/// Where it is at a tier.
pub const TIERED: &str = "proxy-docker-io/library/app";

/// A client that shows its user a 403.
#[allow(dead_code, reason = "the hostile tests have no such client")]
pub const CONTAINERD_2: &str = "containerd/v2.1.4";

/// Waits for what happens by itself a little later.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running agent. It ends with the value.
pub struct Node {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    #[allow(dead_code, reason = "most tests have no gateway")]
    pub gateway: Option<SocketAddr>,
    pub journal: Captured,
    pub home: TempDir,
    signals: mpsc::Sender<RawSignal>,
    running: JoinHandle<Result<(), app::Error>>,
}

/// All clients of the tests have one uid: those that come from another address of 127.0.0.0/8 stand for other users'.
fn is_trusted(client: SocketAddr) -> bool {
    client.ip() == Ipv4Addr::LOCALHOST
}

/// A configuration in the making.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    server: String,
    rest: String,
    tiers: usize,
}

impl Setup {
    /// These tiers (`t1`, `t2`, … with the kind harbor) and this registry behind docker.io.
    pub fn of(tiers: &[&FakeRegistry], upstream: &FakeRegistry) -> Self {
        let setup = tiers.iter().fold(Self::default(), |setup, tier| {
            setup.tier(&tier.base_url(), "")
        });
        setup.registry(&upstream.base_url(), "")
    }

    /// One more tier, with more keys.
    pub fn tier(mut self, url: &str, keys: &str) -> Self {
        self.tiers += 1;
        self.rest.push_str(&format!(
            "[[tier]]\nname = \"t{}\"\nurl = \"{url}\"\n{keys}\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n\
             [tier.health]\nprobe = \"none\"\n",
            self.tiers
        ));
        self
    }

    /// docker.io's real registry, with more keys.
    pub fn registry(self, upstream: &str, keys: &str) -> Self {
        self.and(&format!(
            "[[registry]]\nname = \"docker.io\"\nupstream = \"{upstream}\"\n{keys}\n"
        ))
    }

    /// More tables.
    pub fn and(mut self, tables: &str) -> Self {
        self.rest.push_str(tables);
        self
    }

    /// More keys of `[server]`.
    pub fn server(mut self, keys: &str) -> Self {
        self.server.push_str(keys);
        self
    }

    /// The whole file.
    pub fn text(&self, home: &std::path::Path) -> String {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{}\n\
             [state]\ndirectory = \"{}\"\n{}",
            self.server,
            home.join("state").display(),
            self.rest
        )
    }

    pub async fn start(&self) -> Node {
        Node::start(self, tempfile::tempdir().unwrap()).await
    }
}

impl Node {
    pub async fn start(setup: &Setup, home: TempDir) -> Self {
        let file = home.path().join("config.toml");
        write(&file, &setup.text(home.path()));
        Self::start_with_files(home).await
    }

    /// Starts with what stands in the files, as the daemon does.
    #[allow(
        clippy::disallowed_methods,
        reason = "the test holds the daemon's end in its hand"
    )]
    pub async fn start_with_files(home: TempDir) -> Self {
        let mut loader = Loader::packaged(BTreeMap::new());
        loader.config_file = home.path().join("config.toml");
        loader.explicit = true;
        let (loaded, rejected) = app::load(&loader).unwrap_or_else(|error| panic!("{error:?}"));
        let (journal, captured) = Journal::capturing();
        let start = Start {
            loader,
            journal,
            notifier: Notifier::new(None, None),
            inherited: Inherited::default(),
            seed: 7,
            clients: Lookup::Address(is_trusted),
            explain: None,
        };
        let data = Threads::current();
        let running = app::build(start, loaded, rejected, &data).await.unwrap();
        let (addr, admin) = (running.bound.listen[0], running.bound.admin.unwrap());
        let gateway = running.bound.gateway.first().copied();
        let (sender, signals) = Signals::by_hand();
        Self {
            addr,
            admin,
            gateway,
            journal: captured,
            home,
            signals: sender,
            running: tokio::spawn(running.until_stopped(signals)),
        }
    }

    pub fn config_file(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    /// Writes another configuration, without telling the agent.
    pub fn rewrite(&self, setup: &Setup) {
        write(&self.config_file(), &setup.text(self.home.path()));
    }

    pub async fn signal(&self, signal: RawSignal) {
        self.signals.send(signal).await.unwrap();
    }

    /// The daemon's end.
    pub async fn ended(&mut self) -> Result<(), app::Error> {
        let ended = tokio::time::timeout(PATIENCE, &mut self.running).await;
        ended.expect("an end within 15 s").unwrap()
    }

    pub fn is_running(&self) -> bool {
        !self.running.is_finished()
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// One request on a connection of its own; the answer has kept its manners. Status 0: there was none,
    /// because its body broke before its head had left.
    pub async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Got {
        let mut client = self.client().await;
        client.ask(method, target, headers).await;
        let got = client.answer(method == "HEAD").await;
        let shows_denials = headers.contains(&("User-Agent", CONTAINERD_2));
        let is_list = target.contains("/tags/") || target.contains("/referrers/");
        let more = match (shows_denials, is_list) {
            (true, _) => Some(403),
            (false, true) => Some(400),
            (false, false) => None,
        };
        if got.status != 0 {
            got.assert_keeps_manners(more);
        }
        got
    }

    /// The same by an untrusted client.
    #[allow(dead_code, reason = "the hostile tests have untrusted clients")]
    pub async fn ask_as_stranger(&self, target: &str, headers: &[(&str, &str)]) -> Got {
        let mut client = Client::connect_as_stranger(self.addr).await;
        client.ask("GET", target, headers).await;
        client.answer(false).await
    }

    pub async fn get(&self, target: &str) -> Got {
        self.ask("GET", target, &[]).await
    }

    /// `GET` of a resource of the one repository: `manifests/1`.
    pub async fn pull(&self, what: &str) -> Got {
        self.get(&target(what)).await
    }

    pub async fn head(&self, what: &str) -> Got {
        self.ask("HEAD", &target(what), &[]).await
    }

    pub async fn range(&self, what: &str, range: &str) -> Got {
        self.ask("GET", &target(what), &[("Range", range)]).await
    }

    /// The access record of an answer.
    pub async fn record(&self, got: &Got) -> AccessRecord {
        let id = got.header("x-harbor-pilot-request-id").unwrap().to_owned();
        self.until(|journal| {
            let mut records = journal.accesses().into_iter();
            records.find(|record| *record.request_id == *id)
        })
        .await
    }

    /// The first event of that name.
    pub async fn event(&self, event: EventName) -> StateChange {
        self.until(|journal| {
            journal
                .events()
                .into_iter()
                .find(|said| said.event == event)
        })
        .await
    }

    pub fn count(&self, event: EventName) -> usize {
        let events = self.journal.events();
        events.iter().filter(|said| said.event == event).count()
    }

    /// Waits until the journal holds something.
    pub async fn until<T>(&self, find: impl Fn(&Captured) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = find(&self.journal) {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "{:#?}", self.journal);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for _ in 0..2 {
            let _ = self.signals.try_send(RawSignal::Terminate);
        }
    }
}

/// The path at which containerd asks for something of the one repository.
pub fn target(what: &str) -> String {
    format!("/v2/{REPOSITORY}/{what}?ns=docker.io")
}

/// A file that the agent's loader accepts: nobody else may write it.
pub fn write(file: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}
