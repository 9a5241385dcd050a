//! From what should stand in the node's files to what does: look at the disk, plan, execute; and the way back.
//!
//! The plan is pure. Each file is thought of as it would be without us (its base): the ledger's original as long
//! as nobody else has touched the file, else what is left of it when our part is taken out. What we want is always
//! put into the base, so that the user's own edits stay, and `restore` is to write the base.

mod base;
mod execute;
mod leave;
mod left;
mod look;
mod pass;
mod registries;
mod search;
mod starts;

pub use execute::{Done, Outcome, execute};
pub use leave::{Released, hand_over, release};
pub use left::Left;
pub(in crate::node) use look::chain;
use look::standing;
pub use look::{Disk, look};
pub use pass::{Everything, Hooks, Pass, Passed, Tiers, agent_of, preview, run};
pub use search::Places;

use super::desired::{self, DesiredHost, Situation};
use super::detect::{Detected, Found};
use super::hosts_toml::{self, Merged};
use super::ledger::{Entry, Kind, Ledger};
use super::write::Standing;
use crate::config::{Config, Runtime};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// containerd's directory for registries without one of their own.
const DEFAULT: &str = "_default";
/// The file that containerd reads in a registry's directory.
const HOSTS: &str = "hosts.toml";
/// Why no file names `[::1]` (containerd-k3s-facts 13.7).
const IPV6: &str = "containerd 1.6 and 1.7 ignore a file that names an IPv6 literal, which is the only address of [server] listen, and /etc/hosts does not give it the name localhost; let the agent listen on 127.0.0.1 too";

/// What a plan is made from, besides the disk.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// What runs here.
    pub detected: &'a Detected,
    /// What was changed before.
    pub ledger: &'a Ledger,
    /// Where the agent is; `None`: it listens nowhere.
    pub agent: Option<&'a str>,
    /// Its own port answers with our header.
    pub agent_alive: bool,
    /// Every user may bind its port, and that is not allowed: it stands in no file, whatever it answers (design S7).
    pub is_out: bool,
    /// Tiers whose every current address is healthy.
    pub whole_tiers: &'a BTreeSet<Arc<str>>,
}

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
}

/// One file's change.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which file.
    pub path: PathBuf,
    /// What sort.
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

/// What should stand, before the disk is looked at.
#[derive(Clone, Debug, Default)]
struct Wanted {
    live: Vec<DesiredHost>,
    certs_d: Option<PathBuf>,
    registries: Option<PathBuf>,
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

    fn wait(&mut self, path: &Path, why: impl Into<String>) {
        self.leave(path, why);
        if let Some(left) = self.left.last_mut() {
            left.waits = true;
        }
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
    #[must_use]
    pub fn restores(&self) -> bool {
        self.new == self.base
    }
}

/// The files whose state a plan needs to know.
#[must_use]
pub fn paths(input: &Input<'_>) -> BTreeSet<PathBuf> {
    let wanted = wanted(input);
    let mut paths: BTreeSet<PathBuf> = input.ledger.files.keys().cloned().collect();
    if let Some(certs_d) = &wanted.certs_d {
        for host in &wanted.live {
            for directory in base::candidates(certs_d, host.registry.as_str()) {
                paths.extend(host.ca_files().map(|ca| directory.join(&ca.name)));
                paths.insert(directory.join(HOSTS));
            }
            let roots = &input.detected.config_path;
            let behind = base::behind(certs_d, host.registry.as_str(), roots);
            paths.extend(behind.iter().map(|directory| directory.join(HOSTS)));
        }
    }
    paths.extend(wanted.registries);
    paths
}

fn wanted(input: &Input<'_>) -> Wanted {
    let detected = input.detected;
    let Some(agent) = input.agent else {
        return Wanted::default();
    };
    let situation = Situation {
        agent,
        agent_alive: input.agent_alive && !input.is_out,
        whole_tiers: input.whole_tiers,
    };
    Wanted {
        live: desired::desired(input.config, &situation),
        certs_d: detected
            .certs_d
            .clone()
            .filter(|_| !detected.without_certs_d),
        registries: detected.registries_yaml.clone(),
    }
}

/// What must be done so that the disk is as it should be. Pure.
#[must_use]
pub fn plan(input: &Input<'_>, disk: &Disk) -> Plan {
    let mut wanted = wanted(input);
    let mut plan = Plan::default();
    if let Some(certs_d) = &wanted.certs_d
        && input.agent.is_some_and(|agent| agent.contains('['))
    {
        plan.leave(certs_d, IPV6);
        wanted = Wanted::default();
    }
    let mut handled: BTreeSet<PathBuf> = BTreeSet::new();
    if let Some(certs_d) = &wanted.certs_d
        && !wanted.live.is_empty()
    {
        let exists = |directory: &Path| disk.names(directory).is_some();
        let waits = !exists(certs_d) && !certs_d.parent().is_some_and(exists);
        if waits {
            plan.wait(certs_d, "the runtime has not made its directories yet; it is done as soon as they are there");
        } else if !exists(certs_d) {
            plan.directories.push(certs_d.clone());
        }
        for host in &wanted.live {
            let directory = base::directory(certs_d, host.registry.as_str(), disk);
            handled.insert(directory.join(HOSTS));
            handled.extend(host.ca_files().map(|ca| directory.join(&ca.name)));
            if !waits {
                plan_host(&mut plan, input, disk, &directory, host);
            }
        }
    }
    if let Some(registries) = &wanted.registries {
        handled.insert(registries.clone());
        registries::plan(&mut plan, input, disk, registries);
    }
    let detected = input.detected.runtime != Found::None;
    if !detected && input.config.node.runtime == Runtime::Auto {
        // Not seen now, such as in the middle of its own upgrade: no reason to take anything out.
        return plan;
    }
    let gone = input
        .ledger
        .files
        .iter()
        .filter(|(path, _)| !handled.contains(*path));
    for (path, entry) in gone {
        let why = "no longer part of the configuration";
        match leave::taken_out(path, entry.kind, Some(entry), disk, why) {
            Ok(step) => plan.steps.push(step),
            Err(why) => plan.leave(path, why),
        }
    }
    plan.sort();
    plan
}

fn plan_host(
    plan: &mut Plan,
    input: &Input<'_>,
    disk: &Disk,
    directory: &Path,
    host: &DesiredHost,
) {
    let path = &directory.join(HOSTS);
    let mut certificates = Plan::default();
    for ca in host.ca_files() {
        let entry = input.ledger.files.get(&directory.join(&ca.name));
        if let Err(why) = plan_ca(
            &mut certificates,
            disk,
            &directory.join(&ca.name),
            entry,
            &ca.pem,
        ) {
            return plan.leave(path, why);
        }
    }
    let entry = input.ledger.files.get(path);
    let (current, base) = match disk.current_and_base(path, Kind::Hosts, entry) {
        Ok(both) => both,
        Err(why) => return plan.leave(path, why),
    };
    let mut reasons = host.reasons.clone();
    let new = match put_in(text_of(&base), input, disk, directory, host) {
        Ok((text, notes)) => {
            plan.steps.append(&mut certificates.steps);
            reasons.extend(notes);
            let secret = host.agent_alive && input.config.server.require_header.is_some();
            let like = current.as_ref().or(base.as_ref());
            Some(standing(text.into_bytes(), like, secret))
        }
        Err(why) => {
            plan.leave(path, why);
            // What we put in before goes.
            base.clone()
        }
    };
    plan.change(path, Kind::Hosts, (current, new, base), reasons);
}

/// What containerd would see without us, with our part in front, and what a reader of the plan should know.
///
/// # Errors
/// Why it is left alone.
fn put_in(
    own: Option<String>,
    input: &Input<'_>,
    disk: &Disk,
    directory: &Path,
    host: &DesiredHost,
) -> Result<(String, Vec<String>), String> {
    let (text, source) = match own.filter(|text| !text.is_empty()) {
        Some(text) => (Some(text), None),
        None => {
            let certs_d = directory.parent().unwrap_or(directory);
            let roots = &input.detected.config_path;
            let behind = base::behind(certs_d, host.registry.as_str(), roots);
            base::elsewhere(directory, &behind, disk, input.ledger)?.unzip()
        }
    };
    let text = text.as_deref();
    // As it stands without us: with a table set aside it could be read, and say what it does not say now.
    let ignored = text.and_then(|text| hosts_toml::ignored_by(text, input.detected.version()));
    if let Some(why) = ignored {
        return Err(why);
    }
    let merged = hosts_toml::merge(text, host, input.config.node.existing);
    let Merged { mut text, notes } = merged.map_err(|refused| refused.to_string())?;
    let mut all = Vec::new();
    if let Some(source) = source {
        text = hosts_toml::as_copy(&text, &source);
        all.push(format!("a copy of what holds in {}", source.display()));
    }
    all.extend(notes);
    Ok((text, all))
}

fn text_of(file: &Option<Standing>) -> Option<String> {
    let file = file.as_ref()?;
    // It was read as UTF-8 before.
    Some(String::from_utf8_lossy(&file.bytes).into_owned())
}

/// The certificate beside a file. Ours are made anew from the configuration; what others put there is theirs.
fn plan_ca(
    plan: &mut Plan,
    disk: &Disk,
    path: &Path,
    entry: Option<&Entry>,
    pem: &[u8],
) -> Result<(), String> {
    let (current, base) = disk.current_and_base(path, Kind::Ca, entry)?;
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

#[cfg(test)]
mod tests;
