//! What k3s and rke2 read and generate, from their flags and the files that they made.

use super::config_toml::{self, Registries};
use super::facts::Facts;
use super::k3s::{self, Layout};
use super::meaning::meaning;
use super::{Detected, Family, Version};
use crate::config;
use crate::node::ledger::Generation;
use crate::node::registries_yaml::{Refused, read as read_yaml};
use std::path::Path;
use std::time::Duration;

/// The containerd that came with the first k3s that leaves other directories of certs.d alone (k3s#10823; by its
/// releases' dates).
const KEEPS_OTHERS: Version = (1, 7, 21);

pub(super) fn read(
    detected: &mut Detected,
    facts: &Facts,
    node: &config::Node,
    family: Family,
    known: Option<&Generation>,
) {
    let process = k3s::process(facts, family);
    detected.running = process.is_some();
    detected.started_at = process.map(|process| process.started_at);
    let Layout {
        flags,
        data_dir,
        etc,
        registries,
    } = Layout::new(facts, node, family);
    detected.embedded_registry = flags.embedded_registry;
    detected.disable_default_registry_endpoint = flags.disable_default_endpoint;
    let version = detected.version();
    detected.cleans_certs_d = version.is_some_and(|version| version < KEEPS_OTHERS);
    let certs_d = node.certs_d.clone();
    let certs_d = certs_d.unwrap_or_else(|| etc.join("certs.d"));
    if let Some(other) = &flags.other_runtime {
        detected.degrade(
            format!("{} runs with {other}: its own containerd does not pull", family.name()),
            "set runtime = \"containerd\" under [node] if that runtime is containerd, else runtime = \"none\" and see: harbor-pilot plan --for docker",
        );
    }
    if let Some(config) = facts.containerd_config.first() {
        let read = config_toml::read(std::slice::from_ref(config), version);
        if let Ok(read) = &read {
            detected.config_path.clone_from(&read.roots);
        }
        match read {
            Ok(Registries { roots, .. }) if roots.contains(&certs_d) => {}
            Ok(Registries { roots, .. }) => {
                let template = facts.template.as_ref();
                detected.without_certs_d = roots.is_empty() && template.is_none();
                let path = config.path.display();
                if let Some(template) = template {
                    let shown = template.display();
                    detected.degrade(
                        format!("{path} does not read {}: the template {shown} lacks it", certs_d.display()),
                        format!("put config_path = \"{}\" into the registry part of the template and restart {} when it suits", certs_d.display(), family.name()),
                    );
                } else if !roots.is_empty() {
                    detected.degrade(
                        format!(
                            "{path} reads other host configurations than {}",
                            certs_d.display()
                        ),
                        "correct data_dir or certs_d under [node]",
                    );
                }
            }
            Err(wrong) => detected.remark(
                wrong,
                "see what wrote it; it is made anew at the next start",
            ),
        }
    }
    last_start(detected, facts, family, &registries, known);
    detected.certs_d = Some(certs_d);
    detected.registries_yaml = Some(registries);
    detected.data_dir = Some(data_dir);
}

/// What the last start read, and whether the next one would read something else. registries.yaml is read a moment before
/// config.toml is written.
fn last_start(
    detected: &mut Detected,
    facts: &Facts,
    family: Family,
    path: &Path,
    known: Option<&Generation>,
) {
    let text = facts.registries.as_ref();
    let now = meaning(text.map_or("", |text| &text.text));
    let mut pending = false;
    if let Some(last) = &facts.generation {
        let known = known.filter(|known| known.is(last));
        let known = known.and_then(|known| known.registries.clone());
        // Not seen at that start, and changed since: what was read is not known.
        let is_older = text.is_none_or(|text| text.modified <= last.modified);
        let read = known.or_else(|| is_older.then(|| now.clone()));
        // A process that has not generated anything yet has still to read it. When it started is known to the
        // second.
        let written = last.modified.saturating_add(Duration::from_secs(1));
        let has_read = detected
            .started_at
            .is_some_and(|started| started <= written);
        pending = has_read && read.as_ref() != Some(&now);
        let registries = read;
        detected.generation = Some(Generation {
            registries,
            ..last.clone()
        });
    }
    if let Some(Err(unreadable @ Refused::Unreadable(_))) = text.map(|text| read_yaml(&text.text)) {
        // A restart is the last thing to ask for.
        let name = family.name();
        return detected.degrade(
            format!("{}: {unreadable}", path.display()),
            format!("correct that line before {name} is started again; until then it runs on with what it read"),
        );
    }
    detected.restart_pending = pending.then(|| {
        format!(
            "{} has changed since {} started and takes effect at its next start; until then the live host configurations hold",
            path.display(),
            family.name()
        )
    });
}
