//! Medians, ratios and Markdown.

use crate::Result;
use crate::settings::Settings;
use std::fmt;
use std::fs;
use std::process::Command;

/// One number per round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// The next round's.
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Round by round, this over that: both have seen the same noise.
    pub(crate) fn per(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let upper = sorted.get(sorted.len() / 2)?;
        let lower = sorted.get(sorted.len().checked_sub(1)? / 2)?;
        Some(f64::midpoint(*lower, *upper))
    }

    /// The median, or a dash.
    pub(crate) fn median_text(&self, decimals: usize) -> String {
        let text = |median| format!("{median:.decimals$}");
        self.median().map_or_else(|| "–".to_owned(), text)
    }

    /// Median, least and greatest.
    pub(crate) fn spread(&self, decimals: usize) -> String {
        let sorted = self.sorted();
        let median = self.median_text(decimals);
        match (sorted.first(), sorted.last()) {
            (Some(least), Some(most)) => {
                format!("{median} ({least:.decimals$}–{most:.decimals$})")
            }
            _ => median,
        }
    }
}

/// A table in Markdown.
pub(crate) struct Table {
    text: String,
}

impl Table {
    /// A table with a title and the names of its columns behind the first.
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        let names = columns.join(" | ");
        let rules = "---:|".repeat(columns.len());
        Self {
            text: format!("### {title}\n\n| | {names} |\n|---|{rules}\n"),
        }
    }

    /// One row.
    pub(crate) fn row(&mut self, label: &str, cells: &[String]) {
        self.text
            .push_str(&format!("| {label} | {} |\n", cells.join(" | ")));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Machine, programs and settings: numbers without them say nothing.
pub(crate) fn preamble(settings: &Settings) -> Result<String> {
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let mut models = information
        .lines()
        .filter(|line| line.starts_with("model name"))
        .filter_map(|line| line.split_once(": "));
    let model = models.next().map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    let versions = [
        first_line("nginx", "-v")?,
        first_line("haproxy", "-v")?,
        first_line("curl", "--version")?,
        first_line("wrk", "-v")?,
    ];
    Ok(format!(
        "{model}, {cores} cores, Linux {}, load before the run {}.\n{}.\n\
         {} interleaved rounds: median (least–greatest); ratios are medians of each round's ratio.\n\
         Everybody writes one line per request to a file.\n",
        kernel.trim(),
        load.join(" "),
        versions.join("; "),
        settings.rounds,
    ))
}

fn first_line(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .map_err(|error| format!("{program} is needed: {error}"))?;
    // nginx says it on stderr.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or(program);
    let short: Vec<_> = line.split_whitespace().take(3).collect();
    Ok(short.join(" "))
}
