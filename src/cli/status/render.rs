//! The report for people: from a status to text, without any I/O.

use crate::admin::{EndpointStatus, MemoryStatus, SourceStatus, State, Status, Verdict, judge};
use crate::printable::{counted, printable};
use crate::telemetry::{human_bytes, human_duration};
use std::fmt::{self, Write};
use std::time::Duration;

#[derive(Clone, Copy)]
pub(in crate::cli) enum Color {
    Good,
    Warn,
    Bad,
    Plain,
}

/// A cell of a table.
pub(in crate::cli) type Cell = (String, Color);

/// The report for people: states, traffic, the last changes.
#[must_use]
pub fn render(status: &Status, color: bool) -> String {
    Page::written(color, |page| page.status(status))
}

/// A cell that has no colour.
pub(in crate::cli) fn plain(text: &str) -> Cell {
    (printable(text).into_owned(), Color::Plain)
}

/// A text for a terminal.
pub(in crate::cli) struct Page {
    pub(in crate::cli) text: String,
    /// Whether ANSI colours are written.
    pub(in crate::cli) color: bool,
}

impl Page {
    /// The text of what is written.
    pub(in crate::cli) fn written(
        color: bool,
        write: impl FnOnce(&mut Self) -> fmt::Result,
    ) -> String {
        let text = String::new();
        let mut page = Self { text, color };
        // Writing into a String cannot fail.
        let _ = write(&mut page);
        page.text
    }

    fn status(&mut self, status: &Status) -> fmt::Result {
        let (verdict, reasons) = judge(status);
        let color = match verdict {
            Verdict::Down => Color::Bad,
            Verdict::Degraded => Color::Warn,
            Verdict::Ready => Color::Good,
        };
        write!(self.text, "harbor-pilot {}: ", printable(&status.version))?;
        self.colored(verdict.word(), color);
        let up = human_duration(Duration::from_secs(status.uptime_seconds));
        writeln!(self.text, ", up {up}")?;
        for reason in &reasons {
            writeln!(self.text, "  {}", printable(&reason.to_string()))?;
        }
        self.config(status)?;
        writeln!(self.text, "node files: {}", printable(&status.node_files))?;
        if let Some(node) = &status.node {
            self.text.push_str("\nNode\n");
            // That a restart is pending was said with the files.
            self.node(node)?;
        }
        self.sources("Tiers", "none configured", &status.tiers)?;
        self.sources("Upstreams in use", "none", &status.upstreams)?;
        self.reputation(status)?;
        self.traffic(status)?;
        self.changes(status)
    }

    fn config(&mut self, status: &Status) -> fmt::Result {
        let config = &status.config;
        let file = config.file.as_deref().unwrap_or("built in, no file");
        writeln!(
            self.text,
            "configuration: {}, generation {}, loaded {}",
            printable(file),
            config.generation,
            printable(&config.loaded_at),
        )?;
        if config.from_last_accepted {
            self.line(
                "  started with the last accepted configuration",
                Color::Warn,
            );
        }
        if let Some(error) = &config.error {
            self.line(
                "  the file on disk was refused; an older one is in force:",
                Color::Bad,
            );
            for line in error.lines() {
                writeln!(self.text, "    {}", printable(line))?;
            }
        }
        Ok(())
    }

    fn reputation(&mut self, status: &Status) -> fmt::Result {
        let hidden = status.reputation_hidden;
        if !status.reputation.is_empty() || hidden > 0 {
            self.text.push_str("\nHeld back\n");
        }
        if hidden > 0 {
            let more = counted(hidden as u64, "row names an image", "rows name images");
            writeln!(
                self.text,
                "  {more}: shown to root and the agent's own user"
            )?;
        }
        for row in &status.reputation {
            writeln!(self.text, "  {}", printable(&row.to_string()))?;
        }
        if status.router.says_something() {
            self.text.push_str("\nImages without a registry\n");
            let router = status.router.to_string();
            writeln!(self.text, "  {}", printable(&router))?;
        }
        Ok(())
    }

    fn sources(&mut self, title: &str, none: &str, sources: &[SourceStatus]) -> fmt::Result {
        writeln!(self.text, "\n{title}")?;
        if sources.is_empty() {
            writeln!(self.text, "  {none}")?;
        }
        for source in sources {
            self.source(source)?;
        }
        Ok(())
    }

    fn source(&mut self, source: &SourceStatus) -> fmt::Result {
        write!(self.text, "  {}  ", printable(&source.name))?;
        if source.ready {
            self.colored("ready", Color::Good);
        } else {
            self.colored("not ready", Color::Bad);
        }
        writeln!(
            self.text,
            "  {} ({})",
            printable(&source.url),
            printable(&source.kind)
        )?;
        self.warnings(
            source.insecure_skip_verify,
            source.dns_error.as_deref(),
            source.dns_stale,
        );
        if let Some(robot) = &source.robot {
            self.warning(&format!("its robot account {robot}"));
        }
        if let Some(projects) = &source.projects {
            self.projects(projects)?;
        }
        if source.endpoints.is_empty() {
            writeln!(self.text, "    no address known")?;
            return Ok(());
        }
        let head = [
            "ADDRESS",
            "STATE",
            "SINCE",
            "FIRST BYTE",
            "IN FLIGHT",
            "REASON",
        ];
        self.table(&head, source.endpoints.iter().map(row));
        Ok(())
    }

    /// What a source's state has that a person should know.
    pub(in crate::cli) fn warnings(
        &mut self,
        is_unchecked: bool,
        dns_error: Option<&str>,
        is_stale: bool,
    ) {
        if is_unchecked {
            self.warning("certificates are NOT checked (insecure_skip_verify)");
        }
        let kept = match is_stale {
            true => ", last known addresses are used",
            false => "",
        };
        match dns_error {
            Some(error) => self.warning(&format!("DNS fails{kept}: {error}")),
            None if is_stale => self.warning(&format!("DNS fails{kept}")),
            None => {}
        }
    }

    /// A doubt about the source that is being shown.
    pub(super) fn warning(&mut self, text: &str) {
        self.line(&format!("    {}", printable(text)), Color::Warn);
    }

    fn traffic(&mut self, status: &Status) -> fmt::Result {
        self.text.push_str("\nTraffic since the start\n");
        let traffic = &status.traffic;
        let requests = traffic.requests.iter();
        let requests: Vec<_> = requests
            .map(|(word, n)| format!("{} {n}", printable(word)))
            .collect();
        let bytes = traffic.relayed_bytes.iter();
        let bytes: Vec<_> = bytes
            .map(|(tier, n)| format!("{} {}", printable(tier), human_bytes(*n)))
            .collect();
        let or_none = |items: Vec<String>| {
            if items.is_empty() {
                "none".to_owned()
            } else {
                items.join(", ")
            }
        };
        writeln!(self.text, "  requests: {}", or_none(requests))?;
        writeln!(self.text, "  bytes: {}", or_none(bytes))?;
        self.memory(&status.memory)?;
        if status.log_dropped > 0 {
            let lost = counted(status.log_dropped, "log record was", "log records were");
            let note = format!("  {lost} lost");
            self.line(&note, Color::Warn);
        }
        if let Some(traces) = &status.traces {
            let color = traces
                .failing
                .as_ref()
                .map_or(Color::Plain, |_| Color::Warn);
            self.line(
                &format!("  traces: {}", printable(&traces.to_string())),
                color,
            );
        }
        if status.task_panics > 0 {
            let note = format!(
                "  {} ended by a defect: see the journal",
                counted(status.task_panics, "connection", "connections")
            );
            self.line(&note, Color::Bad);
        }
        Ok(())
    }

    /// What waits in memory, where the agent says so.
    fn memory(&mut self, memory: &MemoryStatus) -> fmt::Result {
        if memory.limit == 0 {
            return Ok(());
        }
        let bytes = memory.bytes.values();
        let held = bytes.fold(0, |sum: u64, n| sum.saturating_add(*n));
        let limit = memory.limit;
        let (held, limit) = (human_bytes(held), human_bytes(limit));
        let kinds = memory.bytes.iter().filter(|(_, n)| **n > 0);
        let kinds: Vec<_> = kinds
            .map(|(what, n)| format!("{} {}", printable(what), human_bytes(*n)))
            .collect();
        write!(self.text, "  waiting in memory: {held} of {limit}")?;
        if !kinds.is_empty() {
            write!(self.text, " ({})", kinds.join(", "))?;
        }
        self.text.push('\n');
        if memory.refused > 0 {
            let note = format!(
                "  {} refused, as memory was full: see [limits] memory",
                counted(memory.refused, "answer was", "answers were")
            );
            self.line(&note, Color::Warn);
        }
        Ok(())
    }

    fn changes(&mut self, status: &Status) -> fmt::Result {
        self.text.push_str("\nLast changes\n");
        if status.changes.is_empty() {
            self.text.push_str("  none\n");
        }
        for change in &status.changes {
            let (at, event) = (printable(&change.at), printable(&change.event));
            writeln!(self.text, "  {at}  {event}: {}", printable(&change.message))?;
        }
        Ok(())
    }

    /// Columns as wide as their widest cell, below their names where they have any; no spaces at line ends.
    pub(in crate::cli) fn table(
        &mut self,
        head: &[&str],
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) {
        let head = head.iter().map(|name| plain(name)).collect();
        let rows = std::iter::once(head).chain(rows);
        let rows: Vec<Vec<Cell>> = rows.filter(|row| !row.is_empty()).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.0.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &rows {
            let last = row.iter().rposition(|cell| !cell.0.is_empty()).unwrap_or(0);
            self.text.push_str("    ");
            for ((column, (text, color)), width) in row.iter().enumerate().zip(&widths) {
                if column > last {
                    break;
                }
                self.colored(text, *color);
                if column < last {
                    let padding = width.saturating_sub(text.chars().count()).saturating_add(2);
                    self.text.extend(std::iter::repeat_n(' ', padding));
                }
            }
            self.text.push('\n');
        }
    }

    /// A line of its own.
    pub(in crate::cli) fn line(&mut self, text: &str, color: Color) {
        self.colored(text, color);
        self.text.push('\n');
    }

    pub(in crate::cli) fn colored(&mut self, text: &str, color: Color) {
        let code = match color {
            Color::Good => "32",
            Color::Warn => "33",
            Color::Bad => "31",
            Color::Plain => "",
        };
        if self.color && !code.is_empty() {
            // Writing into a String cannot fail.
            let _ = write!(self.text, "\x1b[{code}m{text}\x1b[0m");
        } else {
            self.text.push_str(text);
        }
    }
}

fn row(endpoint: &EndpointStatus) -> Vec<Cell> {
    let color = match endpoint.state {
        State::Healthy => Color::Good,
        State::Probation | State::Expired => Color::Warn,
        State::Ejected => Color::Bad,
    };
    let latency = endpoint.latency_ms.map(Duration::from_millis);
    let mut reason = endpoint.reason.clone().unwrap_or_default();
    if let Some(next) = endpoint.next_try() {
        let gap = if reason.is_empty() { "" } else { "; " };
        reason = format!("{reason}{gap}{next}");
    }
    for (applies, note) in [(endpoint.lowered, "lowered"), (endpoint.suspect, "suspect")] {
        if applies {
            reason = format!("[{note}] {reason}");
        }
    }
    vec![
        plain(&endpoint.address),
        (endpoint.state.word().to_owned(), color),
        plain(&human_duration(Duration::from_secs(endpoint.since_seconds))),
        plain(&latency.map_or_else(|| "-".to_owned(), human_duration)),
        plain(&endpoint.in_flight.to_string()),
        plain(reason.trim()),
    ]
}
