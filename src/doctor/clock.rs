//! The node's clock against the `Date` of its sources. Facts in, findings out.

use super::code::Code;
use super::report::{Check, Severity};
use super::sources::SourceFacts;
use crate::printable::counted;

/// A `Date` has whole seconds and is some of them old: less is no difference.
const TOLERATED: i64 = 30;

/// From here on certificates and tokens are in danger.
const DANGEROUS: i64 = 300;

pub(super) fn clock(sources: &[SourceFacts]) -> Check {
    judge(&offsets(sources))
}

/// By how many seconds most sources are ahead of this node; 0 where that is no difference.
pub(super) fn ahead(sources: &[SourceFacts]) -> i64 {
    let most = median(&offsets(sources)).unwrap_or_default();
    if most.abs() > TOLERATED { most } else { 0 }
}

fn offsets(sources: &[SourceFacts]) -> Vec<(String, i64)> {
    let mut offsets: Vec<(String, i64)> = Vec::new();
    for source in sources {
        for endpoint in &source.endpoints {
            let dated = endpoint.shown.as_ref().ok().and_then(|shown| shown.date);
            // Behind a proxy it is still the source's own.
            if let Some((theirs, ours)) = dated {
                offsets.push((endpoint.id.to_string(), seconds_between(theirs, ours)));
            }
        }
    }
    offsets
}

fn median(offsets: &[(String, i64)]) -> Option<i64> {
    let mut sorted: Vec<i64> = offsets.iter().map(|(_, offset)| *offset).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// Positive: they are ahead of us.
fn seconds_between(theirs: std::time::SystemTime, ours: std::time::SystemTime) -> i64 {
    let whole = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match theirs.duration_since(ours) {
        Ok(ahead) => whole(ahead),
        Err(behind) => whole(behind.duration()).saturating_neg(),
    }
}

/// The clock of most is the right one.
fn judge(offsets: &[(String, i64)]) -> Check {
    let Some(median) = median(offsets) else {
        return Check::not_applicable("clock", "no source said what time it is");
    };
    let mut check = Check::made(
        "clock",
        format!(
            "within {TOLERATED} s of {}",
            counted(offsets.len() as u64, "source", "sources")
        ),
    );
    let words = |offset: i64| {
        let direction = if offset > 0 { "behind" } else { "ahead of" };
        format!("{} s {direction}", offset.unsigned_abs())
    };
    if median.abs() > TOLERATED {
        check.said = format!("{} its sources", words(median));
        check.find(
            Severity::error_if(median.abs() >= DANGEROUS),
            Code::ClockOff,
            "this node",
            format!("the node's clock is {} that of its sources", words(median)),
            "set it and keep it: timedatectl set-ntp true (or the site's chrony or ntpd); certificates and tokens depend on it",
        );
        return check;
    }
    for (who, offset) in offsets
        .iter()
        .filter(|(_, offset)| offset.abs() > TOLERATED)
    {
        check.warn(
            Code::ClockOff,
            who,
            format!(
                "the node's clock is {} that of {who}, and agrees with the others",
                words(*offset)
            ),
            format!("set the clock of {who}: tokens that it issues may be refused"),
        );
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(offsets: &[i64]) -> Check {
        let named = offsets.iter().enumerate();
        judge(
            &named
                .map(|(n, offset)| (format!("t{n}"), *offset))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_clock_of_most_is_right() {
        /// Offsets in seconds, and who is found wrong.
        type Row = (&'static [i64], &'static [(&'static str, Severity)]);
        let table: [Row; 7] = [
            (&[0, 2, -3], &[]),
            (&[30, -30], &[]),
            (&[45, 44, 43], &[("this node", Severity::Warning)]),
            (&[3600, 3599, 3601], &[("this node", Severity::Error)]),
            (&[-3600], &[("this node", Severity::Error)]),
            (&[0, 1, 600], &[("t2", Severity::Warning)]),
            (&[0, 700, 701], &[("this node", Severity::Error)]),
        ];
        for (offsets, due) in table {
            let check = of(offsets);
            let found: Vec<_> = check
                .findings
                .iter()
                .map(|one| (one.subject.as_str(), one.severity))
                .collect();
            assert_eq!(found, due, "{offsets:?}");
            assert!(check.codes().iter().all(|code| *code == "clock-off"));
        }
        assert_eq!(of(&[]).state, super::super::report::State::NotApplicable);
    }

    #[test]
    fn the_direction_is_the_nodes() {
        let said = of(&[3600]).findings[0].what.clone();
        assert!(said.contains("3600 s behind"), "{said}");
        let said = of(&[-3600]).findings[0].what.clone();
        assert!(said.contains("3600 s ahead of"), "{said}");
    }
}
