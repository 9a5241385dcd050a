//! What the next start of k3s would make of registries.yaml.

use super::{FilesFacts, HostsFile, Stand};
use crate::doctor::code::Code;
use crate::doctor::report::{Check, Severity};
use crate::node::endpoint::{EndpointUrl, Reader};
use crate::node::registries_yaml::Mirror;

/// What the next start of k3s would make of registries.yaml.
pub(super) fn registries(check: &mut Check, facts: &FilesFacts) {
    let Some((path, read)) = &facts.registries else {
        return;
    };
    let shown = path.display().to_string();
    let registries = match read {
        Ok(registries) => registries,
        Err(why) => {
            return check.error(
                Code::RegistriesUnreadable,
                &shown,
                format!("{why}; a running node does not notice"),
                "fix the file before anybody restarts k3s or the node",
            );
        }
    };
    for (name, mirror) in &registries.mirrors {
        let ours = facts.hosts.iter().find(|file| file.registry == *name);
        let Some(file) = ours else { continue };
        entry(check, facts, &shown, file, mirror);
        if facts.closed.contains(name) {
            let open = if !facts.detected.disable_default_registry_endpoint {
                "k3s adds the registry itself behind the mirrors, unless it runs with --disable-default-registry-endpoint"
            } else if registries.configs.contains(name) {
                "its entry under configs keeps k3s from honouring --disable-default-registry-endpoint for it"
            } else {
                continue;
            };
            check.warn(
                Code::DefaultEndpointOpen,
                format!("{shown}: {name}"),
                format!("{name} may not be asked directly, but after its start containerd may until the agent has written hosts.toml: {open}"),
                "give k3s --disable-default-registry-endpoint and no configs entry for that registry",
            );
        }
    }
}

fn entry(check: &mut Check, facts: &FilesFacts, shown: &str, file: &HostsFile, mirror: &Mirror) {
    let agent = facts.agent_url.as_deref().unwrap_or_default();
    let read = |text: &str| EndpointUrl::parse(text, Reader::K3s);
    let position = mirror
        .endpoints
        .iter()
        .position(|url| read(url).is_some() && read(url) == read(agent));
    let subject = format!("{shown}: {}", file.registry);
    if mirror.has_rewrite {
        let severity = Severity::error_if(position.is_some());
        let what = match position {
            Some(_) => "its rewrite rules change the names that the agent is asked for",
            None => {
                "its rewrite rules would change the names that the agent is asked for, so that it is left as it is: after a start of k3s the agent is missing until its live file is back"
            }
        };
        return check.find(
            severity,
            Code::RegistriesRewrite,
            subject,
            what,
            "take rewrite out of that entry: the agent maps names to projects itself ([tier.projects])",
        );
    }
    if !mirror.is_written(&file.registry) {
        return;
    }
    let path = facts.registries_path();
    let is_said = facts.is_managed()
        && (facts.changes.iter().any(|one| Some(one.as_path()) == path)
            || facts
                .left
                .iter()
                .any(|left| Some(left.path.as_path()) == path));
    if position != Some(0) && !is_said && facts.stand(file) != Stand::Nowhere {
        check.warn(
            Code::RestartLosesAgent,
            subject,
            format!("k3s generates {} from this entry at its next start, and the agent is not its first endpoint", file.path.display()),
            format!("put {agent} first among its endpoints"),
        );
    }
}
