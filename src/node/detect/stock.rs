//! What a containerd by itself reads: as its config.toml says.

use super::containerd::{self, ConfigPath};
use super::facts::Facts;
use super::{CERTS_D, Detected};
use crate::config;
use std::path::{Path, PathBuf};

/// containerd by itself.
pub(super) fn read(detected: &mut Detected, facts: &Facts, node: &config::Node) {
    let process = containerd::process(facts);
    detected.running = process.is_some();
    detected.started = process.map(|process| process.started);
    let texts = facts.stock_config();
    let read = match containerd::config_path(&texts) {
        Ok(read) => read,
        Err(wrong) => {
            detected.degrade(wrong, "correct the file: containerd will not start with it");
            ConfigPath::default()
        }
    };
    let by_default = containerd::default_roots(&read, detected.containerd_version.as_deref());
    let roots: Vec<PathBuf> = if read.roots.is_empty() {
        by_default
            .iter()
            .map(|root| facts.under_root(root))
            .collect()
    } else {
        read.roots.clone()
    };
    let wanted = node.certs_d.clone().or_else(|| roots.first().cloned());
    let wanted = wanted.unwrap_or_else(|| facts.under_root(Path::new(CERTS_D)));
    if !roots.contains(&wanted) {
        let lines = containerd::lines_to_add(read.version, &wanted);
        let beside = if read.has_mirrors {
            " and take the registry.mirrors and registry.configs tables out, which may not stand beside it,"
        } else {
            ""
        };
        detected.degrade(
            format!("containerd does not read {}", wanted.display()),
            format!(
                "add to {}:\n{lines}\n{beside} then restart containerd when it suits",
                containerd::CONFIG
            ),
        );
    } else if roots.len() > 1 && !read.local_pull {
        detected.degrade_or_remark(&wanted, read.version);
    }
    let modified = texts.iter().map(|text| text.modified).max();
    if let (Some(started), Some(modified)) = (detected.started, modified)
        && modified > started
    {
        detected.restart_pending = Some(format!(
            "{} has changed since containerd started",
            containerd::CONFIG
        ));
    }
    detected.config_path = roots;
    detected.certs_d = Some(wanted);
}

// === impl Detected ===

impl Detected {
    /// Several roots: pulls through the transfer service, from 2.1 on, take the list for one path and silently go
    /// upstream (containerd-k3s-facts 1.3, containerd#12808).
    fn degrade_or_remark(&mut self, wanted: &Path, version: u32) {
        let affected = self
            .containerd_version
            .as_deref()
            .and_then(containerd::major_minor);
        let what = "containerd's config_path lists several directories";
        let instead = format!(
            "from 2.1 on containerd takes the list for one path and reads none of them; name one:\n{}",
            containerd::lines_to_add(version, wanted)
        );
        match affected {
            Some(version) if version < (2, 1) => self.remark(what, instead),
            _ => self.degrade(what, instead),
        }
    }
}
