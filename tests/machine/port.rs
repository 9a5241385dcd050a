//! Whoever holds the port that hosts.toml names serves images: what a process of another user of the node gets of it while
//! the agent dies, lives, or cannot start.

use crate::lab::{Lab, Release};
use crate::node::{Node, Package, Runtime, said};
use std::process::Command;
use std::time::{Duration, Instant};

/// uid of the other process: Debian's nobody.
const OTHER: &str = "65534";
const HOSTS: &str = "/etc/containerd/certs.d/docker.io/hosts.toml";
const SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";
/// Within it the agent leaves the files of a port that every user may bind.
const LIMIT: Duration = Duration::from_secs(5);

/// How often the agent is killed; `make test` asks for fewer by this variable.
fn kills() -> usize {
    std::env::var("HARBOR_PILOT_PORT_KILLS").map_or(200, |number| number.parse().unwrap())
}

impl Node {
    /// Starts the process of another user that wants this port.
    fn start_other(&self, port: u16) {
        let machine = &self.machine;
        machine.write("/opt/other.py", include_str!("port/other.py"));
        machine.shell(&format!(
            "install -d -o {OTHER} /run/other && rm -f /run/other/*"
        ));
        let (uid, port) = (format!("--uid={OTHER}"), port.to_string());
        machine.run(
            "systemd-run",
            &[
                "--unit=other",
                &uid,
                "python3",
                "/opt/other.py",
                &port,
                "/run/other",
            ],
        );
    }

    /// What the other process has counted; 0 where it has nothing to count.
    fn of_other(&self, what: &str) -> u64 {
        let path = format!("/run/other/{what}");
        self.machine.say("cat", &[&path]).parse().unwrap_or(0)
    }

    /// Kills the agent so often and says who answered at the port meanwhile.
    fn kill_at_random(&self, port: u16, kills: usize) -> serde_json::Value {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let seed = since.as_secs().to_string();
        // Five starts within 30 s are the unit's limit, which is not what is looked at here. (`reset-failed` would do worse: in
        // the moment of ExecStopPost= it makes a failure a success, which Restart= does not start again.)
        self.machine.write(
            "/run/systemd/system/harbor-pilot.service.d/kills.conf",
            "[Unit]\nStartLimitIntervalSec=0\n",
        );
        self.machine.run("systemctl", &["daemon-reload"]);
        self.machine
            .write("/opt/kills.py", include_str!("port/kills.py"));
        let (port, kills) = (port.to_string(), kills.to_string());
        let text = self
            .machine
            .run("python3", &["/opt/kills.py", &port, &kills, &seed]);
        println!("port {port}, seed {seed}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// As the node's administrator: inside, systemd-nspawn has mounted the kernel's settings to be read alone.
    fn make_privileged_below(&self, first: u16) {
        let leader = self.machine.leader().unwrap().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader, "--net", "sysctl", "-w"]);
        said(&command.arg(format!("{SYSCTL}={first}")).output().unwrap());
    }

    fn hosts(&self) -> String {
        self.machine.say("cat", &[HOSTS])
    }

    fn is_in_file(&self) -> bool {
        self.hosts().contains("127.0.0.1:")
    }
}

#[test]
fn another_user_never_answers_on_the_agents_port() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let image = lab.publish("library/app");
    node.bring_up(&lab);
    has_one_capability(&node);
    another_user_is_told_what_is_missing(&node);

    node.start_other(290);
    let counts = node.kill_at_random(290, kills());
    assert_eq!(counts["kills"], kills(), "{counts}");
    assert_eq!(counts["other"], 0, "{counts}");
    // It has tried all the while, and the agent has answered whenever it could.
    assert_eq!((node.of_other("taken"), node.of_other("answers")), (0, 0));
    assert!(node.of_other("refused") > kills() as u64, "{counts}");
    assert!(counts["agent"].as_u64() > Some(0), "{counts}");
    node.wait("the agent is back", |node| node.connect_status() == 0);
    node.pull(&image);

    a_lowered_sysctl_takes_the_agent_out(&node);
    node.pull(&image);
}

/// Of root's capabilities the unit has that to bind a privileged port.
fn has_one_capability(node: &Node) {
    let status = node
        .machine
        .run("cat", &[&format!("/proc/{}/status", node.pid())]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}"))
            .trim()
            .to_owned()
    };
    let bind = "0000000000000400";
    for (name, due) in [
        ("CapBnd:", bind),
        ("CapEff:", bind),
        ("CapAmb:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
    ] {
        assert_eq!(field(name), due, "{name}");
    }
}

fn another_user_is_told_what_is_missing(node: &Node) {
    let run = [
        "--reuid",
        OTHER,
        "--clear-groups",
        "--inh-caps=-all",
        "harbor-pilot",
        "run",
    ];
    let output = node.machine.output("setpriv", &run);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for due in ["127.0.0.1:290", "CAP_NET_BIND_SERVICE", "[server] listen"] {
        assert!(text.contains(due), "{text}");
    }
}

/// The administrator makes every port everybody's while the agent runs.
fn a_lowered_sysctl_takes_the_agent_out(node: &Node) {
    let machine = &node.machine;
    machine.run("systemctl", &["stop", "other"]);
    node.wait_for_hosts_toml();
    let changed = Instant::now();
    node.make_privileged_below(0);
    node.wait("the agent is out of the file", |node| !node.is_in_file());
    let taken = changed.elapsed();
    println!(
        "{SYSCTL} lowered: out of the file after {:.2} s",
        taken.as_secs_f32()
    );
    assert!(taken < LIMIT, "{taken:?}");
    // The journal's own thread writes it.
    node.wait("the event is in the journal", |node| {
        node.records(&["EVENT=port_unprivileged"]).len() == 1
    });
    assert!(
        machine
            .say("harbor-pilot", &["status"])
            .contains("every user of this node")
    );
    assert!(
        machine
            .say("harbor-pilot", &["doctor"])
            .contains("port-unprivileged")
    );
    let check = machine.output("harbor-pilot", &["check"]);
    let text = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(text.contains("every user of this node"), "{text}");

    // Whoever takes the port now is asked for nothing.
    node.start_other(290);
    let counts = node.kill_at_random(290, 5);
    assert_eq!(counts["other"], 0, "{counts}");
    machine.run("systemctl", &["stop", "other"]);
    node.make_privileged_below(1024);
    machine.run("systemctl", &["restart", "harbor-pilot"]);
    node.wait_for_hosts_toml();
}

/// What is accepted by `allow_unprivileged_port`, in numbers. The files are held to: the agent that cannot have its port
/// back takes itself out, whatever the other one answers.
#[test]
fn a_port_that_every_user_may_bind_is_served_by_others_where_that_is_accepted() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    node.install(Package::First);
    node.configure(&lab);
    node.drop_in("50-port", "[server]\nlisten = [\"127.0.0.1:5290\"]\n");
    let machine = &node.machine;
    machine.run("systemctl", &["enable", "--now", "harbor-pilot"]);
    // Without the key the agent comes into no file.
    node.wait("that is said", |node| {
        node.records(&["EVENT=port_unprivileged"]).len() == 1
    });
    assert!(!node.is_in_file(), "{}", node.hosts());
    node.drop_in("51-accepted", "[node]\nallow_unprivileged_port = true\n");
    machine.run("systemctl", &["reload", "harbor-pilot"]);
    node.wait("the agent is in the file", Node::is_in_file);

    node.start_other(5290);
    let kills = (kills() / 10).max(5);
    let counts = node.kill_at_random(5290, kills);
    println!(
        "allow_unprivileged_port: in {} kills the other user had the port {} times, and gave {} answers while the file named it",
        counts["kills"],
        node.of_other("taken"),
        counts["other"]
    );
    // The same process that gets nothing on port 290.
    assert!(node.of_other("taken") > 0, "{counts}");
    assert!(counts["other"].as_u64() > Some(0), "{counts}");
    machine.run("systemctl", &["stop", "other"]);
    machine.run("systemctl", &["restart", "harbor-pilot"]);
    node.wait("the agent is back in the file", Node::is_in_file);
}

/// The password file is deleted, and the agent dies: it cannot start again, and the handover needs no password.
#[test]
fn a_missing_secret_keeps_the_agent_in_no_file() {
    let lab = Lab::start();
    let node = Node::boot(&lab, Release::Bookworm, Runtime::Containerd);
    let machine = &node.machine;
    node.install(Package::First);
    node.configure(&lab);
    machine.shell("umask 077; echo secret >/etc/harbor-pilot/password");
    node.drop_in(
        "50-account",
        "[[tier]]\nname = \"replica\"\nusername = \"robot\"\npassword_file = \"/etc/harbor-pilot/password\"\n\
         [[registry]]\nname = \"quay.io\"\ndirect = false\n",
    );
    machine.run("systemctl", &["enable", "--now", "harbor-pilot"]);
    node.wait_for_hosts_toml();
    machine.run("rm", &["/etc/harbor-pilot/password"]);
    let died = Instant::now();
    machine.run("kill", &["-KILL", &node.pid()]);
    node.wait("the agent is out of the file", |node| !node.is_in_file());
    println!(
        "exit 64 for a missing password: handed over {:.2} s after the death",
        died.elapsed().as_secs_f32()
    );
    assert_eq!(node.state(), "failed");
    assert!(
        node.hosts().contains("[host.\"https://core.lab.example"),
        "{}",
        node.hosts()
    );
    // The handover writes one file after the other.
    node.wait("the closed registry's last resort is nobody", |node| {
        node.machine
            .run("cat", &["/etc/containerd/certs.d/quay.io/hosts.toml"])
            .contains("server = \"http://127.0.0.1:0\"")
    });

    // Nor does it need the state directory, which systemd cannot make here: the marks in the files are enough.
    machine.shell("umask 077; echo secret >/etc/harbor-pilot/password");
    machine.run("systemctl", &["reset-failed", "harbor-pilot"]);
    machine.run("systemctl", &["start", "harbor-pilot"]);
    node.wait_for_hosts_toml();
    machine.shell("rm -r /var/lib/harbor-pilot; touch /var/lib/harbor-pilot");
    machine.run("kill", &["-KILL", &node.pid()]);
    node.wait("the agent is out of the file", |node| !node.is_in_file());
    assert_eq!(node.state(), "failed");
}
