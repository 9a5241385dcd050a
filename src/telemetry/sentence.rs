//! `MESSAGE`: what a record says to people, in one sentence on one line.

use super::record::{AccessRecord, RequestOutcome};
use crate::printable::{counted, printable};
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

/// Hex digits of a digest that are shown; the whole digest stands in `REFERENCE`.
const DIGEST_SHOWN: usize = 12;

/// Appends the sentence of an access record, in which names of clients and words of sources are escaped:
/// `blob docker.io/library/nginx@sha256:ab12… 200 served by replica/203.0.113.7:443 in 35 ms, 12.3 MiB`.
pub(super) fn access(out: &mut String, record: &AccessRecord) {
    // Writing into a String cannot fail.
    let _ = write_access(out, record);
}

/// A size in bytes for people: `12.3 MiB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// A duration for people: `35 ms`, `1.2 s`, `25 s`, `2 min 5 s`, `3 h 20 min`, `4 d 1 h`.
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    Span(duration).to_string()
}

/// A duration for people, in whole days where it has any: `12 days`, `1 day`, `3 h 20 min`, `25 s`.
#[must_use]
pub fn human_days(duration: Duration) -> String {
    match duration.as_secs() / 86_400 {
        0 => human_duration(Duration::from_secs(duration.as_secs())),
        days => counted(days, "day", "days"),
    }
}

/// What expires within this is said: certificates and accounts.
pub const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// `expires in 13 days`, `expired 2 h 5 min ago`; `None`: not soon.
#[must_use]
pub fn expires_soon(at: SystemTime, now: SystemTime) -> Option<String> {
    match at.duration_since(now) {
        Ok(left) if left > EXPIRES_SOON => None,
        Ok(left) => Some(format!("expires in {}", human_days(left))),
        Err(over) => Some(format!("expired {} ago", human_days(over.duration()))),
    }
}

struct Bytes(u64);

struct Span(Duration);

fn write_access(out: &mut impl Write, record: &AccessRecord) -> fmt::Result {
    if record.is_ping() {
        let (method, status) = (record.method, record.status);
        return write!(out, "ping {method} {status} in {}", Span(record.duration));
    }
    out.write_str(record.kind)?;
    out.write_str(" ")?;
    image(out, record)?;
    write!(out, "{} ", record.status)?;
    outcome(out, record)?;
    write!(out, " in {}", Span(record.duration))?;
    if record.bytes > 0 {
        write!(out, ", {}", Bytes(record.bytes))?;
    }
    if !record.error.is_empty() {
        out.write_str(": ")?;
        out.write_str(&printable(&record.error))?;
    }
    Ok(())
}

/// `docker.io/library/nginx@sha256:ab12…` and a space, as far as it is known.
fn image(f: &mut impl Write, record: &AccessRecord) -> fmt::Result {
    if let Some(registry) = &record.registry {
        f.write_str(registry.as_str())?;
        if !record.repository.is_empty() {
            f.write_str("/")?;
        }
    }
    f.write_str(&printable(&record.repository))?;
    if let Some((algorithm, hex)) = record.reference.split_once(':') {
        let shown = hex.get(..DIGEST_SHOWN).unwrap_or(hex);
        let rest = if shown.len() < hex.len() { "…" } else { "" };
        let (algorithm, shown) = (printable(algorithm), printable(shown));
        write!(f, "@{algorithm}:{shown}{rest}")?;
    } else if !record.reference.is_empty() {
        f.write_str(":")?;
        f.write_str(&printable(&record.reference))?;
    }
    let anything =
        record.registry.is_some() || !record.repository.is_empty() || !record.reference.is_empty();
    f.write_str(if anything { " " } else { "" })
}

fn outcome(f: &mut impl Write, record: &AccessRecord) -> fmt::Result {
    let attempts = || counted(record.attempts.into(), "attempt", "attempts");
    match record.outcome {
        RequestOutcome::Served => f.write_str("served")?,
        RequestOutcome::Direct => f.write_str("served directly")?,
        RequestOutcome::Failover => write!(f, "after failover ({}) served", attempts())?,
        RequestOutcome::Resumed => {
            let times = counted(record.resumes.into(), "time", "times");
            write!(f, "resumed {times}, served")?;
        }
        RequestOutcome::Stale => return f.write_str("stale, served from disk"),
        RequestOutcome::NotFound => f.write_str("not found")?,
        RequestOutcome::ClientClosed => f.write_str("client closed early, served")?,
        RequestOutcome::Refused => return f.write_str("refused"),
        RequestOutcome::Failed => return write!(f, "failed after {}", attempts()),
    }
    if !record.tier.is_empty() {
        f.write_str(" by ")?;
        f.write_str(&printable(&record.tier))?;
        let has_none = record.endpoint.is_empty();
        f.write_str(if has_none { "" } else { "/" })?;
        f.write_str(&printable(&record.endpoint))?;
    }
    f.write_str(if is_from_memory(record) {
        " from memory"
    } else {
        ""
    })
}

/// Nobody was asked for this answer; `TIER` and `ENDPOINT` name who once gave what was kept.
fn is_from_memory(record: &AccessRecord) -> bool {
    let is_served = matches!(
        record.outcome,
        RequestOutcome::Served | RequestOutcome::Direct
    );
    is_served && record.attempts == 0
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let bytes = self.0;
        for (shift, unit) in UNITS {
            let whole = bytes >> shift;
            if whole > 0 {
                let tenths = ((bytes - (whole << shift)) * 10) >> shift;
                return write!(f, "{whole}.{tenths} {unit}");
            }
        }
        write!(f, "{bytes} B")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.subsec_millis();
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{millis} ms"),
            1..10 => write!(f, "{seconds}.{} s", millis / 100),
            10..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds % 3600 / 60),
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }
}

#[cfg(test)]
mod tests;
