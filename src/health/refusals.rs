//! Sources that let the agent in to nothing: denials in a row, whatever their addresses. Pure.

use crate::lifecycle::deadline;
use crate::topology::SourceId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// So many denials, with nothing let in between, and the source refuses everything: one project that is closed is asked for
/// less often without any other in between.
const IN_ROW: u32 = 3;

/// A refusal that nobody has seen again for this long is no longer believed: nobody would ever ask.
const HELD: Duration = Duration::from_secs(600);

/// What each source has denied since it last let somebody in.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<SourceId, Denials>);

#[derive(Debug)]
struct Denials {
    in_row: u32,
    last: Instant,
    detail: Arc<str>,
    /// Its requests read it: while it is set every success is reported.
    mark: Arc<AtomicBool>,
}

// === impl Refusals ===

impl Refusals {
    /// The mark that the source's endpoints share.
    pub(super) fn mark(&mut self, source: &SourceId, now: Instant) -> Arc<AtomicBool> {
        self.entry(source, now).mark.clone()
    }

    /// One more denial. True: it shows.
    pub(super) fn denied(&mut self, source: &SourceId, detail: &str, now: Instant) -> bool {
        let denials = self.entry(source, now);
        denials.mark.store(true, Ordering::Relaxed);
        denials.in_row = denials.in_row.saturating_add(1);
        denials.last = now;
        denials.detail = format!("it refused the last {IN_ROW} requests: {detail}").into();
        denials.in_row == IN_ROW
    }

    /// It let somebody in, or is another one now. True: it shows.
    pub(super) fn let_in(&mut self, source: &SourceId) -> bool {
        self.0.get_mut(source).is_some_and(Denials::end)
    }

    /// How a source that refuses everything says so.
    pub(super) fn reason(&self, source: &SourceId) -> Option<Arc<str>> {
        let denials = self.0.get(source)?;
        denials.refuses().then(|| denials.detail.clone())
    }

    /// Ends those that are no longer believed. True: it shows.
    pub(super) fn lapsed(&mut self, now: Instant) -> bool {
        let old = self.0.values_mut().filter(|denials| {
            denials.in_row > 0 && now.saturating_duration_since(denials.last) >= HELD
        });
        old.map(Denials::end).filter(|shows| *shows).count() > 0
    }

    /// When time alone changes it.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let refusing = self.0.values().filter(|denials| denials.refuses());
        refusing.map(|denials| deadline(denials.last, HELD)).min()
    }

    /// Keeps those sources alone.
    pub(super) fn retain(&mut self, is_known: impl Fn(&SourceId) -> bool) {
        self.0.retain(|id, _| is_known(id));
    }

    fn entry(&mut self, source: &SourceId, now: Instant) -> &mut Denials {
        self.0.entry(source.clone()).or_insert_with(|| Denials {
            in_row: 0,
            last: now,
            detail: "".into(),
            mark: Arc::default(),
        })
    }
}

// === impl Denials ===

impl Denials {
    fn refuses(&self) -> bool {
        self.in_row >= IN_ROW
    }

    fn end(&mut self) -> bool {
        self.mark.store(false, Ordering::Relaxed);
        let refused = self.refuses();
        self.in_row = 0;
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_denials_in_a_row_are_a_refusal_until_somebody_is_let_in_or_ten_minutes() {
        let (now, source) = (Instant::now(), SourceId::Tier("replica".into()));
        let mut refusals = Refusals::default();
        let mark = refusals.mark(&source, now);
        let is_marked = || mark.load(Ordering::Relaxed);
        assert!(!is_marked());
        for _ in 0..2 {
            assert!(!refusals.denied(&source, "401", now) && is_marked());
        }
        // A project that is closed, beside others.
        assert!(!refusals.let_in(&source) && !is_marked());
        let denied = [(); 4].map(|()| refusals.denied(&source, "401", now));
        assert_eq!(denied, [false, false, true, false]);
        let said = refusals.reason(&source).unwrap();
        assert_eq!(&*said, "it refused the last 3 requests: 401");
        assert_eq!(refusals.wakes(), Some(now + HELD));
        assert!(refusals.let_in(&source), "it shows");
        assert_eq!((refusals.reason(&source), refusals.wakes()), (None, None));
        for _ in 0..3 {
            refusals.denied(&source, "401", now);
        }
        assert!(!refusals.lapsed(now + HELD / 2));
        assert!(refusals.lapsed(now + HELD), "it shows");
        assert_eq!(refusals.reason(&source), None);
    }
}
