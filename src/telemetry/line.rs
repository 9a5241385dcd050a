//! One line per record for people at a terminal, or for a file that stderr was redirected to.

use super::record::{AccessRecord, StateChange};
use super::sentence;
use super::writer::Diagnostic;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::Level;

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) color: bool,
}

/// The time of lines, spelled once a second.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: u64,
    text: String,
}

/// Seconds since 1970 as `2026-11-21T01:31:08Z`.
pub(super) struct Utc(pub(super) u64);

impl Style {
    /// `2026-11-21T01:31:08Z INFO  blob docker.io/…`
    pub(super) fn access(self, out: &mut String, at: &str, record: &AccessRecord) {
        self.begin(out, at, record.level());
        sentence::access(out, record);
        out.push_str(" request=");
        sentence::one_line(out, &record.request_id);
        out.push('\n');
    }

    /// `2026-11-21T01:31:08Z WARN  tier_down: replica …`
    pub(super) fn event(self, out: &mut String, at: &str, change: &StateChange) {
        self.begin(out, at, change.event.level());
        out.push_str(change.event.word());
        out.push_str(": ");
        sentence::one_line(out, &change.message);
        out.push('\n');
    }

    /// `2026-11-21T01:31:08Z WARN  relay: …`
    pub(super) fn diagnostic(self, out: &mut String, at: &str, diagnostic: &Diagnostic) {
        self.begin(out, at, diagnostic.level);
        let target = diagnostic.target;
        out.push_str(target.strip_prefix("harbor_pilot::").unwrap_or(target));
        out.push_str(": ");
        sentence::one_line(out, &diagnostic.message);
        out.push('\n');
    }

    /// `2026-11-21T01:31:08Z INFO  95448 more requests …`
    pub(super) fn refused(self, out: &mut String, at: &str, count: u64) {
        self.begin(out, at, Level::INFO);
        sentence::refused(out, count);
        out.push('\n');
    }

    fn begin(self, out: &mut String, at: &str, level: Level) {
        let (word, color) = match level {
            Level::ERROR => ("ERROR", "31"),
            Level::WARN => ("WARN ", "33"),
            Level::INFO => ("INFO ", "32"),
            Level::DEBUG => ("DEBUG", "34"),
            Level::TRACE => ("TRACE", "35"),
        };
        let parts = if self.color {
            ["\x1b[", color, "m", word, "\x1b[0m "]
        } else {
            [word, " ", "", "", ""]
        };
        out.push_str(at);
        out.push(' ');
        out.extend(parts);
    }
}

// === impl Stamp ===

impl Stamp {
    /// That time, as it stands at a line's beginning.
    pub(super) fn at(&mut self, now: SystemTime) -> &str {
        let now = Utc::of(now);
        if now.0 != self.second || self.text.is_empty() {
            self.second = now.0;
            self.text = now.to_string();
        }
        &self.text
    }
}

impl Utc {
    pub(super) fn of(at: SystemTime) -> Self {
        Self(at.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()))
    }
}

impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, of_day) = (self.0 / 86_400, self.0 % 86_400);
        // Days to a date of the Gregorian calendar, counted in 400-year eras that start on 1 March, so that the
        // leap day is the last of a year (Howard Hinnant, "chrono-compatible low-level date algorithms").
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_based = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_based + 2) / 5 + 1;
        let month = if march_based < 10 {
            march_based + 3
        } else {
            march_based - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (of_day / 3_600, of_day % 3_600 / 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}
