//! What was found on the node, and what stands in a registry's file, for people: `status` and `explain` alike.

use super::render::{Color, Page, plain};
use crate::node::detect::{Detected, Found};
use crate::node::shown::{FileHost, RegistryFile, Who};
use crate::printable::printable;
use std::fmt::{self, Write};
use std::path::Path;

fn path(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

impl Page {
    /// Runtime, places, flags and findings.
    pub(in crate::cli) fn node(&mut self, node: &Detected) -> fmt::Result {
        if node.runtime == Found::None {
            return writeln!(self.text, "    no k3s, rke2 or containerd was found");
        }
        let version = node.containerd_version.as_deref();
        let version = printable(version.unwrap_or("of unknown version"));
        let running = if node.running { "" } else { ", not running" };
        let mut rows = vec![(
            "runtime",
            format!("{}{running}, containerd {version}", node.runtime),
        )];
        rows.extend(node.data_dir.as_ref().map(|dir| ("data-dir", path(dir))));
        let roots: Vec<String> = node.config_path.iter().map(|root| path(root)).collect();
        let roots = match roots.is_empty() {
            true => "none".to_owned(),
            false => roots.join(", "),
        };
        rows.push(("config_path", roots));
        let read = node.registries_yaml.as_ref();
        rows.extend(read.map(|file| ("at its start", path(file))));
        let flags = [
            (node.embedded_registry, "--embedded-registry"),
            (
                node.disable_default_registry_endpoint,
                "--disable-default-registry-endpoint",
            ),
        ];
        let flags: Vec<&str> = flags
            .into_iter()
            .filter_map(|(set, flag)| set.then_some(flag))
            .collect();
        if !flags.is_empty() {
            rows.push(("flags", flags.join(" ")));
        }
        let rows = rows.into_iter();
        self.table(
            &[],
            rows.map(|(name, text)| vec![plain(name), plain(&text)]),
        );
        if node.cleans_certs_d {
            writeln!(self.text, "    each start of this k3s empties config_path")?;
        }
        for finding in &node.findings {
            let color = if finding.degraded {
                Color::Bad
            } else {
                Color::Warn
            };
            self.line(&format!("    {}", printable(&finding.what)), color);
            // Lines to add stand on lines of their own.
            for line in finding.instead.lines() {
                writeln!(self.text, "      {}", printable(line))?;
            }
        }
        Ok(())
    }

    /// Why a restart is pending, if one is.
    pub(in crate::cli) fn restart_pending(&mut self, node: &Detected) -> fmt::Result {
        if let Some(why) = &node.restart_pending {
            self.text.push_str("    ");
            self.colored("restart pending", Color::Warn);
            writeln!(self.text, ": {}", printable(why))?;
        }
        Ok(())
    }

    /// Whom containerd asks by a registry's file.
    pub(in crate::cli) fn registry_file(
        &mut self,
        node: &Detected,
        file: Option<&RegistryFile>,
    ) -> fmt::Result {
        let Some(file) = file else {
            if node.without_certs_d {
                writeln!(
                    self.text,
                    "\nThis k3s reads no hosts.toml, only registries.yaml at its start"
                )?;
            }
            return Ok(());
        };
        let reads = match file.read {
            true => "reads",
            false => "does not read",
        };
        writeln!(
            self.text,
            "\nFor {} containerd {reads} {}",
            printable(&file.registry),
            path(&file.path)
        )?;
        let why = match (&file.error, file.read, file.exists) {
            (_, false, _) => Some("its directory is not in config_path".to_owned()),
            (Some(error), ..) => Some(format!("it is ignored: {}", printable(error))),
            (None, true, false) => Some("it is not there".to_owned()),
            (None, true, true) => None,
        };
        if let Some(why) = why {
            self.line(&format!("    {why}"), Color::Bad);
        }
        let hosts = file.hosts.iter().filter(|_| file.read);
        let mut rows: Vec<_> = hosts.map(|host| (host.url.clone(), says(host))).collect();
        if file.then_registry {
            let own = format!("{} itself", file.registry);
            rows.push((own, "asked by containerd by itself".to_owned()));
        }
        let rows = (1_usize..).zip(rows);
        self.table(
            &[],
            rows.map(|(number, (url, who))| {
                vec![plain(&number.to_string()), plain(&url), plain(&who)]
            }),
        );
        for missing in &file.missing {
            let what = format!("    {} is not there: every pull fails", path(missing));
            self.line(&what, Color::Bad);
        }
        if file.agent.is_none() || !file.read {
            self.line("    the agent is not asked: pulls go past it", Color::Warn);
        }
        Ok(())
    }
}

fn says(host: &FileHost) -> String {
    let who = match (host.who, &host.tier) {
        (Who::Agent, _) => "the agent".to_owned(),
        (Who::Tier, Some(name)) => format!("tier {name}"),
        (Who::Tier, None) => "a tier".to_owned(),
        (Who::Registry, _) => "the registry itself".to_owned(),
        (Who::Embedded, _) => "k3s' embedded registry".to_owned(),
        (Who::Nobody, _) => "nobody: it may not be asked directly".to_owned(),
        (Who::Other, _) => "yours".to_owned(),
    };
    match host.server {
        true => format!("{who} (server)"),
        false => who,
    }
}

#[cfg(test)]
pub(in crate::cli) mod tests;
