//! The last pulls, and how long first bytes took: what the page shows of finished records. Written by the log's writer
//! thread, read by the page; its memory is bounded whatever clients ask for.

use super::record::{AccessRecord, RequestOutcome};
use super::text::Text;
use super::timeline::Timelines;
use crate::oci::RegistryName;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many pulls are kept, whatever became of them.
const PULLS: usize = 200;

/// Refused ones, which anybody can make many of, push no others out: beside 200 others so many are kept.
const REFUSED: usize = 20;

/// Of each text that a client or a source chose, so many bytes are kept.
const TEXT_BYTES: usize = 256;

/// A finished request.
#[derive(Clone, Debug, Default)]
pub struct Pull {
    /// In the order in which they finished.
    pub number: u64,
    /// When it finished, as `utc_now` writes it.
    pub at: Arc<str>,
    /// `None` where none was recognised.
    pub registry: Option<RegistryName>,
    /// Cut at 256 bytes, as all its texts.
    pub repository: String,
    /// A tag or a digest.
    pub reference: String,
    /// As the record's.
    pub kind: &'static str,
    /// As the record's.
    pub method: &'static str,
    /// As the record's.
    pub status: u16,
    /// As the record's.
    pub outcome: RequestOutcome,
    /// Who served; empty if nobody.
    pub tier: Text,
    /// The address that served.
    pub endpoint: String,
    /// As the record's.
    pub attempts: u32,
    /// As the record's.
    pub resumes: u32,
    /// As the record's.
    pub bytes: u64,
    /// As the record's.
    pub time_to_first_byte: Option<Duration>,
    /// As the record's.
    pub duration: Duration,
    /// Empty if all was well.
    pub error: String,
}

/// How long first bytes took within a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstBytes([u32; STEPS]);

/// Steps of a fourth of an octave, from a quarter of a millisecond to more than a minute.
const STEPS: usize = 72;
const SHORTEST: Duration = Duration::from_micros(250);

/// Shared by the journal and its writer.
#[derive(Debug)]
pub(super) struct History {
    began: Instant,
    /// Locked for a batch of records, and for a look.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    pulls: VecDeque<Pull>,
    refused: VecDeque<Pull>,
    first_bytes: Timelines<FirstBytes>,
}

// === impl Pull ===

impl Pull {
    /// Takes a record over, into the texts that are there.
    fn fill(&mut self, record: &AccessRecord, number: u64, at: &Arc<str>) {
        self.number = number;
        self.at = at.clone();
        self.registry.clone_from(&record.registry);
        cut(&mut self.repository, &record.repository);
        cut(&mut self.reference, &record.reference);
        (self.kind, self.method) = (record.kind, record.method);
        (self.status, self.outcome) = (record.status, record.outcome);
        self.tier = record.tier.clone();
        cut(&mut self.endpoint, &record.endpoint);
        (self.attempts, self.resumes) = (record.attempts, record.resumes);
        self.bytes = record.bytes;
        self.time_to_first_byte = record.time_to_first_byte;
        self.duration = record.duration;
        cut(&mut self.error, &record.error);
    }
}

fn cut(into: &mut String, text: &str) {
    into.clear();
    let end = text.floor_char_boundary(TEXT_BYTES);
    into.push_str(text.get(..end).unwrap_or_default());
}

// === impl FirstBytes ===

impl FirstBytes {
    fn add(&mut self, time: Duration) {
        let octaves = (time.as_secs_f64() / SHORTEST.as_secs_f64())
            .log2()
            .max(0.0);
        // In front of the last step, so that the number fits.
        let step = (1..STEPS).find(|step| octaves * 4.0 < *step as f64);
        let step = step.map_or(STEPS, |step| step).saturating_sub(1);
        if let Some(count) = self.0.get_mut(step) {
            *count = count.saturating_add(1);
        }
    }

    /// The time within which so many of a hundred came; `None`: there were none.
    pub(crate) fn percentile(&self, percent: u64) -> Option<Duration> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let due = all.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0_u64;
        let step = self.0.iter().position(|count| {
            seen = seen.saturating_add((*count).into());
            seen >= due
        })?;
        // The middle of the step.
        Some(SHORTEST.mul_f64(((step as f64 + 0.5) / 4.0).exp2()))
    }
}

impl Default for FirstBytes {
    fn default() -> Self {
        Self([0; STEPS])
    }
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            kept: Mutex::default(),
        }
    }
}

impl History {
    /// Takes over what has finished.
    pub(super) fn note<'a>(&self, records: impl Iterator<Item = &'a AccessRecord>) {
        let mut records = records.filter(|record| !record.is_ping()).peekable();
        if records.peek().is_none() {
            return;
        }
        let at: Arc<str> = super::utc_now().into();
        let since = self.began.elapsed();
        let mut kept = self.kept.lock();
        for record in records {
            kept.note(record, &at, since);
        }
    }

    /// The last pulls, the newest first.
    pub(super) fn pulls(&self) -> Vec<Pull> {
        let kept = self.kept.lock();
        let mut pulls: Vec<Pull> = kept.pulls.iter().chain(&kept.refused).cloned().collect();
        drop(kept);
        pulls.sort_unstable_by_key(|pull| Reverse(pull.number));
        pulls
    }

    /// First bytes, and how long ago it all began.
    pub(super) fn first_bytes(&self) -> (Timelines<FirstBytes>, Duration) {
        let since = self.began.elapsed();
        (self.kept.lock().first_bytes.clone(), since)
    }
}

impl Kept {
    fn note(&mut self, record: &AccessRecord, at: &Arc<str>, since: Duration) {
        let is_refused = record.outcome == RequestOutcome::Refused;
        let is_full = self.pulls.len() + self.refused.len() >= PULLS;
        let refused = self.refused.len() + usize::from(is_refused);
        // The oldest one's texts are written over.
        let oldest = match is_full && refused > REFUSED {
            true => self.refused.pop_front(),
            false if !is_refused && self.pulls.len() >= PULLS => self.pulls.pop_front(),
            false => None,
        };
        let mut pull = oldest.unwrap_or_default();
        pull.fill(record, self.next, at);
        match is_refused {
            true => self.refused.push_back(pull),
            false => self.pulls.push_back(pull),
        }
        self.next = self.next.saturating_add(1);
        let has_come = !matches!(
            record.outcome,
            RequestOutcome::Refused | RequestOutcome::Failed
        );
        if let Some(time) = record.time_to_first_byte.filter(|_| has_come) {
            self.first_bytes.change(since, |slot| slot.add(time));
        }
    }
}

#[cfg(test)]
mod tests;
