//! From what should stand in the node's files to what does: look at the disk, plan, execute; and the way back.
//!
//! The plan is pure. Each file is thought of as it would be without us (its base): the ledger's original as long
//! as nobody else has touched the file, else what is left of it when our part is taken out. What we want is always
//! put into the base, so that the user's own edits stay, and `restore` is to write the base.

mod base;
mod execute;
mod leave;
mod look;
mod pass;
mod registries;
mod search;
mod starts;

use execute::execute;
pub use execute::{Done, Outcome};
pub use leave::{Released, hand_over, release};
use look::{Disk, look, standing};
pub(crate) use pass::preview;
pub use pass::{Everything, Hooks, Pass, Passed, Tiers, run};
pub use search::Places;

use super::desired::{self, DesiredHost, Situation};
use super::detect::{Detected, Found};
use super::hosts_file::directories;
use super::hosts_toml;
use super::ledger::{Kind, Ledger};
use super::marks;
use super::write::Standing;
use crate::config::{Existing, Runtime};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// containerd's directory for registries without one of their own.
const DEFAULT: &str = "_default";
/// The file that containerd reads in a registry's directory.
const HOSTS: &str = "hosts.toml";
/// Why no file names `[::1]` (containerd-k3s-facts 13.7).
const IPV6: &str = "containerd 1.6 and 1.7 ignore a file that names an IPv6 literal, which is the only address of [server] listen, and /etc/hosts does not give it the name localhost; let the agent listen on 127.0.0.1 too";

/// What would be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order in which they are done.
    pub steps: Vec<Step>,
    /// What is left alone, and why.
    pub left: Vec<Left>,
    /// What a person should know of a file, whether it is changed or not.
    pub notes: Vec<(PathBuf, String)>,
    /// Directories that must be made first.
    pub directories: Vec<PathBuf>,
    /// The runtime has started since the last look: what has changed in its files is its own doing (design F7).
    pub is_start: bool,
    /// Files that others have changed since we left them.
    pub drifted: BTreeSet<PathBuf>,
}

/// A file that is left as it is, though it should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The file's absolute path.
    pub path: PathBuf,
    /// Why, and what to do.
    pub why: String,
    /// It is only a matter of time: the runtime has not made its directories yet.
    pub waits: bool,
}

/// A file to create, change or remove.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The file's absolute path.
    pub path: PathBuf,
    /// A CA certificate, a hosts.toml or registries.yaml.
    pub kind: Kind,
    /// As it stands; `None`: it does not.
    pub old: Option<Standing>,
    /// As it shall stand; `None`: not at all.
    pub new: Option<Standing>,
    /// As it would stand without us.
    pub base: Option<Standing>,
    /// Why, a sentence each.
    pub reasons: Vec<String>,
}

// === impl Plan ===

impl Plan {
    /// Whether nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn leave(&mut self, path: &Path, why: impl Into<String>) {
        self.left.push(Left {
            path: path.to_owned(),
            why: why.into(),
            waits: false,
        });
    }

    /// A file from what it is to what it shall be, with what it would be without us.
    fn change(
        &mut self,
        path: &Path,
        kind: Kind,
        (old, new, base): (Option<Standing>, Option<Standing>, Option<Standing>),
        reasons: Vec<String>,
    ) {
        if old != new {
            let path = path.to_owned();
            self.steps.push(Step {
                path,
                kind,
                old,
                new,
                base,
                reasons,
            });
        }
    }

    /// A certificate stands before the file that names it and goes after it no longer does.
    fn sort(&mut self) {
        let phase = |step: &Step| match (step.kind, &step.new) {
            (Kind::Ca, Some(_)) => 0,
            (Kind::Hosts | Kind::Registries, _) => 1,
            (Kind::Ca, None) => 2,
        };
        self.steps
            .sort_by(|a, b| (phase(a), &a.path).cmp(&(phase(b), &b.path)));
    }
}

// === impl Step ===

impl Step {
    /// Whether it takes our part out.
    pub(crate) fn restores(&self) -> bool {
        self.new == self.base
    }
}

/// A plan in the making.
struct Planning<'a> {
    pass: &'a Pass<'a>,
    detected: &'a Detected,
    /// Where the agent is, as files name it; `None`: it listens nowhere, or cannot be named.
    agent: Option<&'a str>,
    /// Every user may bind its port, and that is not allowed: it stands in no file, whatever it answers (design S7).
    is_out: bool,
    disk: Disk,
    plan: Plan,
    /// Files that are part of the configuration.
    handled: BTreeSet<PathBuf>,
}

// === impl Planning ===

impl<'a> Planning<'a> {
    fn new(pass: &'a Pass<'a>, detected: &'a Detected, agent: Option<&'a str>) -> Self {
        Self {
            pass,
            detected,
            agent: agent.filter(|agent| !agent.contains('[')),
            is_out: pass.unprivileged().is_some_and(|port| !port.allowed),
            disk: Disk::default(),
            plan: Plan::default(),
            handled: BTreeSet::new(),
        }
    }

    /// What should stand. `whole` are the tiers whose every current address is healthy.
    fn desired(&self, whole: &BTreeSet<Arc<str>>) -> Vec<DesiredHost> {
        let desired = self.agent.map(|agent| {
            let situation = Situation {
                agent,
                agent_alive: self.pass.agent_alive && !self.is_out,
                whole_tiers: whole,
            };
            desired::desired(self.pass.config, &situation)
        });
        desired.unwrap_or_default()
    }

    /// Where each registry's hosts.toml goes.
    fn certs_d(&self) -> Option<&'a Path> {
        let certs_d = self.detected.certs_d.as_deref();
        certs_d.filter(|_| !self.detected.without_certs_d)
    }

    /// Where containerd looks for a registry that has nothing below `certs_d`.
    fn behind(&self, certs_d: &Path, host: &DesiredHost) -> Vec<PathBuf> {
        base::behind(certs_d, host.registry.as_str(), &self.detected.config_path)
    }

    /// The files whose state a plan needs to know.
    fn paths(&self, desired: &[DesiredHost], ledger: &Ledger) -> BTreeSet<PathBuf> {
        let mut paths: BTreeSet<PathBuf> = ledger.files.keys().cloned().collect();
        for (host, certs_d) in desired.iter().zip(self.certs_d().into_iter().cycle()) {
            for directory in directories(certs_d, host.registry.as_str()) {
                paths.extend(host.ca_files().map(|ca| directory.join(&ca.name)));
                paths.insert(directory.join(HOSTS));
            }
            let behind = self.behind(certs_d, host).into_iter();
            paths.extend(behind.map(|directory| directory.join(HOSTS)));
        }
        let registries = self.detected.registries_yaml.clone();
        paths.extend(registries.filter(|_| self.agent.is_some()));
        paths
    }

    /// What must be done so that the disk is as it should be. Pure.
    fn plan(&mut self, desired: &[DesiredHost]) {
        if let Some(certs_d) = self.certs_d() {
            if self.agent.is_none() && self.pass.agent.is_some() {
                self.plan.leave(certs_d, IPV6);
            }
            self.live(certs_d, desired);
        }
        if let (Some(registries), Some(agent)) = (&self.detected.registries_yaml, self.agent) {
            self.registries(registries, agent);
            self.handled.insert(registries.clone());
        }
        let is_found = self.detected.runtime != Found::None;
        // Not seen now, such as in the middle of its own upgrade, it is no reason to take anything out.
        if is_found || self.pass.config.node.runtime != Runtime::Auto {
            self.gone();
            self.plan.sort();
        }
    }

    /// Plans the hosts.toml of each registry that is wanted.
    fn live(&mut self, certs_d: &Path, desired: &[DesiredHost]) {
        let exists = |directory: &Path| self.disk.names.contains_key(directory);
        let waits = !exists(certs_d) && !certs_d.parent().is_some_and(exists);
        if waits && !desired.is_empty() {
            let why = "the runtime has not made its directories yet; it is done as soon as they are there";
            self.plan.leave(certs_d, why);
            let left = self.plan.left.last_mut();
            left.into_iter().for_each(|left| left.waits = true);
        } else if !exists(certs_d) && !desired.is_empty() {
            self.plan.directories.push(certs_d.to_owned());
        }
        for host in desired {
            let directory = self.disk.directory(certs_d, host.registry.as_str());
            let path = directory.join(HOSTS);
            self.handled.insert(path.clone());
            let certificates = host.ca_files().map(|ca| directory.join(&ca.name));
            self.handled.extend(certificates);
            if waits {
                continue;
            }
            if let Err(why) = self.host(&path, certs_d, host) {
                self.plan.leave(&path, why);
            }
        }
    }

    /// The error says why it is left alone.
    fn host(&mut self, path: &Path, certs_d: &Path, host: &DesiredHost) -> Result<(), String> {
        let mut certificates = Plan::default();
        for ca in host.ca_files() {
            self.certificate(&mut certificates, &path.with_file_name(&ca.name), &ca.pem)?;
        }
        let (current, base) = self.disk.current_and_base(path, Kind::Hosts)?;
        let mut reasons = host.reasons.clone();
        let new = match self.with_our_part(text_of(&base), path, certs_d, host) {
            Ok((text, notes)) => {
                self.plan.steps.append(&mut certificates.steps);
                reasons.extend(notes);
                let secret = host.agent_alive && self.pass.config.server.require_header.is_some();
                let like = current.as_ref().or(base.as_ref());
                Some(standing(text.into_bytes(), like, secret))
            }
            Err(why) => {
                self.plan.leave(path, why);
                // What we put in before goes.
                base.clone()
            }
        };
        self.plan
            .change(path, Kind::Hosts, (current, new, base), reasons);
        Ok(())
    }

    /// What containerd would see without us, with our part in front, and what a reader of the plan should know.
    /// The error says why it is left alone.
    fn with_our_part(
        &self,
        own: Option<String>,
        path: &Path,
        certs_d: &Path,
        host: &DesiredHost,
    ) -> Result<(String, Vec<String>), String> {
        let existing = self.pass.config.node.existing;
        let version = self.detected.version();
        let directory = path.parent().unwrap_or(path);
        let own = own.filter(|text| !text.is_empty());
        let unread = own.as_deref();
        let unread = unread.and_then(|text| Some((text, hosts_toml::without_host(text, version)?)));
        let (text, source) = match (&own, &unread) {
            // In its place the certificates beside it count.
            (_, Some((_, why)))
                if existing == Existing::Refuse || self.disk.certificates(directory).is_some() =>
            {
                return Err(why.clone());
            }
            (_, Some(_)) => (None, None),
            (Some(text), None) => (Some(text.clone()), None),
            (None, None) => {
                let behind = self.behind(certs_d, host);
                let found = self.disk.elsewhere(directory, &behind, version)?;
                found.unzip()
            }
        };
        let text = text.as_deref();
        // As it stands without us: with a table set aside it could be read, and say what it does not say now.
        let ignored = text.and_then(|text| hosts_toml::ignored_by(text, version));
        if let Some(why) = ignored {
            return Err(why);
        }
        let merged = hosts_toml::merge(text, host, existing);
        let mut merged = merged.map_err(|refused| refused.to_string())?;
        if let Some((unread, why)) = unread {
            let lines = marks::lines(unread).map(marks::aside);
            merged.text.extend(lines);
            merged
                .notes
                .push(format!("what it says is set aside: {why}"));
        }
        if let Some(source) = source {
            merged.text = hosts_toml::as_copy(&merged.text, &source);
            let note = format!("a copy of what holds in {}", source.display());
            merged.notes.push(note);
        }
        Ok((merged.text, merged.notes))
    }

    /// The certificate beside a file. Ours are made anew from the configuration; what others put there is theirs.
    fn certificate(&self, plan: &mut Plan, path: &Path, pem: &[u8]) -> Result<(), String> {
        let (current, base) = self.disk.current_and_base(path, Kind::Ca)?;
        if current.as_ref().is_some_and(|current| current.bytes == pem) {
            return Ok(());
        }
        if base.is_some() {
            return Err(format!(
                "{} is not ours and holds another certificate; move it away",
                path.display()
            ));
        }
        let new = Some(standing(pem.to_vec(), None, false));
        let reasons = vec!["the CA that the file beside it names".to_owned()];
        plan.change(path, Kind::Ca, (current, new, None), reasons);
        Ok(())
    }

    /// What is no longer part of the configuration.
    fn gone(&mut self) {
        for (path, entry) in &self.disk.ledger.files {
            if self.handled.contains(path) {
                continue;
            }
            let why = "no longer part of the configuration";
            match leave::taken_out(path, entry.kind, &self.disk, why) {
                Ok(step) => self.plan.steps.push(step),
                Err(why) => self.plan.leave(path, why),
            }
        }
    }
}

fn text_of(file: &Option<Standing>) -> Option<String> {
    Some(file.as_ref()?.text().into_owned())
}

#[cfg(test)]
mod tests;
