//! The command's ends without a network, and the stage on which its parts are tried.

use super::*;
use crate::config::Loader;
use crate::discovery::EndpointSets;
use crate::node::detect::Machine;
use crate::topology::{EndpointSet, Source, Sources};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const CONFIG: &str = r#"
[[tier]]
name = "replica"
url = "https://replicas.example.com"
username = "robot$node"
password_file = "PASSWORD"
[tier.projects]
"docker.io" = "proxy-docker-io"

[[tier]]
name = "spegel"
kind = "mirror"
url = "http://spegel.example.com:5000/cache"
registries = ["*"]

[[registry]]
name = "docker.io"
private = ["org/secret"]

[[registry]]
name = "quay.io"
private = ["secret/*"]
"#;

/// An image's route among the sources of `CONFIG`.
pub(super) struct Stage {
    pub(super) image: Image,
    pub(super) route: Route,
    pub(super) sources: Vec<Arc<Source>>,
    config: Config,
}

impl Stage {
    pub(super) fn new(image: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        std::fs::write(&password, "never-shown\n").unwrap();
        std::fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
        let text = CONFIG.replace("PASSWORD", password.to_str().unwrap());
        let config = Config::from_toml(&text).unwrap();
        let image = Image::parse(image).unwrap();
        let table = RouteTable::new(Arc::new(config.clone()));
        let route = table
            .explain(Some(image.registry.as_str()), &image.name, &image.kind())
            .unwrap();
        let all = Sources::from_config(&config, 1);
        let sources = route
            .targets
            .iter()
            .map(|target| all.get(&target.source).unwrap());
        let sources = sources.cloned().collect();
        Self {
            image,
            route,
            sources,
            config,
        }
    }

    pub(super) fn view(&self, status: Option<&Status>, looked_up: &EndpointSets) -> View {
        View::new(&self.sources, status, looked_up, Instant::now())
    }

    pub(super) fn order(&self, view: &View) -> Vec<Candidate> {
        let reference = &self.image.reference;
        view.order(&self.route, reference, self.config.limits, Instant::now())
    }

    pub(super) fn report(&self, status: Option<&Status>, looked_up: &EndpointSets) -> Report {
        let view = self.view(status, looked_up);
        let order = self.order(&view);
        let admin = "127.0.0.1:291";
        let note = match status {
            Some(_) => None,
            None => Some("away".to_owned()),
        };
        let agent = AgentReport {
            address: Some(admin.to_string()),
            reachable: status.is_some(),
            note,
        };
        Report::new(
            &self.image,
            &self.route,
            &self.sources,
            &view,
            &order,
            agent,
        )
    }
}

/// What DNS said here.
pub(super) fn looked_up(stage: &Stage, of: &[(&str, &[&str])]) -> EndpointSets {
    let sources = stage.sources.iter();
    let named = sources.filter_map(|source| {
        let (_, addresses) = of.iter().find(|(name, _)| *name == source.id.label())?;
        let set = EndpointSet {
            of: (source.dialled().host.clone(), source.dialled().port),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            stale: addresses.is_empty(),
            error: addresses.is_empty().then(|| "no such name".into()),
        };
        Some((source.id.clone(), Arc::new(set)))
    });
    named.collect()
}

/// An address as the agent shows it; `change` is laid over.
pub(super) fn address(address: &str, change: &Value) -> Value {
    let mut value = json!({
        "address": address, "state": "healthy", "reason": null, "since_seconds": 7380,
        "ejected_for_seconds": null, "lowered": false, "suspect": false, "latency_ms": 12, "in_flight": 0,
    });
    for (key, new) in change.as_object().unwrap() {
        value[key] = new.clone();
    }
    value
}

/// What the agent says of its sources.
pub(super) fn status(tiers: &[(&str, &str, Vec<Value>)]) -> Status {
    let tiers = tiers.iter().map(|(name, url, endpoints)| {
        json!({
            "name": name, "kind": "harbor", "url": url, "ready": true, "dns_stale": false, "dns_error": null,
            "insecure_skip_verify": false, "endpoints": endpoints,
        })
    });
    let (upstreams, tiers): (Vec<Value>, Vec<Value>) =
        tiers.partition(|source| source["name"] == "docker.io");
    let value = json!({
        "version": "0.1.0", "uptime_seconds": 5, "ready": true, "not_ready": [], "generation": 9,
        "config": {
            "generation": 1, "file": null, "loaded_at": "", "last_reload_ok": true, "error": null,
            "from_last_accepted": false,
        },
        "tiers": tiers, "upstreams": upstreams, "changes": [],
        "traffic": {"requests": {}, "relayed_bytes": {}},
        "node_files": "not managed", "log_dropped": 0, "task_panics": 0,
    });
    serde_json::from_value(value).unwrap()
}

/// Exit status, report and notes of the command with this configuration.
fn ran(config: &str, image: &str, json: bool) -> (u8, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    run_with(&file, image, json)
}

fn run_with(file: &Path, image: &str, json: bool) -> (u8, String, String) {
    let environment = BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]);
    let mut loader = Loader::packaged(environment);
    loader.config_file = file.to_owned();
    loader.explicit = true;
    let args = Invocation {
        loader,
        json,
        machine: Arc::new(Machine::below(Path::new("/nowhere"), Vec::new())),
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&args, image, true, &mut out, &mut err).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(out), text(err))
}

#[test]
fn bad_usage_and_bad_files_end_with_64_and_say_what_to_write() {
    let (status, out, err) = ran("", "https://ghcr.io/o/r", true);
    assert_eq!((status, out.as_str()), (64, ""));
    assert!(err.contains("write ghcr.io/o/r"), "{err}");
    let (status, out, err) = ran("[sever]\n", "nginx", false);
    assert_eq!((status, out.as_str()), (64, ""));
    assert!(err.starts_with("error: "), "{err}");
    let (status, _, err) = run_with(Path::new("/nowhere/config.toml"), "nginx", false);
    assert_eq!(status, 64);
    assert!(err.contains("/nowhere/config.toml"), "{err}");
}

#[test]
fn refusals_are_explained_with_what_to_do() {
    let private = "[[registry]]\nname = \"docker.io\"\nprivate = [\"org/secret\"]\n";
    let no_source = "[direct]\nenabled = false\n\
        [[tier]]\nname = \"replica\"\nurl = \"https://r.example\"\n[tier.projects]\n\"docker.io\" = \"hub\"\n";
    let rows = [
        (
            private,
            "org/secret:1",
            "private",
            "take it out of private under [[registry]] docker.io",
        ),
        (
            "",
            "unknown.example/x",
            "not_configured",
            "add a [[registry]] with name = \"unknown.example\"",
        ),
        (
            no_source,
            "ghcr.io/o/r",
            "no_source",
            "[tier.projects] \"ghcr.io\"",
        ),
    ];
    for (config, image, kind, instead) in rows {
        let (status, out, err) = ran(config, image, true);
        assert_eq!(status, 1, "{image}: {err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["refusal"]["kind"], kind);
        assert_eq!(report["has_path"], false);
        assert_eq!(report["agent"], Value::Null);
        let text = report["refusal"]["instead"].as_str().unwrap();
        assert!(text.contains(instead), "{text}");
        let (status, out, _) = ran(config, image, false);
        assert_eq!(status, 1);
        assert!(out.contains("Not by the agent: "), "{out}");
        assert!(out.contains(instead), "{out}");
    }
}
