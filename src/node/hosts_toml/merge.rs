//! Puts our part into a text.

use super::read::{SeenHost, View, read};
use super::{Edited, HEADER, Refused, remove, render};
use crate::config::Existing;
use crate::node::desired::{DesiredHost, HostEntry, Role};
use crate::node::endpoint::{EndpointUrl, Reader, same_endpoint};
use crate::node::marks;
use std::collections::BTreeSet;
use std::ops::Range;

/// Keys of the root that set TLS up.
const TLS: [&str; 3] = ["ca", "client", "skip_verify"];

/// Puts our part into a text; `None` where no file is.
///
/// # Errors
/// [`Refused`]: the text stays as it is. [`Refused::Existing`] only with `existing = "refuse"`.
pub fn merge(
    existing: Option<&str>,
    desired: &DesiredHost,
    policy: Existing,
) -> Result<Edited, Refused> {
    let base = remove::base(existing.unwrap_or_default(), Some(&desired.agent_url))?;
    let view = read(&base)?;
    let mut merge = Merge {
        desired,
        policy,
        aside: BTreeSet::new(),
        notes: Vec::new(),
    };
    let (embedded, mut left) = merge.hosts(&view)?;
    let top = merge.server(&view)?;
    let entries = merge.entries(&left);
    let is_agent = |host: &SeenHost| same_endpoint(&host.url, &desired.agent_url);
    let is_bare = entries.is_empty() && left.is_empty() && embedded.is_none();
    let ends = top.is_none() && view.server.is_none();
    // With no host left k3s' containerd would go to the registry, where such a file does not lead it.
    if is_bare && ends && !view.hosts.iter().any(is_agent) {
        merge.aside.clear();
        merge.notes.clear();
        left = view.hosts.iter().collect();
    }
    let mut block: Vec<String> = Vec::new();
    if top.is_some() {
        block.extend(render::server_header(&desired.server));
    }
    block.extend(entries.iter().map(|entry| render::table(entry)));
    let order: Vec<&SeenHost> = embedded.into_iter().chain(left).collect();
    if entries.is_empty() && order.is_empty() && view.bare_host.is_none() {
        block.push(render::bare_host());
    }
    let place = place(&base, &view, embedded);
    let server = match &top {
        Some(_) => Some(&desired.server.url),
        None => view.server.as_ref().map(|server| &server.url),
    };
    let text = merge.compose(&base, top.as_deref().unwrap_or_default(), &block, place);
    // Two parsers have to agree: who is asked, in which order.
    let found = read(&text).map_err(|refused| Refused::ReadBack(refused.to_string()))?;
    let behind = order.iter().map(|host| &host.url);
    let mut expected: Vec<&String> = behind.collect();
    let at = usize::from(embedded.is_some());
    expected.splice(at..at, entries.iter().map(|entry| &entry.url));
    let seen: Vec<&String> = found.hosts.iter().map(|host| &host.url).collect();
    let last = found.server.as_ref().map(|server| &server.url);
    if (&seen, last) != (&expected, server) {
        return Err(Refused::ReadBack(format!(
            "containerd would ask {seen:?} and {last:?}, not {expected:?} and {server:?}"
        )));
    }
    let notes = merge.notes;
    Ok(Edited { text, notes })
}

struct Merge<'a> {
    desired: &'a DesiredHost,
    policy: Existing,
    /// Lines that become comments.
    aside: BTreeSet<usize>,
    notes: Vec<String>,
}

// === impl Merge ===

impl<'a> Merge<'a> {
    /// What happens to the host tables that are there: the embedded registry's and the others that stay.
    fn hosts<'v>(
        &mut self,
        view: &'v View,
    ) -> Result<(Option<&'v SeenHost>, Vec<&'v SeenHost>), Refused> {
        let mut left = Vec::new();
        let mut embedded = None;
        // The upstream's stays where it is the only way there while the agent is down: `server` leads there as well, or
        // nothing may.
        let leads_upstream = self.desired.closed || self.leads_upstream(view);
        for (at, host) in view.hosts.iter().enumerate() {
            let url = &host.url;
            let known = EndpointUrl::root(url, host.override_path)
                .and_then(|root| self.desired.role_of(&root))
                .filter(|role| **role != Role::Upstream || leads_upstream);
            let is_agent = same_endpoint(url, &self.desired.agent_url);
            if at == 0 && is_embedded(host) {
                embedded = Some(host);
            } else if self.policy == Existing::Refuse {
                return Err(Refused::Existing(url.clone()));
            } else if is_agent || (known.is_some() && self.policy == Existing::Adopt) {
                self.aside.extend(host.lines.iter().cloned().flatten());
                let whose = match known {
                    Some(Role::Tier(name)) => format!("the configured tier {name}"),
                    Some(_) => "the registry itself".to_owned(),
                    None => "this agent".to_owned(),
                };
                self.notes.push(format!("{url} is {whose}: adopted"));
            } else {
                if self.desired.closed {
                    self.notes.push(format!(
                        "{url} stays behind the agent, though the registry may not be asked directly: see that it is no way round"
                    ));
                }
                left.push(host);
            }
        }
        Ok((embedded, left))
    }

    /// The file's `server` is the registry's upstream.
    fn leads_upstream(&self, view: &View) -> bool {
        let server = view.server.as_ref();
        let server = server.and_then(|server| EndpointUrl::root(&server.url, false));
        server.is_some_and(|server| self.desired.role_of(&server) == Some(&Role::Upstream))
    }

    /// Our lines of the `server`; `None`: what the user has written, or has not, stays.
    fn server(&mut self, view: &View) -> Result<Option<String>, Refused> {
        let ours = &self.desired.server;
        let closed = self.desired.closed;
        let keys: Vec<&str> = view.server_keys.iter().map(|(key, _)| *key).collect();
        let Some(server) = &view.server else {
            // The user's keys describe the registry itself; with another server they would describe that.
            if closed {
                self.set_aside(view, &keys);
                return Ok(Some(render::server(ours, &[])));
            }
            // Stock containerd goes on to the registry itself without a word; k3s' only where there is no host, which
            // ours would change. Then it minds no path and no capabilities of the root.
            if !view.hosts.is_empty() {
                return Ok(None);
            }
            // With TLS set up it asks a registry of this machine by HTTPS and then by HTTP, which no `server` says.
            let tls = keys.iter().find(|key| TLS.contains(key));
            if let Some(key) = tls.filter(|_| ours.url.starts_with("http://")) {
                return Err(Refused::Unusual(format!(
                    "{key} stands above the tables, and containerd asks this registry by HTTPS and then by HTTP, which cannot be written; write the server that you mean, or take {key} out"
                )));
            }
            self.set_aside(view, &["capabilities", "override_path"]);
            return Ok(Some(render::server(ours, &keys)));
        };
        let url = &server.url;
        let known = EndpointUrl::parse(url, Reader::Containerd).and_then(|url| {
            let mut known = self.desired.known.iter();
            known.find(|known| known.url.same_server(&url))
        });
        let is_tier = known.is_some_and(|known| matches!(known.role, Role::Tier(_)));
        let is_own = same_endpoint(url, &self.desired.agent_url)
            || (!closed && same_endpoint(url, &ours.url));
        let is_foreign = known.is_none() && !url.is_empty() && !is_own;
        if self.policy == Existing::Refuse && (is_foreign || (is_tier && !is_own)) {
            return Err(Refused::Existing(format!("server = {url:?}")));
        }
        if is_foreign {
            self.notes.push(if closed {
                format!("server = {url:?} is set aside: it would be a way round (F6)")
            } else {
                format!("server stays {url}: that is asked last")
            });
        }
        if !closed {
            return Ok(None);
        }
        self.aside.extend(server.lines.iter().cloned().flatten());
        self.set_aside(view, &keys);
        Ok(Some(render::server(ours, &[])))
    }

    /// Root keys that would describe another server than they were written for.
    fn set_aside(&mut self, view: &View, keys: &[&str]) {
        let found = view.server_keys.iter();
        let found = found.filter(|(key, _)| keys.contains(key));
        self.aside
            .extend(found.flat_map(|(_, lines)| lines.clone()));
    }

    /// Who of ours gets a table.
    fn entries(&mut self, left: &[&SeenHost]) -> Vec<&'a HostEntry> {
        let DesiredHost { hosts, server, .. } = self.desired;
        // As the server alone the agent would come behind the user's hosts.
        let alone = hosts.is_empty() && server.role == Role::Agent && !left.is_empty();
        let mut entries = Vec::new();
        for entry in alone.then_some(server).into_iter().chain(hosts) {
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
        entries
    }

    fn compose(&self, base: &str, top: &str, block: &[String], place: Option<usize>) -> String {
        let end = marks::line_end(base);
        let own = |text: String| text.replace('\n', end);
        let mut text = own(format!("{HEADER}\n{top}\n"));
        let block = own(block.iter().map(|table| format!("{table}\n")).collect());
        for (at, line) in marks::lines(base).enumerate() {
            if place == Some(at) {
                text.push_str(&block);
            }
            if self.aside.contains(&at) {
                text.push_str(&marks::aside(line));
            } else {
                text.push_str(line);
            }
        }
        if place.is_none() && text.ends_with('\n') {
            text.push_str(&block);
        } else if place.is_none() && !block.is_empty() {
            // The blank line has no end, as the user's last line had none, and is there all the same.
            let block = block.strip_suffix(end).unwrap_or(&block);
            text.push_str(&format!("{end}{block} "));
        }
        text
    }
}

/// The line before which our tables go: before the user's hosts with the comments above them, behind the embedded
/// registry; `None` at the end.
fn place(base: &str, view: &View, embedded: Option<&SeenHost>) -> Option<usize> {
    let lines: Vec<&str> = marks::lines(base).collect();
    let all = view.hosts.iter().flat_map(|host| &host.lines);
    let first = all.map(|lines: &Range<usize>| lines.start).min();
    let bare = view.bare_host;
    let bare = bare.filter(|bare| first.is_none_or(|first| *bare < first));
    let behind = embedded.and_then(|host| host.lines.iter().map(|lines| lines.end).max());
    let place = match behind.or(bare.map(|bare| bare + 1)) {
        Some(behind) => behind,
        None => {
            let above = lines.get(..first?).unwrap_or_default().iter().rev();
            first? - above.take_while(|line| marks::is_comment(line)).count()
        }
    };
    // The blank line behind the embedded registry or the bare `[host]` stays there.
    let is_blank = lines.get(place).is_some_and(|line| marks::is_blank(line));
    Some(place + usize::from(is_blank)).filter(|place| *place < lines.len())
}

/// k3s's own registry of the cluster's nodes: this machine, with a client certificate (design F4).
fn is_embedded(host: &SeenHost) -> bool {
    let url = EndpointUrl::parse(&host.url, Reader::Containerd);
    !host.client.is_empty() && url.is_some_and(|url| url.https && url.is_loopback())
}
