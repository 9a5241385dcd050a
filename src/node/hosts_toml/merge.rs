//! Puts our part into a text.

use super::layout::{Host, Layout};
use super::{HEADER, Refused, remove, render, view};
use crate::config::Existing;
use crate::node::desired::{DesiredHost, HostEntry, Role};
use crate::node::endpoint::{EndpointUrl, Reader, same_endpoint};
use crate::node::marks;
use std::collections::BTreeSet;
use std::ops::Range;

/// Keys of the root that set TLS up.
const TLS: [&str; 3] = ["ca", "client", "skip_verify"];

/// A text with our part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What should stand in the file.
    pub text: String,
    /// What a reader of the plan should know, a sentence each.
    pub notes: Vec<String>,
}

/// Puts our part into a text; `None` where no file is.
///
/// # Errors
/// Says why the text is not touched.
pub fn merge(
    existing: Option<&str>,
    desired: &DesiredHost,
    policy: Existing,
) -> Result<Merged, Refused> {
    let base = remove::base(existing.unwrap_or_default(), Some(&desired.agent_url))?;
    let layout = Layout::of(&base)?;
    let mut merge = Merge {
        desired,
        policy,
        aside: BTreeSet::new(),
        notes: Vec::new(),
    };
    let (left, embedded) = merge.hosts(&layout)?;
    let top = merge.server(&layout)?;
    let block = merge.block(&layout, &left, top.is_ours);
    let place = place(&base, &layout, embedded);
    let text = merge.compose(&base, &top.lines, &block, place);
    view::check(&text, desired)?;
    let notes = merge.notes;
    Ok(Merged { text, notes })
}

struct Merge<'a> {
    desired: &'a DesiredHost,
    policy: Existing,
    /// Lines that become comments.
    aside: BTreeSet<usize>,
    notes: Vec<String>,
}

/// What stands above the first table.
struct Top {
    lines: String,
    /// The `server` is ours.
    is_ours: bool,
}

// === impl Top ===

impl Top {
    fn ours(lines: String) -> Self {
        let is_ours = true;
        Self { lines, is_ours }
    }

    fn theirs() -> Self {
        let (lines, is_ours) = (String::new(), false);
        Self { lines, is_ours }
    }
}

// === impl Merge ===

impl Merge<'_> {
    /// What happens to the host tables that are there: those that stay, and the embedded registry's.
    fn hosts<'l>(
        &mut self,
        layout: &'l Layout,
    ) -> Result<(Vec<&'l Host>, Option<&'l Host>), Refused> {
        let mut left = Vec::new();
        let mut embedded = None;
        for (at, host) in layout.hosts.iter().enumerate() {
            let url = EndpointUrl::parse(&host.url, Reader::Containerd);
            let is_agent = same_endpoint(&host.url, self.agent_url());
            let known = EndpointUrl::root(&host.url, host.override_path)
                .and_then(|root| self.desired.role_of(&root).cloned())
                // It stays where it is the only way to the upstream while the agent is down: `server` leads there as well, or
                // nothing may.
                .filter(|role| {
                    *role != Role::Upstream || self.desired.closed || self.leads_upstream(layout)
                });
            if at == 0 && is_embedded(host, url.as_ref()) {
                embedded = Some(host);
            } else if self.policy == Existing::Refuse {
                return Err(Refused::Existing(host.url.clone()));
            } else if is_agent || (known.is_some() && self.policy == Existing::Adopt) {
                self.aside.extend(host.lines.iter().cloned().flatten());
                let whose = match &known {
                    Some(Role::Tier(name)) => format!("the configured tier {name}"),
                    Some(_) => "the registry itself".to_owned(),
                    None => "this agent".to_owned(),
                };
                self.notes.push(format!("{} is {whose}: adopted", host.url));
            } else {
                if self.desired.closed {
                    self.notes.push(format!(
                        "{} stays behind the agent, though the registry may not be asked directly: see that it is no way round",
                        host.url
                    ));
                }
                left.push(host);
            }
        }
        Ok((left, embedded))
    }

    fn agent_url(&self) -> &str {
        self.desired.agent_url.as_str()
    }

    /// The file's `server` is the registry's upstream.
    fn leads_upstream(&self, layout: &Layout) -> bool {
        let server = layout.server.as_ref();
        let server = server.and_then(|(url, _)| EndpointUrl::root(url, false));
        server.is_some_and(|server| self.desired.role_of(&server) == Some(&Role::Upstream))
    }

    /// Whether the user's `server` stays, and what is written in its place.
    fn server(&mut self, layout: &Layout) -> Result<Top, Refused> {
        let ours = &self.desired.server;
        let keys: Vec<&str> = layout
            .server_keys
            .iter()
            .map(|(key, _)| key.as_str())
            .collect();
        let closed = self.desired.closed;
        let Some((url, lines)) = &layout.server else {
            // The user's keys describe the registry itself; with another server they would describe that.
            if closed {
                self.set_aside(layout, &keys);
                return Ok(Top::ours(render::server(ours, &[])));
            }
            // Stock containerd goes on to the registry itself without a word; k3s' only where there is no host, which
            // ours would change. Then it minds no path and no capabilities of the root.
            if !layout.hosts.is_empty() {
                return Ok(Top::theirs());
            }
            // With TLS set up it asks a registry of this machine by HTTPS and then by HTTP, which no `server` says.
            let tls = keys.iter().find(|key| TLS.contains(key));
            if let Some(key) = tls.filter(|_| ours.url.starts_with("http://")) {
                return Err(Refused::Unusual(format!(
                    "{key} stands above the tables, and containerd asks this registry by HTTPS and then by HTTP, which cannot be written; write the server that you mean, or take {key} out"
                )));
            }
            self.set_aside(layout, &["capabilities", "override_path"]);
            return Ok(Top::ours(render::server(ours, &keys)));
        };
        if !closed && same_endpoint(url, &ours.url) {
            return Ok(Top::theirs());
        }
        let known = EndpointUrl::parse(url, Reader::Containerd).and_then(|url| {
            let mut known = self.desired.known.iter();
            known.find(|known| known.url.same_server(&url))
        });
        let known = known.map(|known| &known.role);
        let is_agent = same_endpoint(url, self.agent_url());
        let foreign = known.is_none() && !url.is_empty() && !is_agent;
        if self.policy == Existing::Refuse && (foreign || matches!(known, Some(Role::Tier(_)))) {
            return Err(Refused::Existing(format!("server = {url:?}")));
        }
        if !closed {
            if foreign {
                self.notes
                    .push(format!("server stays {url}: that is asked last"));
            }
            return Ok(Top::theirs());
        }
        if foreign {
            self.notes.push(format!(
                "server = {url:?} is set aside: it would be a way round (F6)"
            ));
        }
        self.aside.extend(lines.clone());
        self.set_aside(layout, &keys);
        Ok(Top::ours(render::server(ours, &[])))
    }

    /// Root keys that would describe another server than they were written for.
    fn set_aside(&mut self, layout: &Layout, keys: &[&str]) {
        let found = layout.server_keys.iter();
        let found = found.filter(|(key, _)| keys.contains(&key.as_str()));
        self.aside
            .extend(found.flat_map(|(_, lines)| lines.clone()));
    }

    /// Our tables.
    fn block(&mut self, layout: &Layout, left: &[&Host], server_is_ours: bool) -> Vec<String> {
        let server = &self.desired.server;
        let mut entries: Vec<&HostEntry> = Vec::new();
        let alone = self.desired.hosts.is_empty() && self.desired.closed;
        if alone && self.desired.agent_alive && !left.is_empty() {
            // As the server alone it would come behind the user's hosts.
            entries.push(server);
        }
        for entry in &self.desired.hosts {
            match left
                .iter()
                .find(|host| same_endpoint(&host.url, &entry.url))
            {
                None => entries.push(entry),
                Some(host) => self
                    .notes
                    .push(format!("{} stands in the file already", host.url)),
            }
        }
        let mut block: Vec<String> = Vec::new();
        if server_is_ours {
            block.extend(render::server_header(server));
        }
        block.extend(entries.iter().map(|entry| render::table(entry)));
        let active = layout.hosts.iter().any(|host| {
            let first = host.lines.iter().map(|lines| lines.start).min();
            first.is_some_and(|at| !self.aside.contains(&at))
        });
        if entries.is_empty() && !active && layout.bare_host.is_none() {
            block.push(render::bare_host());
        }
        block
    }

    fn compose(&self, base: &str, top: &str, block: &[String], place: Option<usize>) -> String {
        let end = marks::line_end(base);
        let own = |text: String| text.replace('\n', end);
        let mut text = own(format!("{HEADER}\n{top}\n"));
        for (at, line) in marks::lines(base).enumerate() {
            if place == Some(at) && !block.is_empty() {
                text.push_str(&own(format!("{}\n", block.join("\n"))));
            }
            if self.aside.contains(&at) {
                text.push_str(&marks::aside(line));
            } else {
                text.push_str(line);
            }
        }
        if place.is_none() && !block.is_empty() {
            marks::append(&mut text, &own(block.join("\n")));
        }
        text
    }
}

/// The line before which our tables go: before the user's hosts with the comments above them, behind the embedded
/// registry; `None` at the end.
fn place(base: &str, layout: &Layout, embedded: Option<&Host>) -> Option<usize> {
    let end_of = |lines: &[Range<usize>]| lines.iter().map(|lines| lines.end).max();
    let lines: Vec<&str> = marks::lines(base).collect();
    let starts = layout.hosts.iter().flat_map(|host| &host.lines);
    let first = starts.map(|lines| lines.start).min();
    let place = if let Some(host) = embedded {
        end_of(&host.lines)
    } else if let Some(bare) = layout
        .bare_host
        .filter(|bare| first.is_none_or(|at| *bare < at))
    {
        Some(bare + 1)
    } else {
        let first = first?;
        let above = lines.get(..first).unwrap_or_default().iter().rev();
        Some(first - above.take_while(|line| marks::is_comment(line)).count())
    };
    // The blank line behind the embedded registry or the bare `[host]` stays there.
    let place = place.map(|at| match lines.get(at) {
        Some(line) if marks::is_blank(line) => at + 1,
        _ => at,
    });
    place.filter(|at| *at < lines.len())
}

/// k3s's own registry of the cluster's nodes: this machine, with a client certificate (design F4).
fn is_embedded(host: &Host, url: Option<&EndpointUrl>) -> bool {
    host.has_client && url.is_some_and(|url| url.https && url.is_loopback())
}
