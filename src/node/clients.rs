//! Drop-ins for clients other than containerd, as text (`plan --for`): nothing of it is written by the agent.

use super::desired::{DesiredHost, Situation, desired};
use super::endpoint::{EndpointUrl, Reader};
use crate::config::Config;
use crate::oci::RegistryName;
use std::collections::BTreeSet;

/// Who is to use the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Crio,
    Podman,
    Docker,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DropIn {
    pub(crate) path: &'static str,
    pub(crate) text: String,
    /// What the text cannot say, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// The drop-in for a client, with the agent at `agent` (an `http://` URL). Without a tier there is nothing that
/// the agent adds, and the text holds no registry.
pub(crate) fn drop_in(config: &Config, agent: &str, client: Client) -> DropIn {
    let situation = Situation {
        agent,
        agent_alive: true,
        whole_tiers: &BTreeSet::new(),
    };
    let hosts = desired(config, &situation);
    let mut drop_in = match client {
        Client::Crio => registries_conf(&hosts, agent, "systemctl reload crio reads it"),
        Client::Podman => registries_conf(&hosts, agent, "the next command reads it"),
        Client::Docker => daemon_json(&hosts, agent),
    };
    if config.server.require_header.is_some() {
        drop_in.notes.push(
            "this client cannot send the header that [server] require_header_file asks for: the agent will refuse it"
                .to_owned(),
        );
    }
    drop_in
}

/// containers/image sends no `ns`: the registry stands in the path. The list of mirrors ends in `location` by
/// itself, so where the registry may not be asked, the agent is the location (design F6).
fn registries_conf(hosts: &[DesiredHost], agent: &str, note: &str) -> DropIn {
    let agent = authority(agent);
    let mut text = "# Written by \"harbor-pilot plan --for\": these registries are pulled through the agent.\n".to_owned();
    for host in hosts {
        let name = &host.registry;
        let at = |location: &str, insecure: bool| {
            let plain = if insecure { "insecure = true\n" } else { "" };
            format!("location = \"{location}\"\n{plain}")
        };
        let mut entry = at(&format!("{agent}/{name}"), true);
        if !host.closed {
            let plain = host.upstream.starts_with("http://");
            let own = at(&location(name, &host.upstream), plain);
            entry = format!("{own}\n[[registry.mirror]]\n{entry}");
        }
        text += &format!("\n[[registry]]\nprefix = \"{name}\"\n{entry}");
    }
    DropIn {
        path: "/etc/containers/registries.conf.d/50-harbor-pilot.conf",
        text,
        notes: vec![note.to_owned()],
    }
}

/// dockerd has mirrors for Docker Hub alone.
fn daemon_json(hosts: &[DesiredHost], agent: &str) -> DropIn {
    let hub = hosts
        .iter()
        .find(|host| host.registry.as_str() == "docker.io");
    let mirrors: Vec<&str> = hub.map(|_| agent).into_iter().collect();
    let json = serde_json::json!({ "registry-mirrors": mirrors });
    let mut notes = vec![
        "put the key into the file that is there; systemctl reload docker reads it".to_owned(),
        "the Docker daemon asks mirrors for images of Docker Hub only".to_owned(),
    ];
    if hub.is_some_and(|hub| hub.closed) {
        notes.push("the Docker daemon goes to Docker Hub when the agent has not got an image: nothing in this file keeps it from that".to_owned());
    }
    DropIn {
        path: "/etc/docker/daemon.json",
        text: serde_json::to_string_pretty(&json).unwrap_or_default() + "\n",
        notes,
    }
}

/// Docker Hub is known to containers/image by its own name.
fn location(name: &RegistryName, url: &str) -> String {
    if name.as_str() == "docker.io" && authority(url) == "registry-1.docker.io" {
        return name.to_string();
    }
    match EndpointUrl::parse(url, Reader::Containerd) {
        Some(url) => format!("{}{}", url.authority(), url.path),
        None => name.to_string(),
    }
}

fn authority(url: &str) -> String {
    let parsed = EndpointUrl::parse(url, Reader::Containerd);
    parsed.map_or_else(|| url.to_owned(), |url| url.authority())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[[tier]]
name = "core"
url = "https://core.example.com:8443"
project = "{registry_dashed}"
[[registry]]
name = "quay.io"
direct = false
[[registry]]
name = "plain.example:5000"
upstream = "http://10.0.0.1:5000/base"
"#;

    fn of(client: Client) -> DropIn {
        let config = Config::from_toml(CONFIG).unwrap();
        drop_in(&config, "http://127.0.0.1:290", client)
    }

    #[test]
    fn podman_is_told_of_every_registry() {
        let text = of(Client::Podman).text;
        let hub = "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\n[[registry.mirror]]\nlocation = \"127.0.0.1:290/docker.io\"\ninsecure = true\n";
        let closed = "[[registry]]\nprefix = \"quay.io\"\nlocation = \"127.0.0.1:290/quay.io\"\ninsecure = true\n\n";
        let plain =
            "prefix = \"plain.example:5000\"\nlocation = \"10.0.0.1:5000/base\"\ninsecure = true\n";
        let tier = "prefix = \"core.example.com:8443\"\nlocation = \"core.example.com:8443\"\n\n[[registry.mirror]]\nlocation = \"127.0.0.1:290/core.example.com:8443\"\n";
        for part in [hub, closed, plain, tier] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(parsed["registry"].as_array().unwrap().len(), 9);
        assert_eq!(of(Client::Crio).text, text);
    }

    #[test]
    fn docker_has_one_mirror() {
        let docker = of(Client::Docker);
        let expected = "{\n  \"registry-mirrors\": [\n    \"http://127.0.0.1:290\"\n  ]\n}\n";
        assert_eq!(
            (docker.path, docker.text.as_str()),
            ("/etc/docker/daemon.json", expected)
        );
        assert_eq!(docker.notes.len(), 2);
    }
}
