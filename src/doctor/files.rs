//! The node's files as containerd and k3s read them. Facts in, findings out.

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

/// What the files say.
#[derive(Clone, Debug)]
pub(super) struct FilesFacts {
    /// `[node] manage`
    pub manage: bool,
    /// There is a tier, without which the agent adds nothing.
    pub has_tiers: bool,
    /// What runs here.
    pub detected: Detected,
    /// `restore` was run.
    pub released: bool,
    /// What `apply` would change.
    pub changes: Vec<PathBuf>,
    /// What it could not.
    pub left: Vec<Left>,
    /// Why the ledger cannot be read.
    pub ledger: Option<String>,
    /// Where containerd would find the agent.
    pub agent_url: Option<String>,
    /// It answers there.
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

impl Default for FilesFacts {
    fn default() -> Self {
        Self {
            manage: false,
            has_tiers: false,
            detected: Detected::nothing(),
            released: false,
            changes: Vec::new(),
            left: Vec::new(),
            ledger: None,
            agent_url: None,
            agent_alive: false,
            unprivileged: None,
            hosts: Vec::new(),
            registries: None,
            closed: Vec::new(),
            troubles: Vec::new(),
        }
    }
}

// === impl FilesFacts ===

impl FilesFacts {
    /// A registry whose images containerd asks the agent for first, as its file says.
    #[must_use]
    pub(super) fn registry_of_agent(&self) -> Option<&HostsFile> {
        self.hosts
            .iter()
            .find(|file| self.stand(file) == Stand::First)
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

/// The files.
pub(super) fn files(facts: &FilesFacts) -> Check {
    let detected = &facts.detected;
    if detected.runtime == Found::None {
        return Check::not_applicable("files", "no k3s, rke2 or containerd was found on this node");
    }
    if !facts.has_tiers {
        return Check::not_applicable(
            "files",
            "there is no tier, so that the agent belongs in no file",
        );
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
    port(&mut check, facts);
    kept(&mut check, facts);
    for file in &facts.hosts {
        hosts(&mut check, facts, file);
    }
    registries::registries(&mut check, facts);
    if let Some(why) = &detected.restart_pending {
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

/// Whether the agent keeps the files, and can.
fn kept(check: &mut Check, facts: &FilesFacts) {
    let stands: Vec<Stand> = facts.hosts.iter().map(|file| facts.stand(file)).collect();
    if !facts.is_managed() {
        let without: Vec<&str> = facts
            .hosts
            .iter()
            .zip(&stands)
            .filter(|(_, stand)| **stand == Stand::Nowhere)
            .map(|(file, _)| file.registry.as_str())
            .collect();
        if without.len() == facts.hosts.len() {
            check.error(
                Code::FilesNotManaged,
                "containerd",
                "no hosts.toml names the agent and [node] manage is not true: no pull comes through it",
                "write manage = true under [node] and reload the agent (harbor-pilot plan shows the changes before), or write hosts.toml by hand (README)",
            );
        } else if !without.is_empty() {
            check.note(format!(
                "not through the agent, since no hosts.toml says so: {}",
                without.join(", ")
            ));
        }
        return;
    }
    if facts.released {
        check.error(
            Code::FilesReleased,
            "containerd",
            "harbor-pilot restore was run on this node: its files are not kept, and pulls go past the agent",
            "harbor-pilot apply takes them up again",
        );
        return;
    }
    if let Some(why) = &facts.ledger {
        check.error(
            Code::FileLeft,
            "the ledger",
            why,
            "docs/node-files.md, \"When something goes wrong\"",
        );
    }
    for left in &facts.left {
        let path = left.path.display().to_string();
        let unreadable = matches!(&facts.registries, Some((other, Err(_))) if *other == left.path);
        if left.waits {
            check.note(format!("{path}: {}", left.why));
        } else if !unreadable {
            check.error(
                Code::FileLeft,
                path,
                &left.why,
                "mend what is said, then: harbor-pilot apply",
            );
        }
    }
    for trouble in &facts.troubles {
        let (code, instead) = match trouble.kind.as_str() {
            "not_writable" => (
                Code::FilesNotWritable,
                "systemctl edit harbor-pilot: ReadWritePaths= must name that directory; a path that was made after the agent's start needs its restart; files of another owner: harbor-pilot apply as root",
            ),
            "conflict" => (
                Code::FilesConflict,
                "make the other program stop, or have it write the agent's entry too; then: harbor-pilot apply",
            ),
            "failed" => (
                Code::FileLeft,
                "see the reason; the agent tries again by itself",
            ),
            // The plan has said it.
            _ => continue,
        };
        check.error(code, &trouble.path, &trouble.why, instead);
    }
    let said = |path: &PathBuf| {
        check
            .findings
            .iter()
            .any(|one| one.subject == path.display().to_string())
    };
    let differ: Vec<String> = facts
        .changes
        .iter()
        .filter(|path| !said(path))
        .map(|path| path.display().to_string())
        .collect();
    // Without an agent it is out of the files, and that is as it should be.
    if facts.agent_alive && !differ.is_empty() {
        check.error(
            Code::FilesDiffer,
            differ.join(", "),
            "not as it should be, and the running agent has not changed it",
            "harbor-pilot plan shows the difference, harbor-pilot apply makes it; see whether the running agent has the same configuration",
        );
    }
}

/// One hosts.toml.
fn hosts(check: &mut Check, facts: &FilesFacts, file: &HostsFile) {
    let path = file.path.display().to_string();
    match &file.view {
        Some(Err(why)) => check.error(
            Code::HostsUnreadable,
            &path,
            format!("containerd ignores it and goes straight to {}: {why}", file.registry),
            "mend the file, or move it away",
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
