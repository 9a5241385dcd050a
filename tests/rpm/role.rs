//! The Ansible role by dnf and by zypper, on a machine that says it is Rocky 9 or Leap 15.6.

use crate::day::{installed, prepare};
use crate::lab::{Lab, Machine, Release};
use crate::package::Package;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is on the controller.
struct Controller {
    directory: PathBuf,
    leader: u32,
}

impl Controller {
    fn new(lab: &Lab, machine: &Machine) -> Self {
        let directory = lab.scratch("ansible");
        let packages = directory.join("packages");
        fs::create_dir_all(&packages).unwrap();
        for package in [Package::First, Package::Second] {
            let name = format!(
                "harbor-pilot-{}.{}.rpm",
                package.version(),
                std::env::consts::ARCH
            );
            fs::copy(package.path(), packages.join(name)).unwrap();
        }
        Self {
            directory,
            leader: machine.leader().expect("the machine is running"),
        }
    }

    /// How many tasks changed something, and what the play said; an error where it failed.
    fn play(&self, playbook: &str, package: Package) -> Result<u32, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let inventory = self.directory.join("hosts");
        let line = format!(
            "[harbor_pilot]\nnode ansible_connection=machine ansible_nsenter_pid={} ansible_python_interpreter=/usr/bin/python3 ansible_become=false\n",
            self.leader
        );
        fs::write(&inventory, line).unwrap();
        let variables = serde_json::json!({
            "harbor_pilot_package_directory": self.directory.join("packages"),
            "harbor_pilot_version": package.version(),
            "harbor_pilot_allow_downgrade": true,
            "harbor_pilot_tiers": [{ "name": "core", "url": "https://core.lab.example", "project": "proxy-{registry_dashed}" }],
            "harbor_pilot_health_gate": false,
            "harbor_pilot_uninstall_purge": true,
        });
        let output = Command::new("ansible-playbook")
            .current_dir(root.join("ansible"))
            .env("ANSIBLE_HOME", self.directory.join("home"))
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_PIPELINING", "1")
            .env(
                "ANSIBLE_CONNECTION_PLUGINS",
                root.join("tests/ansible/connection"),
            )
            .env("LC_ALL", "C.UTF-8")
            .arg("--inventory")
            .arg(&inventory)
            .arg("--extra-vars")
            .arg(variables.to_string())
            .arg(format!("playbooks/{playbook}.yml"))
            .output()
            .unwrap_or_else(|error| panic!("ansible-playbook: {error}; run `make deps` as root"));
        let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat())
            .into_owned();
        let (_, recap) = text
            .split_once("PLAY RECAP")
            .unwrap_or_else(|| panic!("{text}"));
        let changed = recap
            .split_whitespace()
            .find_map(|word| word.strip_prefix("changed="));
        match (output.status.success(), changed) {
            (true, Some(changed)) => Ok(changed.parse().unwrap()),
            _ => Err(text),
        }
    }
}

/// The machine says it is this one, and has its package manager alone.
fn become_another(machine: &Machine, release: &str, other: &str) {
    machine.shell(&format!(
        "rm -f /etc/debian_version /etc/os-release /usr/lib/os-release /usr/bin/{other}* /usr/bin/apt*"
    ));
    machine.write("/etc/os-release", release);
}

fn installs_upgrades_and_removes(release: &str, other: &str) {
    let lab = Lab::start();
    let machine = lab.boot(0, Release::Rpm);
    prepare(&lab, &machine);
    become_another(&machine, release, other);
    let controller = Controller::new(&lab, &machine);
    let state = || machine.say("systemctl", &["is-active", "harbor-pilot"]);
    // Forward, and back.
    for package in [Package::First, Package::Second, Package::First] {
        let changed = controller.play("rollout", package);
        assert!(
            changed.as_ref().is_ok_and(|it| *it > 0),
            "{}",
            changed.unwrap_err()
        );
        assert_eq!(installed(&machine), package.version());
        assert_eq!(state(), "active");
        assert_eq!(controller.play("rollout", package), Ok(0), "a second run");
    }
    // Somebody has the port: the later one's agent cannot start, and the node gets the earlier package again.
    machine.shell("systemctl stop harbor-pilot && systemd-run --unit=thief python3 -m http.server --bind 127.0.0.1 290");
    let text = controller.play("rollout", Package::Second).unwrap_err();
    let back = format!(
        "{} and its configuration are back.",
        Package::First.version()
    );
    for told in [
        "This node was given back: no agent answers (status 2)",
        &back,
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(installed(&machine), Package::First.version());
    machine.shell("systemctl stop thief");
    let again = controller.play("rollout", Package::First);
    assert!(again.is_ok(), "{}", again.unwrap_err());
    assert_eq!(state(), "active");
    let changed = controller.play("uninstall", Package::First);
    assert!(
        changed.as_ref().is_ok_and(|it| *it > 0),
        "{}",
        changed.unwrap_err()
    );
    for gone in [
        "/usr/bin/harbor-pilot",
        "/etc/harbor-pilot",
        "/var/lib/harbor-pilot",
    ] {
        assert!(!machine.path(gone).exists(), "{gone} is left");
    }
    assert_eq!(
        controller.play("uninstall", Package::First),
        Ok(0),
        "a second run"
    );
}

#[test]
fn the_role_uses_dnf_on_rocky() {
    let release = "NAME=\"Rocky Linux\"\nVERSION=\"9.6 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n\
         VERSION_ID=\"9.6\"\nPRETTY_NAME=\"Rocky Linux 9.6 (Blue Onyx)\"\n";
    installs_upgrades_and_removes(release, "zypper");
}

#[test]
fn the_role_uses_zypper_on_leap() {
    let release = "NAME=\"openSUSE Leap\"\nVERSION=\"15.6\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n\
         VERSION_ID=\"15.6\"\nPRETTY_NAME=\"openSUSE Leap 15.6\"\n";
    installs_upgrades_and_removes(release, "dnf");
}
