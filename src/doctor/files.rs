//! The node's files as containerd and k3s read them. Facts in, findings out.

mod kept;
mod registries;

use super::code::Code;
use super::report::Check;
use crate::admin::FileTrouble;
use crate::node::detect::{Detected, Found};
use crate::node::endpoint::{EndpointUrl, Reader, same_endpoint};
use crate::node::files::Left;
use crate::node::hosts_file::HostsFile;
use crate::node::privileged::Unprivileged;
use crate::node::registries_yaml::Registries;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default)]
pub(super) struct FilesFacts {
    /// `[node] manage`
    pub manage: bool,
    /// There is a tier, without which the agent adds nothing.
    pub has_tiers: bool,
    pub detected: Detected,
    pub released: bool,
    /// What `apply` would change.
    pub changes: Vec<PathBuf>,
    /// What it could not.
    pub left: Vec<Left>,
    /// Why the ledger cannot be read.
    pub ledger: Option<String>,
    /// What whoever runs doctor may not read, so that nothing is known of it.
    pub hidden: Vec<String>,
    /// Files that lead to the agent.
    pub ours: Vec<PathBuf>,
    /// Registries whose files also say something of others.
    pub shared: Vec<String>,
    /// Directories of files on file systems that are read-only, and where those are mounted.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// Where containerd would find the agent.
    pub agent_url: Option<String>,
    pub agent_alive: bool,
    /// Every user may bind its port.
    pub unprivileged: Option<Unprivileged>,
    /// The file of each registry.
    pub hosts: Vec<HostsFile>,
    /// registries.yaml as k3s reads it, or why it cannot.
    pub registries: Option<(PathBuf, Result<Registries, String>)>,
    /// Registries that may not be asked directly.
    pub closed: Vec<String>,
    /// What the running daemon says.
    pub troubles: Vec<FileTrouble>,
}

/// Where the agent stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    First,
    Later,
    Nowhere,
}

// === impl FilesFacts ===

impl FilesFacts {
    /// Registries whose images containerd asks the agent for first, as their files say: one of those that are all alike, and
    /// each whose file says something of others too.
    pub(super) fn registries_of_agent(&self) -> Vec<&str> {
        let first = |file: &&HostsFile| self.stand(file) == Stand::First;
        let of_agent = self.hosts.iter().filter(first);
        let names = of_agent.map(|file| file.registry.as_str());
        let (shared, alike): (Vec<&str>, Vec<&str>) =
            names.partition(|name| self.shared.iter().any(|one| one == name));
        alike.into_iter().take(1).chain(shared).collect()
    }

    fn is_managed(&self) -> bool {
        self.manage && self.has_tiers
    }

    fn stand(&self, file: &HostsFile) -> Stand {
        let Some(agent) = &self.agent_url else {
            return Stand::Nowhere;
        };
        let Some(Ok(view)) = &file.view else {
            return Stand::Nowhere;
        };
        // k3s's embedded registry is asked before everybody.
        let embedded = |url: &str| {
            let url = EndpointUrl::parse(url, Reader::Containerd);
            url.is_some_and(|url| url.https && url.is_loopback())
        };
        let all = view.hosts.iter().chain(&view.server);
        let mut urls = all
            .map(|host| host.url.as_str())
            .filter(|url| !embedded(url));
        match urls.position(|url| same_endpoint(url, agent)) {
            Some(0) => Stand::First,
            Some(_) => Stand::Later,
            None => Stand::Nowhere,
        }
    }

    fn registries_path(&self) -> Option<&Path> {
        self.registries.as_ref().map(|(path, _)| path.as_path())
    }
}

pub(super) fn files(facts: &FilesFacts) -> Check {
    let detected = &facts.detected;
    if detected.runtime == Found::None {
        return Check::not_applicable("files", "no k3s, rke2 or containerd was found on this node");
    }
    if !facts.has_tiers {
        return kept::without_tiers(facts);
    }
    let place = detected
        .certs_d
        .as_ref()
        .map(|path| path.display().to_string());
    let running = if detected.running {
        ""
    } else {
        ", not running"
    };
    let version = detected
        .containerd_version
        .as_deref()
        .unwrap_or("of unknown version");
    let mut check = Check::made(
        "files",
        format!(
            "{}{running}, containerd {version}, {}",
            detected.runtime,
            place.unwrap_or_default()
        ),
    );
    for finding in &detected.findings {
        if finding.degraded {
            check.error(
                Code::ConfigPathNotRead,
                "containerd",
                &finding.what,
                &finding.instead,
            );
        } else {
            check.note(format!("{}: {}", finding.what, finding.instead));
        }
    }
    for hidden in &facts.hidden {
        check.could_not(format!("{hidden}: run doctor as root"));
    }
    port(&mut check, facts);
    kept::kept(&mut check, facts);
    for file in &facts.hosts {
        hosts(&mut check, facts, file);
    }
    registries::registries(&mut check, facts);
    let is_said = detected.runtime == Found::Containerd
        && detected.findings.iter().any(|finding| finding.degraded);
    // Where a finding about its configuration has said to restart it, that is enough.
    if let Some(why) = detected.restart_pending.as_ref().filter(|_| !is_said) {
        let (name, command) = match detected.runtime {
            Found::Containerd => ("containerd", "systemctl restart containerd"),
            Found::K3sAgent => ("k3s", "systemctl restart k3s-agent"),
            Found::Rke2Server => ("rke2", "systemctl restart rke2-server"),
            Found::Rke2Agent => ("rke2", "systemctl restart rke2-agent"),
            _ => ("k3s", "systemctl restart k3s"),
        };
        check.warn(
            Code::RestartPending,
            name,
            why,
            format!("when it suits, one node at a time: {command} (pods keep running); harbor-pilot never does it"),
        );
    }
    check
}

/// Whether the port that the files name is kept from the users of this node.
fn port(check: &mut Check, facts: &FilesFacts) {
    let Some(port) = &facts.unprivileged else {
        return;
    };
    if port.allowed {
        check.note(port.to_string());
        return;
    }
    let mut stands = facts.hosts.iter().map(|file| facts.stand(file));
    let what = match facts.is_managed() {
        true => port.to_string(),
        // What was written by hand.
        false if stands.any(|stand| stand != Stand::Nowhere) => port.exposure(),
        false => return,
    };
    let subject = port.agent.to_string();
    check.error(Code::PortUnprivileged, subject, what, port.instead());
}

fn hosts(check: &mut Check, facts: &FilesFacts, file: &HostsFile) {
    let path = file.path.display().to_string();
    match &file.view {
        Some(Err(why)) => check.error(
            Code::HostsUnreadable,
            &path,
            format!("containerd ignores it and goes straight to {}: {why}", file.registry),
            "fix the file, or move it away",
        ),
        Some(Ok(_)) if facts.stand(file) == Stand::Later => check.warn(
            Code::AgentNotFirst,
            &path,
            "containerd asks others before the agent",
            "put the agent's table first (containerd goes by the order in the file), or let [node] existing = \"adopt\" do it",
        ),
        _ => {}
    }
    for missing in &file.missing {
        check.error(
            Code::CaMissing,
            &path,
            format!(
                "it names {}, which is not there: every pull of {} fails",
                missing.display(),
                file.registry
            ),
            "put the certificate there, or take the line out",
        );
    }
}

#[cfg(test)]
mod tests;
