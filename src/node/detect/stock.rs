//! What a containerd by itself reads: as its config.toml says, and as it says of itself while it runs.

use super::config_toml::{self, Registries};
use super::containerd::{self, CONFIG, SOCKET};
use super::facts::Facts;
use super::machine::TICK;
use super::running::Running;
use super::{CERTS_D, DOCKER_CERTS_D, Detected, Found, Machine, Version, detect, gather};
use crate::config;
use std::path::{Path, PathBuf};

/// How containerd reads its configuration anew.
const RESTART: &str = "systemctl restart containerd, when it suits (pods keep running)";

/// The first version that speaks `runtime.v1`, in which it is asked.
const CRI_V1: Version = (1, 6, 0);

pub(super) fn read(detected: &mut Detected, facts: &Facts, node: &config::Node) {
    let process = containerd::process(facts);
    detected.running = process.is_some();
    detected.started_at = process.map(|process| process.started_at);
    let texts = &facts.containerd_config;
    let version = detected.version();
    let read = match config_toml::read(texts, version) {
        Ok(read) => read,
        Err(wrong) => {
            detected.degrade(wrong, "correct the file: containerd will not start with it");
            Registries::default()
        }
    };
    let mut roots = read.roots.clone();
    // By itself containerd reads none before 2.2 (containerd-k3s-facts 1.2), and none in any version with mirrors of the old
    // kind.
    if roots.is_empty() && read.barred.is_empty() && version >= Some((2, 2, 0)) {
        roots.extend([CERTS_D, DOCKER_CERTS_D].map(|root| facts.under_root(Path::new(root))));
    }
    let wanted = node.certs_d.clone().or_else(|| roots.first().cloned());
    let wanted = wanted.unwrap_or_else(|| facts.under_root(Path::new(CERTS_D)));
    let is_named = roots.contains(&wanted);
    let advice = advice(&read, facts, version, &wanted);
    if detected.findings.is_empty() {
        if !read.barred.is_empty() {
            detected.degrade(barred(&read, &wanted, is_named), advice);
        } else if !is_named {
            detected.degrade(unread(&read, &wanted), advice);
        } else if roots.len() > 1 && !read.local_pull {
            // Pulls through the transfer service (containerd-k3s-facts 1.3, containerd#12808).
            let what = "containerd's config_path lists several directories, which from 2.1 on it takes for one path and reads none of them";
            let reads_them = version.is_some_and(|version| version < (2, 1, 0));
            detected.find(!reads_them, what, advice);
        }
    }
    detected.looked_at = texts.iter().map(|text| text.path.clone()).collect();
    // Made anew at each start.
    let made = [CONFIG, SOCKET].map(|path| facts.under_root(Path::new(path)));
    detected.looked_at.extend(made);
    let modified = texts.iter().map(|text| text.modified).max();
    detected.restart_pending = match &facts.running_containerd {
        Some(Running::Reads(now)) => (now != &roots).then(
            || match now.contains(&wanted) {
                true => format!("{CONFIG} has another config_path since containerd started"),
                false => format!(
                    "containerd was started before {CONFIG} had this config_path, and does not read {} yet",
                    wanted.display()
                ),
            },
        ),
        Some(Running::WithoutPlugin) => None,
        // What runs now cannot have read a later file.
        None => (modified.zip(detected.started_at))
            .is_some_and(|(modified, started)| modified > started.saturating_add(TICK))
            .then(|| format!("{CONFIG} has changed since containerd started")),
    };
    if !detected.findings.iter().any(|finding| finding.degraded) {
        match &facts.running_containerd {
            // Switched off, as Docker's package does, or it did not load.
            Some(Running::WithoutPlugin) if version.is_some_and(|version| version >= CRI_V1) => {
                detected.remark(
                    "containerd runs without its CRI plugin, by which pods' images are pulled",
                    "see disabled_plugins in its configuration, and why it did not load: journalctl -u containerd",
                );
            }
            Some(Running::Reads(now)) if is_named && !now.contains(&wanted) => {
                let why = detected.restart_pending.clone();
                detected.degrade(why.unwrap_or_default(), RESTART);
            }
            _ => {}
        }
    }
    detected.config_path = roots;
    detected.certs_d = Some(wanted);
}

fn unread(read: &Registries, wanted: &Path) -> String {
    let mut what = format!("containerd does not read {}", wanted.display());
    if let Some(place) = &read.misplaced {
        what.push_str(&format!(
            ": {place} is not the name that a file of version {} has for that table",
            place.format
        ));
    }
    what
}

fn barred(read: &Registries, wanted: &Path, is_named: bool) -> String {
    let tables: Vec<String> = read.barred.iter().map(ToString::to_string).collect();
    let tables = tables.join(", ");
    if is_named {
        format!("containerd's CRI plugin does not load: config_path may not stand beside {tables}")
    } else {
        let wanted = wanted.display();
        format!("containerd does not read {wanted}, and config_path may not stand beside {tables}")
    }
}

/// What a person writes, in the order in which it is done.
fn advice(read: &Registries, facts: &Facts, version: Option<Version>, wanted: &Path) -> String {
    let mut steps = Vec::new();
    if !read.barred.is_empty() {
        steps.push(format!(
            "move what these tables say into a hosts.toml for each registry below {} (docs/node-files.md), and take them out of the file; passwords (auth) stay",
            wanted.display()
        ));
    }
    if read.roots != [wanted] {
        let file = facts.under_root(Path::new(CONFIG));
        let remedy = read.remedy(&facts.containerd_config, &file, version, wanted);
        steps.push(remedy.map_or_else(
            || {
                format!(
                    "write config_path = \"{}\" into the registry table of {}",
                    wanted.display(),
                    file.display()
                )
            },
            |remedy| remedy.advice,
        ));
    }
    steps.push(format!("then: {RESTART}"));
    steps.join("\n")
}

/// containerd's configuration as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigToml {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// It stands there otherwise, or not at all.
    pub(crate) changed: bool,
}

/// The stock configuration, with the directory of host configurations in it. Blocks on file I/O.
/// The error says why it cannot be had by a change of that one file, and what to do.
pub(crate) fn with_config_path(
    machine: &Machine,
    node: &config::Node,
) -> Result<ConfigToml, String> {
    let facts = gather(machine, node);
    let detected = detect(&facts, node, None);
    if detected.runtime != Found::Containerd {
        let found = detected.runtime;
        return Err(format!(
            "this is for a containerd by itself, and here is {found}: k3s and rke2 write their containerd's configuration themselves"
        ));
    }
    let file = facts.under_root(Path::new(CONFIG));
    let texts = &facts.containerd_config;
    let version = detected.version();
    let read = config_toml::read(texts, version)?;
    if let Some(place) = read.barred.first() {
        return Err(format!(
            "{place} may not stand beside config_path; move what it says into a hosts.toml (docs/node-files.md), take the table out, then run this again"
        ));
    }
    let certs_d = detected.certs_d.unwrap_or_else(|| CERTS_D.into());
    if read.roots == [certs_d.clone()] {
        let text = texts.iter().find(|text| text.path == file);
        return Ok(ConfigToml {
            text: text.map(|text| text.text.clone()).unwrap_or_default(),
            path: file,
            changed: false,
        });
    }
    let person = || {
        format!(
            "only a person can tell how {} is to be changed: {}",
            file.display(),
            detected.findings.first().map_or("", |one| &one.instead)
        )
    };
    let remedy = read.remedy(texts, &file, version, &certs_d);
    let remedy = remedy.ok_or_else(person)?;
    if remedy.file != file {
        return Err(format!(
            "the setting stands in another file: {}",
            remedy.advice
        ));
    }
    Ok(ConfigToml {
        path: remedy.file,
        text: remedy.text,
        changed: true,
    })
}
