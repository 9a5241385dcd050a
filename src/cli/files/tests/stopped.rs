//! The handover with nothing to rely on: no good configuration, no secret, no ledger.

use super::*;
use crate::node::files;

/// A tier with `in_file` that is healthy, docker.io open and quay.io closed.
const CLOSED: &str = "[[registry]]\nname = \"quay.io\"\ndirect = false\n";

impl Node {
    /// With the agent and the tier in every file, as a daemon would have left them.
    fn in_files() -> Self {
        let node = Self::new(true, true);
        node.write_config(&format!("{}{CLOSED}", node.config()));
        let config = node.args.loader.load().unwrap().config;
        let asked = super::super::Node::ask(config).unwrap();
        let tiers = Tiers {
            whole: BTreeSet::from(["core".into()]),
            unknown: BTreeSet::new(),
        };
        let pass = Pass {
            tiers: &tiers,
            ..asked.pass(&node.args.machine)
        };
        let passed = files::run(&pass, LOCK_WAIT, false, &mut files::Everything).unwrap();
        assert_eq!(passed.changed(), 8);
        node
    }

    fn config(&self) -> String {
        fs::read_to_string(&self.args.loader.config_file).unwrap()
    }

    fn write_config(&self, text: &str) {
        fs::write(&self.args.loader.config_file, text).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn hand_over(&self) -> Ran {
        self.ran(|args, out, errors| handover::run(args, &Stopping::default(), out, errors))
    }

    /// Hands over, and looks at what is left.
    fn is_handed_over(&self, what: &str) -> Ran {
        let before = self.text();
        assert!(before.contains("[host.\"http://127.0.0.1:"), "{before}");
        let ran = self.hand_over();
        let closed = self.root.path().join("certs.d/quay.io/hosts.toml");
        for (text, server) in [
            (self.text(), "https://registry-1.docker.io"),
            (fs::read_to_string(closed).unwrap(), "http://127.0.0.1:0"),
        ] {
            let view = crate::node::hosts_toml::read(&text).unwrap();
            assert_eq!(view.server.unwrap().url, server, "{what}: {ran:?}\n{text}");
            let hosts: Vec<&str> = view.hosts.iter().map(|host| host.url.as_str()).collect();
            let tier = "https://core.example.com/v2/proxy-";
            assert!(
                matches!(hosts[..], [host] if host.starts_with(tier)),
                "{what}: {text}"
            );
        }
        ran
    }
}

#[test]
fn what_keeps_the_agent_from_starting_keeps_it_in_no_file() {
    type Spoil = fn(&Node);
    let table: [(&str, Spoil); 5] = [
        ("nothing", |_| {}),
        ("a password file is not there", |node| {
            let account =
                "in_file = false\nusername = \"u\"\npassword_file = \"/nowhere/password\"\n";
            node.write_config(&node.config().replace("in_file = true\n", account));
            assert!(node.args.loader.load().is_err());
        }),
        ("the configuration is no TOML", |node| {
            node.write_config("[[[");
        }),
        ("there is no configuration", |node| {
            fs::remove_file(&node.args.loader.config_file).unwrap();
        }),
        ("nor a good one that was accepted", |node| {
            node.write_config("[server]\nlisten = 5\n");
            fs::write(node.state().join("accepted.toml"), "[server]\nlisten = 6\n").unwrap();
        }),
    ];
    for (what, spoil) in table {
        let node = Node::in_files();
        spoil(&node);
        let ran = node.is_handed_over(what);
        assert_eq!(
            (ran.status, ran.errors.as_str()),
            (0, ""),
            "{what}: {ran:?}"
        );
        let again = node.hand_over();
        assert_eq!(again.status, 0, "{what}: {again:?}");
        let due = "nothing is handed over: the agent is in no file of this node\n";
        assert_eq!(again.out, due, "{what}");
    }
}

#[test]
fn without_a_ledger_the_marks_say_what_is_ours() {
    type Spoil = fn(&Node);
    let table: [(&str, Spoil, u8); 3] = [
        (
            "deleted",
            |node| fs::remove_dir_all(node.state()).unwrap(),
            0,
        ),
        (
            "damaged",
            |node| fs::write(node.state().join("ledger.json"), "{").unwrap(),
            2,
        ),
        (
            "in the way",
            |node| {
                fs::remove_dir_all(node.state()).unwrap();
                fs::write(node.state(), "").unwrap();
            },
            2,
        ),
    ];
    for (what, spoil, status) in table {
        let node = Node::in_files();
        spoil(&node);
        let ran = node.is_handed_over(what);
        assert_eq!(ran.status, status, "{what}: {ran:?}");
        assert_eq!(ran.errors.is_empty(), status == 0, "{what}: {ran:?}");
    }
}

/// A file that is handed over is still ours: what was there before comes back.
#[test]
fn restore_after_a_handover_gives_the_files_back() {
    let node = Node::in_files();
    node.is_handed_over("to be restored");
    assert_eq!(node.restore().status, 0);
    assert!(!node.hosts().exists());
}
