//! The commands on a node in a temporary directory, with an agent's port that answers or does not.

mod stopped;

use super::*;
use crate::cli::Invocation;
use crate::config::Loader;
use crate::node::clients::Client;
use handover::Stopping;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

struct Node {
    root: TempDir,
    args: Invocation,
}

#[derive(Debug)]
struct Ran {
    status: u8,
    out: String,
    errors: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

const TIER: &str = "[[tier]]\nname = \"core\"\nurl = \"https://core.example.com\"\nproject = \"proxy-{registry_dashed}\"\nin_file = true\n";

impl Node {
    fn new(answers: bool, manage: bool) -> Self {
        let root = tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        if answers {
            std::thread::spawn(move || {
                // Ends with the process: a test has no more to say to it.
                for mut stream in listener.incoming().flatten() {
                    let mut request = [0; 512];
                    let _ = stream.read(&mut request);
                    let answer = b"HTTP/1.1 200 OK\r\nx-harbor-pilot-request-id: 1\r\n\r\n";
                    let _ = stream.write_all(answer);
                }
            });
        }
        let certs_d = root.path().join("certs.d");
        fs::create_dir(&certs_d).unwrap();
        let config = root.path().join("config.toml");
        let text = format!(
            "[server]\nlisten = [\"{address}\"]\nadmin = \"127.0.0.1:1\"\n{TIER}[node]\nmanage = {manage}\nruntime = \"containerd\"\nallow_unprivileged_port = true\ncerts_d = {certs_d:?}\n[state]\ndirectory = {:?}\n",
            root.path().join("state")
        );
        fs::write(&config, text).unwrap();
        let state = root.path().join("state").display().to_string();
        let environment = BTreeMap::from([("STATE_DIRECTORY".to_owned(), state)]);
        let mut loader = Loader::packaged(environment);
        loader.config_file = config;
        loader.explicit = true;
        let args = Invocation {
            loader,
            json: false,
            machine: Arc::new(Machine::below(root.path(), Vec::new())),
        };
        // What containerd reads, so that nothing is degraded.
        let toml = root.path().join("etc/containerd/config.toml");
        fs::create_dir_all(toml.parent().unwrap()).unwrap();
        fs::write(toml, format!("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = {certs_d:?}\n")).unwrap();
        Self { root, args }
    }

    fn ran(
        &self,
        run: impl FnOnce(&Invocation, &mut dyn Write, &mut dyn Write) -> io::Result<u8>,
    ) -> Ran {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let status = run(&self.args, &mut out, &mut errors).unwrap();
        Ran {
            status,
            out: String::from_utf8(out).unwrap(),
            errors: String::from_utf8(errors).unwrap(),
        }
    }

    fn plan(&self) -> Ran {
        self.ran(|args, out, errors| plan::run(args, None, out, errors))
    }

    fn apply(&self) -> Ran {
        self.ran(apply::run)
    }

    fn restore(&self) -> Ran {
        self.ran(restore::run)
    }

    fn hosts(&self) -> PathBuf {
        self.root.path().join("certs.d/docker.io/hosts.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.hosts()).unwrap()
    }

    fn json(mut self) -> Self {
        self.args.json = true;
        self
    }
}

#[test]
fn plan_shows_what_apply_does_and_restore_undoes() {
    let node = Node::new(true, true);
    let planned = node.plan();
    assert_eq!(planned.status, 1, "{planned:?}");
    assert!(
        planned.out.contains("--- /dev/null\n+++ ")
            && planned.out.contains("+[host.\"http://127.0.0.1:")
    );
    assert!(!node.hosts().exists());
    let applied = node.apply();
    assert_eq!(applied.status, 0, "{applied:?}");
    assert!(applied.out.contains("docker.io/hosts.toml"));
    let text = fs::read_to_string(node.hosts()).unwrap();
    assert_eq!(
        planned.out.matches("+[host.").count(),
        8 * text.matches("[host.").count(),
        "{}",
        planned.out
    );
    let again = node.plan();
    assert_eq!((again.status, again.out.as_str()), (0, ""), "{again:?}");
    assert_eq!(node.apply().out, "nothing to change\n");
    // Without a valid configuration; the state directory is still known.
    let config = fs::read_to_string(&node.args.loader.config_file).unwrap();
    fs::write(
        &node.args.loader.config_file,
        format!("{config}\n[nonsense]\n"),
    )
    .unwrap();
    assert_eq!((node.plan().status, node.apply().status), (64, 64));
    let restored = node.restore();
    assert_eq!(restored.status, 0, "{restored:?}");
    assert!(!node.hosts().parent().unwrap().exists());
    let again = node.restore().out;
    assert!(
        again.starts_with("nothing of harbor-pilot is in the node's files\n"),
        "{again}"
    );
    // Success is said only after looking, also with the state lost and the configuration gone.
    fs::write(&node.args.loader.config_file, config).unwrap();
    node.apply();
    fs::remove_dir_all(node.root.path().join("state")).unwrap();
    let restored = node.restore();
    assert_eq!(restored.status, 0, "{restored:?}");
    assert!(!node.hosts().parent().unwrap().exists(), "{restored:?}");
}

/// Never an error beside "nothing to change".
#[test]
fn apply_says_that_nothing_is_to_be_changed_only_where_all_is_well() {
    let node = Node::new(true, true);
    node.apply();
    let directory = node.hosts().parent().unwrap().to_owned();
    fs::write(node.hosts(), "server = \n").unwrap();
    let ran = node.apply();
    assert!(ran.errors.contains("error: ") && ran.status == 2, "{ran:?}");
    assert_eq!(ran.out, "");
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(node.apply().status, 0);
    assert_eq!(node.apply().out, "nothing to change\n");
}

#[test]
fn containerds_own_file_is_printed_as_it_has_to_be() {
    let node = Node::new(false, true);
    let file = node.root.path().join("etc/containerd/config.toml");
    let run = || node.ran(containerd::run);
    let good = fs::read_to_string(&file).unwrap();
    let ran = run();
    assert_eq!((ran.status, &ran.out), (0, &good), "{ran:?}");
    assert!(ran.errors.contains("is as it should be"), "{ran:?}");
    fs::write(&file, "version = 2\n# ours\n").unwrap();
    let ran = run();
    let added = good
        .strip_prefix("version = 2\n")
        .unwrap()
        .replace("config_path", "  config_path");
    assert_eq!(
        (ran.status, ran.out),
        (0, format!("version = 2\n# ours\n{added}"))
    );
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "version = 2\n# ours\n",
        "it is printed alone"
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(run().out, good.replace("config_path", "  config_path"));
    let mirrors = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = []\n";
    for (bad, why) in [
        (mirrors, "registry.mirrors.\"docker.io\" (line 2 of "),
        ("version = \n", "line 1"),
    ] {
        fs::write(&file, bad).unwrap();
        let ran = run();
        assert_eq!((ran.status, ran.out.as_str()), (2, ""));
        assert!(ran.errors.contains(why), "{ran:?}");
    }
    fs::write(&file, "version = 2\n").unwrap();
    let told = node.json().ran(containerd::run).json();
    assert_eq!(
        (&told["changed"], &told["path"]),
        (&true.into(), &serde_json::json!(file))
    );
}

#[test]
fn programs_are_told_whether_anything_changed() {
    let node = Node::new(true, true).json();
    let planned = node.plan().json();
    assert_eq!(
        (&planned["changed"], &planned["runtime"]),
        (&true.into(), &"containerd".into())
    );
    assert_eq!(planned["files"][0]["result"], "planned");
    let applied = node.apply().json();
    assert_eq!(
        (&applied["changed"], &applied["agent_answers"]),
        (&true.into(), &true.into())
    );
    assert_eq!(applied["files"].as_array().unwrap().len(), 8);
    assert_eq!(applied["files"][0]["result"], "written");
    assert_eq!(applied["files"][0]["action"], "create");
    assert_eq!(node.apply().json()["changed"], false);
    assert_eq!(node.restore().json()["changed"], true);
    assert_eq!(node.restore().json()["changed"], false);
    assert_eq!(node.plan().json()["released"], true);
}

#[test]
fn without_permission_nothing_is_written_but_it_is_shown() {
    let node = Node::new(false, false);
    let planned = node.plan();
    assert_eq!(planned.status, 1);
    assert!(
        planned.out.contains("+[host.\"http://127.0.0.1:") && planned.errors.contains("manage")
    );
    let applied = node.apply();
    assert_eq!(applied.status, 0);
    assert!(applied.errors.contains("manage is not true"), "{applied:?}");
    assert!(!node.hosts().exists() && !node.root.path().join("state").exists());
}

#[test]
fn an_agent_that_does_not_answer_is_left_out_and_that_is_said() {
    let node = Node::new(false, true);
    for ran in [node.plan(), node.apply()] {
        assert!(ran.errors.contains("the agent does not answer"), "{ran:?}");
        assert!(!ran.out.contains("127.0.0.1:"), "{ran:?}");
    }
    assert!(
        !fs::read_to_string(node.hosts())
            .unwrap()
            .contains("[host.\"http://127")
    );
    assert_eq!(node.plan().status, 0);
}

#[test]
fn a_file_that_cannot_be_changed_is_a_failure() {
    let node = Node::new(true, true);
    fs::create_dir(node.hosts().parent().unwrap()).unwrap();
    fs::write(node.hosts(), "server = \n").unwrap();
    for ran in [node.plan(), node.apply()] {
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(
            ran.errors.contains("docker.io/hosts.toml is left as it is"),
            "{ran:?}"
        );
    }
    fs::write(node.root.path().join("state/ledger.json"), "{").unwrap();
    for ran in [node.plan(), node.apply(), node.restore()] {
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.errors.contains("ledger.json is damaged"), "{ran:?}");
    }
}

#[test]
fn handover_takes_the_agent_out_when_it_is_asked_to() {
    let node = Node::new(true, true);
    node.apply();
    let handed = |stopping: Stopping| {
        node.ran(|args, out, errors| handover::run(args, &stopping, out, errors))
    };
    let restart = Stopping {
        result: Some("success".to_owned()),
        jobs: "1 harbor-pilot.service restart running".to_owned(),
        system: "running".to_owned(),
    };
    let ran = handed(restart);
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "nothing is handed over: the agent is started again\n")
    );
    assert!(
        fs::read_to_string(node.hosts())
            .unwrap()
            .contains("[host.\"http://127")
    );
    let ran = handed(Stopping::default());
    assert_eq!(ran.status, 0, "{ran:?}");
    let text = fs::read_to_string(node.hosts()).unwrap();
    assert!(
        !text.contains("127.0.0.1") && text.contains("https://registry-1.docker.io"),
        "{text}"
    );
}

#[test]
fn a_taken_port_takes_the_agent_out_and_another_agent_there_does_not() {
    let node = Node::new(true, true);
    node.apply();
    let config = || node.args.loader.load().unwrap().config;
    let answered = give_way::run(&config(), &node.args.machine).unwrap();
    assert!(answered.is_none());
    assert!(node.text().contains("[host.\"http://127"));
    // Somebody else's answer, on another port.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nserver: other\r\n\r\n");
        }
    });
    let mut taken = config();
    taken.server.listen = vec![address];
    let passed = give_way::run(&taken, &node.args.machine).unwrap().unwrap();
    assert_eq!(passed.changed(), 8);
    let text = node.text();
    assert!(!text.contains("127.0.0.1"), "{text}");
    // Nobody has asked for the files to be kept.
    taken.node.manage = false;
    let unmanaged = give_way::run(&taken, &node.args.machine).unwrap();
    assert!(unmanaged.is_none());
}

#[test]
fn behind_a_port_that_every_user_may_bind_the_agent_is_left_out_and_that_is_said() {
    let node = Node::new(true, true);
    let file = &node.args.loader.config_file;
    let allowed = fs::read_to_string(file).unwrap();
    fs::write(
        file,
        allowed.replace("allow_unprivileged_port = true\n", ""),
    )
    .unwrap();
    let for_docker =
        || node.ran(|args, out, errors| plan::run(args, Some(Client::Docker), out, errors));
    for ran in [node.plan(), node.apply(), for_docker()] {
        let said = "every user of this node may bind 127.0.0.1:";
        assert!(ran.errors.contains(said), "{ran:?}");
        assert!(ran.errors.contains("choose a port below 1024"), "{ran:?}");
    }
    assert!(!node.text().contains("127.0.0.1"));
    fs::write(file, allowed).unwrap();
    let ran = node.apply();
    assert!(ran.errors.contains("accepts that"), "{ran:?}");
    assert!(node.text().contains("[host.\"http://127"));
}

#[test]
fn drop_ins_of_other_clients_are_printed() {
    let node = Node::new(false, false);
    let for_client =
        |client| node.ran(|args, out, errors| plan::run(args, Some(client), out, errors));
    for (client, word) in [
        (Client::Crio, "[[registry.mirror]]"),
        (Client::Podman, "[[registry.mirror]]"),
        (Client::Docker, "registry-mirrors"),
    ] {
        let ran = for_client(client);
        assert_eq!(ran.status, 0);
        assert!(
            ran.out.contains(word) && ran.errors.contains("it belongs to /etc/"),
            "{ran:?}"
        );
    }
}
