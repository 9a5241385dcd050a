//! What the Ansible role writes for Prometheus' `file_sd_configs`, by the real Ansible on this machine alone.

use crate::papers;
use crate::server::assert_done;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Has the role name these hosts of an inventory to Prometheus, in `file_sd` of the folder.
pub fn name_to_prometheus(hosts: &Value, delegate_to: &str, folder: &Path) {
    let inventory = json!({"all": {"hosts": hosts, "vars": {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/usr/bin/python3",
        "harbor_pilot_scrape_directory": folder.join("file_sd"),
        "harbor_pilot_scrape_delegate_to": delegate_to,
        "harbor_pilot_scrape_labels": {"cluster": "lab"},
    }}});
    let play = json!([{"hosts": "lab-*", "gather_facts": false, "tasks": [
        {"ansible.builtin.include_role": {"name": "harbor_pilot", "tasks_from": "scrape"}},
    ]}]);
    // JSON is YAML.
    fs::write(folder.join("inventory.yml"), inventory.to_string()).unwrap();
    fs::write(folder.join("play.yml"), play.to_string()).unwrap();
    let played = Command::new("ansible-playbook")
        .args(["-i", "inventory.yml", "play.yml"])
        .env("ANSIBLE_ROLES_PATH", papers::project("ansible/roles"))
        .env("ANSIBLE_LOCAL_TEMP", folder.join("ansible"))
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("ansible-playbook: {error}; `make deps` installs it"));
    assert_done(&played);
}

/// In a task that another host does, `ansible_host` is that host's.
#[test]
fn each_node_has_its_own_address_whoever_writes_it_down() {
    let hosts = json!({
        "lab-a": {},
        "lab-b": {"ansible_host": "192.0.2.7"},
        "lab-c": {"ansible_host": "2001:db8::7", "harbor_pilot_scrape_port": 9106},
        "lab-d": {"ansible_host": "192.0.2.8", "harbor_pilot_scrape_address": "d.example.com"},
        "monitor": {"ansible_host": "192.0.2.99"},
    });
    for writer in ["localhost", "monitor"] {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("file_sd")).unwrap();
        name_to_prometheus(&hosts, writer, home.path());
        for (name, target) in [
            ("lab-a", "lab-a:9105"),
            ("lab-b", "192.0.2.7:9105"),
            ("lab-c", "[2001:db8::7]:9106"),
            ("lab-d", "d.example.com:9105"),
        ] {
            let file = format!("file_sd/harbor-pilot-{name}.json");
            let text = fs::read_to_string(home.path().join(file)).unwrap();
            let written: Value = serde_json::from_str(&text).unwrap();
            let labels = json!({"cluster": "lab", "node": name});
            let expected = json!([{"targets": [target], "labels": labels}]);
            assert_eq!(written, expected, "written by {writer}");
        }
    }
}
