//! `[tier.discovery]`: projects are asked of Harbor, pulled from, followed when they change, and kept for the next start.

use crate::client::Client;
use crate::node::{Node, REPOSITORY, Setup, write};
use crate::support::{Api, FakeRegistry, Image, Reply};
use harbor_pilot::lifecycle::RawSignal;
use harbor_pilot::telemetry::EventName;
use serde_json::Value;
use std::time::{Duration, Instant};

const ROBOT: (&str, &str) = ("robot$node", "secret");

/// A Harbor with this API and this image, and the registry behind it.
struct Lab {
    harbor: FakeRegistry,
    upstream: FakeRegistry,
    image: Image,
    home: tempfile::TempDir,
}

impl Lab {
    async fn new(api: Api, repository: &str) -> Self {
        let image = Image::random(81, 1);
        let harbor = FakeRegistry::builder().harbor();
        let harbor = harbor
            .account(ROBOT.0, ROBOT.1)
            .with(|it| it.api = Some(api));
        let harbor = harbor.with_image(repository, "1", &image).start().await;
        let upstream = FakeRegistry::builder().docker_hub();
        let upstream = upstream.with_image(REPOSITORY, "1", &image).start().await;
        let home = tempfile::tempdir().unwrap();
        Self {
            harbor,
            upstream,
            image,
            home,
        }
    }

    /// With the account, and with more keys of the tier.
    fn setup(&self, keys: &str) -> Setup {
        let secret = self.home.path().join("robot");
        write(&secret, ROBOT.1);
        let account = format!(
            "username = '{}'\npassword_file = '{}'",
            ROBOT.0,
            secret.display()
        );
        self.anonymous(&format!("{account}\n{keys}"))
    }

    fn anonymous(&self, keys: &str) -> Setup {
        let url = self.harbor.base_url();
        let tier = format!(
            "[[tier]]\nname = \"core\"\nurl = \"{url}\"\n{keys}\n[tier.discovery]\nenabled = true\n\
             [tier.health]\nprobe = \"none\"\n"
        );
        Setup::default()
            .and(&tier)
            .registry(&self.upstream.base_url(), "")
    }

    fn discoveries(&self) -> usize {
        let requests = self.harbor.requests();
        let asked = requests
            .iter()
            .filter(|one| one.path == "/api/v2.0/projects");
        asked
            .filter(|one| one.parameter("page").as_deref() == Some("1"))
            .count()
    }
}

async fn status(node: &Node) -> Value {
    let mut client = Client::connect(node.admin).await;
    client.ask("GET", "/status", &[]).await;
    serde_json::from_slice(&client.answer(false).await.body).unwrap()
}

/// What `/status` says of the tier's projects, once it says so.
async fn projects(node: &Node, is_so: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let status = status(node).await;
        let projects = status["tiers"][0]["projects"].clone();
        if is_so(&projects) {
            return projects;
        }
        assert!(since.elapsed() < Duration::from_secs(15), "{projects}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn found(projects: &Value) -> bool {
    projects["found"]["docker.io"].is_object()
}

async fn assert_served_by(node: &Node, lab: &Lab, source: &str) {
    let got = node.pull("manifests/1").await;
    assert_eq!(
        (got.status, &got.body),
        (200, &lab.image.top.body),
        "{got:?}"
    );
    let by = got.header("x-harbor-pilot-served-by").unwrap();
    assert!(by.starts_with(&format!("{source}/")), "{by}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_harbor_says_is_known_and_pulled_from() {
    let api = Api::of(&[
        ("hub", "docker-hub", "https://hub.docker.com"),
        ("elsewhere", "docker-registry", "https://other.example.org"),
    ]);
    let lab = Lab::new(api, "hub/library/app").await;
    let node = lab.setup("").start().await;
    let said = projects(&node, found).await;
    assert_eq!(said["found"]["docker.io"]["project"], "hub");
    assert_eq!(said["found"]["docker.io"]["guessed"], false);
    let why = said["unused"]["elsewhere"].as_str().unwrap();
    assert!(
        why.contains("other.example.org, which is not a configured registry"),
        "{why}"
    );
    assert_served_by(&node, &lab, "core").await;
    let event = node.journal.events().into_iter();
    let event = event.filter(|change| change.event == EventName::ProjectsChanged);
    let reasons: Vec<_> = event.map(|change| change.reason).collect();
    assert_eq!(reasons, ["docker.io is at hub"]);
    assert!(
        lab.harbor
            .requests()
            .iter()
            .all(|one| one.header("user-agent").is_some())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_permission_to_read_registries_names_are_guessed_and_said_to_be() {
    let mut api = Api::of(&[("proxy-docker-io", "docker-hub", "https://hub.docker.com")]);
    api.reads_registries = false;
    let lab = Lab::new(api, "proxy-docker-io/library/app").await;
    for setup in [lab.setup(""), lab.anonymous("")] {
        let node = setup.start().await;
        let said = projects(&node, found).await;
        assert_eq!(said["found"]["docker.io"]["guessed"], true);
        assert_eq!(said["registries_unreadable"], true);
        assert_served_by(&node, &lab, "core").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_projects_are_seen_with_the_account_alone() {
    let mut api = Api::of(&[("proxy-docker-io", "docker-hub", "https://hub.docker.com")]);
    api.projects[0].is_public = false;
    let lab = Lab::new(api, "proxy-docker-io/library/app").await;
    let node = lab.anonymous("").start().await;
    let said = projects(&node, |said| said["asked_seconds_ago"].is_number()).await;
    assert!(!found(&said), "{said}");
    assert_served_by(&node, &lab, "upstream").await;
    let node = lab.setup("").start().await;
    projects(&node, found).await;
    assert_served_by(&node, &lab, "core").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_are_read() {
    let mut all: Vec<_> = (0..250)
        .map(|number| {
            let name: &'static str = format!("p{number}").leak();
            (name, "docker-registry", "https://other.example.org")
        })
        .collect();
    all.push(("zz-hub", "docker-hub", ""));
    let lab = Lab::new(Api::of(&all), "zz-hub/library/app").await;
    let node = lab.setup("").start().await;
    let said = projects(&node, found).await;
    assert_eq!(said["found"]["docker.io"]["project"], "zz-hub");
    assert_eq!(said["unused"].as_object().unwrap().len(), 250);
    let lines = lab.harbor.lines();
    let pages = |path: &str| {
        lines
            .iter()
            .filter(|line| **line == format!("GET {path}"))
            .count()
    };
    assert_eq!(pages("/api/v2.0/projects"), 3);
    assert_eq!(pages("/api/v2.0/registries"), 3);
    let cookies = lab.harbor.requests();
    let without = cookies.iter().filter(|one| one.path.starts_with("/api/"));
    let without = without.filter(|one| one.header("cookie").is_none()).count();
    assert_eq!(
        without, 1,
        "each request without the cookie is a session in Harbor's Redis"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_account_and_an_unreadable_answer_are_said_and_nothing_is_lost() {
    let api = Api::of(&[("hub", "docker-hub", "")]);
    let lab = Lab::new(api.clone(), "hub/library/app").await;
    let node = lab.setup("").start().await;
    projects(&node, found).await;
    // The robot has another secret now; what was found stays.
    lab.harbor
        .change(|it| it.credential = Some((ROBOT.0.into(), "another".into())));
    node.signal(RawSignal::Hangup).await;
    let said = projects(&node, |said| said["error"].is_string()).await;
    let error = said["error"].as_str().unwrap();
    assert!(
        error.contains("401") && error.contains("robot account"),
        "{error}"
    );
    assert!(found(&said), "{said}");
    // A robot that lacks the permission is told which.
    lab.harbor
        .change(|it| it.credential = Some((ROBOT.0.into(), ROBOT.1.into())));
    lab.harbor.script(|asked| {
        let refused = Reply::error(403, "FORBIDDEN", "forbidden");
        (asked.path == "/api/v2.0/projects").then_some(refused)
    });
    node.signal(RawSignal::Hangup).await;
    let said = projects(&node, |said| {
        let error = said["error"].as_str();
        error.is_some_and(|error| error.contains("(403)"))
    })
    .await;
    let error = said["error"].as_str().unwrap();
    assert!(error.contains("permission \"Project: list\""), "{error}");
    assert!(found(&said), "{said}");
    lab.harbor.script(|_| None);
    lab.harbor.change(|it| it.database_down = true);
    node.signal(RawSignal::Hangup).await;
    let said = projects(&node, |said| {
        said["error"]
            .as_str()
            .is_some_and(|error| error.contains("500"))
    })
    .await;
    assert!(found(&said), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_moves_or_goes_is_followed_and_no_pull_is_lost() {
    let lab = Lab::new(Api::of(&[("hub", "docker-hub", "")]), "hub/library/app").await;
    let node = lab.setup("").start().await;
    projects(&node, found).await;
    assert_served_by(&node, &lab, "core").await;
    let renamed = Api::of(&[("docker", "docker-hub", "")]);
    lab.harbor.change(|it| it.api = Some(renamed));
    // Before it is known the old project is asked in vain.
    let got = node.pull("manifests/1").await;
    assert_eq!(got.status, 200);
    node.signal(RawSignal::Hangup).await;
    let moved = |said: &Value| said["found"]["docker.io"]["project"] == "docker";
    projects(&node, moved).await;
    lab.harbor.change(|it| it.api = Some(Api::of(&[])));
    node.signal(RawSignal::Hangup).await;
    projects(&node, |said| !found(said)).await;
    assert_served_by(&node, &lab, "upstream").await;
    let changes = node.journal.events().into_iter();
    let changes = changes.filter(|change| change.event == EventName::ProjectsChanged);
    let reasons: Vec<_> = changes.map(|change| change.reason).collect();
    assert_eq!(
        reasons,
        [
            "docker.io is at hub",
            "docker.io is at docker, and was at hub",
            "docker.io is no longer found, and was at docker",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_start_knows_what_the_last_one_found() {
    let lab = Lab::new(Api::of(&[("hub", "docker-hub", "")]), "hub/library/app").await;
    let mut node = lab.setup("").start().await;
    projects(&node, found).await;
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    drop(node);
    // Harbor's API does not answer now; pulls do.
    lab.harbor.change(|it| it.database_down = true);
    let before = lab.discoveries();
    let node = Node::start_with_files(home).await;
    let said = status(&node).await["tiers"][0]["projects"].clone();
    assert!(found(&said), "at once: {said}");
    lab.harbor.change(|it| it.database_down = false);
    assert_served_by(&node, &lab, "core").await;
    assert_eq!(
        lab.discoveries(),
        before,
        "a start that knows them does not ask at once"
    );
    let changes = node.journal.events();
    let changes = changes
        .iter()
        .filter(|change| change.event == EventName::ProjectsChanged);
    assert_eq!(changes.count(), 0, "nothing has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_projects_win() {
    let api = Api::of(&[("hub", "docker-hub", ""), ("written", "docker-hub", "")]);
    let lab = Lab::new(api, "written/library/app").await;
    let written = "[tier.projects]\n\"docker.io\" = \"written\"\n";
    let node = lab.setup(written).start().await;
    let said = projects(&node, |said| said["asked_seconds_ago"].is_number()).await;
    assert!(!found(&said), "{said}");
    let why = said["unused"]["hub"].as_str().unwrap();
    assert!(
        why.contains("[tier.projects] writes written for docker.io"),
        "{why}"
    );
    assert_served_by(&node, &lab, "core").await;
}

/// A Harbor in front of another one: whether its paths hold the project's name twice is found by one HEAD for what it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubled_path_is_found_out() {
    let name = "proxy-docker-io";
    for (held, path) in [
        (
            "proxy-docker-io/proxy-docker-io/library/app",
            "proxy-docker-io/proxy-docker-io",
        ),
        ("proxy-docker-io/library/app", "proxy-docker-io"),
    ] {
        let api = Api::of(&[(name, "harbor", "https://core.example.com:8443")]);
        let lab = Lab::new(api, held).await;
        let node = lab.setup("").start().await;
        let said = projects(&node, found).await;
        assert_eq!(said["found"]["docker.io"]["project"], path);
        let heads = lab.harbor.requests();
        let heads = heads.iter().filter(|one| {
            one.method == "HEAD"
                && one
                    .header("authorization")
                    .is_some_and(|it| it.starts_with("Bearer"))
        });
        assert_eq!(heads.count(), 1);
        assert_served_by(&node, &lab, "core").await;
    }
}

/// When it is asked for again, and how often, is shown in paused time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapped_project_that_harbor_has_not_got_is_asked_for_again() {
    let lab = Lab::new(Api::of(&[("hub", "docker-hub", "")]), "hub/library/app").await;
    let mut node = lab.setup("").start().await;
    projects(&node, found).await;
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    lab.harbor
        .change(|it| it.api = Some(Api::of(&[("docker", "docker-hub", "")])));
    // The next start has the projects from disk, and asks 12 s later with the seed of these tests.
    let node = Node::start_with_files(home).await;
    assert_eq!(lab.discoveries(), 1);
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let pulled = Instant::now();
    let moved = |said: &Value| said["found"]["docker.io"]["project"] == "docker";
    projects(&node, moved).await;
    assert!(pulled.elapsed() < Duration::from_secs(2));
    assert_eq!(lab.discoveries(), 2);
}

fn ran(arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_harbor-pilot"));
    let command = command.args(arguments).env_clear().env("NO_COLOR", "1");
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// What people are shown: by status, by explain with the agent and without it, and by check.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_say_what_was_found_and_how() {
    let mut api = Api::of(&[("proxy-docker-io", "docker-hub", ""), ("other", "quay", "")]);
    api.reads_registries = false;
    let lab = Lab::new(api, "proxy-docker-io/library/app").await;
    let mut node = lab.setup("").start().await;
    projects(&node, found).await;
    let file = node.config_file();
    let with_admin = |node: &Node| {
        let text = std::fs::read_to_string(node.config_file()).unwrap();
        let text = text.replace(
            "admin = \"127.0.0.1:0\"",
            &format!("admin = \"{}\"", node.admin),
        );
        let shown = node.home.path().join("shown.toml");
        write(&shown, &text);
        shown.display().to_string()
    };
    let shown = with_admin(&node);
    // The exit status is about the machine's containerd as well.
    let (_, stdout, _) = ran(&["status", "--config", &shown]);
    for part in [
        "projects found: 1 (asked ",
        "docker.io  proxy-docker-io  guessed",
        "\"Registry: list\"",
        "project other is not used: the account may not read registries",
    ] {
        assert!(stdout.contains(part), "{part}\n{stdout}");
    }
    let sentence =
        "tier core: project proxy-docker-io was found by [tier.discovery] (guessed by its name)";
    let explain = ["explain", "docker.io/library/app:1", "--config", &shown];
    let (code, stdout, stderr) = ran(&explain);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(sentence), "{stdout}");
    assert!(stdout.contains("proxy-docker-io/library/app"), "{stdout}");
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    // Without the agent: what it wrote down last.
    let (_, stdout, stderr) = ran(&explain);
    assert!(stdout.contains(sentence), "{stdout}\n{stderr}");
    let (code, stdout, stderr) = ran(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let line =
        "# tier core: docker.io is at project proxy-docker-io (found by [tier.discovery], guessed)";
    assert!(stdout.contains(line), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_asks_once_and_writes_down_what_it_found() {
    let mut api = Api::of(&[
        ("hub", "docker-hub", ""),
        ("q", "quay", "https://quay.io"),
        ("far", "docker-registry", "https://other.example.org"),
    ]);
    api.projects[0].is_public = false;
    let lab = Lab::new(api, "hub/library/app").await;
    let secret = lab.home.path().join("robot");
    write(&secret, ROBOT.1);
    let (url, secret) = (lab.harbor.base_url(), secret.display().to_string());
    let account = ["--username", ROBOT.0, "--password-file", secret.as_str()];
    let asked = [&["init", "--discover", url.as_str()][..], &account].concat();
    let (code, stdout, stderr) = ran(&asked);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let config = harbor_pilot::config::Config::from_toml(&stdout).unwrap();
    let written = config.tiers[0].projects.iter();
    let written: Vec<_> = written
        .map(|(name, project)| (name.as_str(), project.as_str()))
        .collect();
    assert_eq!(written, [("docker.io", "hub"), ("quay.io", "q")]);
    assert!(config.tiers[0].credential.is_some() && config.tiers[0].discovery.is_none());
    assert!(stdout.contains("# not used: \"far\""), "{stdout}");
    assert_eq!(lab.discoveries(), 1);
    // Without the account registries may not be read, and only public projects are listed.
    let (code, stdout, stderr) = ran(&["init", "--discover", &url]);
    assert_eq!(code, 2, "{stdout}");
    assert!(
        stderr.contains("--username NAME --password-file FILE"),
        "{stderr}"
    );
    assert!(
        stderr.contains("project q: the account may not read registries"),
        "{stderr}"
    );
    lab.harbor.change(|it| it.credential = None);
    let (code, stdout, stderr) = ran(&asked);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("(401)"), "{stderr}");
    let (code, _, stderr) = ran(&["init", "--discover", "not a url"]);
    assert_eq!(code, 64);
    assert!(stderr.contains("tier.harbor.url"), "{stderr}");
}

/// A private project, and a secret that is changed in Harbor and in the file: no restart, and no pull fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_secret_is_taken_up_without_a_failed_pull() {
    let mut api = Api::of(&[("hub", "docker-hub", "")]);
    api.projects[0].is_public = false;
    let lab = Lab::new(api, "hub/library/app").await;
    lab.harbor.change(|it| it.private = true);
    let node = lab.setup("").start().await;
    projects(&node, found).await;
    assert_served_by(&node, &lab, "core").await;
    lab.harbor.change(|it| {
        it.credential = Some((ROBOT.0.into(), "another".into()));
        it.wrong_secret_sleeps = Duration::ZERO;
    });
    lab.harbor.revoke_tokens();
    let got = node.pull("manifests/1").await;
    assert_eq!((got.status, &got.body), (200, &lab.image.top.body));
    write(&lab.home.path().join("robot"), "another");
    let since = Instant::now();
    loop {
        let got = node.pull("manifests/1").await;
        assert_eq!((got.status, &got.body), (200, &lab.image.top.body));
        if got
            .header("x-harbor-pilot-served-by")
            .unwrap()
            .starts_with("core/")
        {
            break;
        }
        assert!(
            since.elapsed() < Duration::from_secs(90),
            "Harbor is never used again"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
