//! Charts as inline SVG. Colours are the style sheet's; every figure that matters stands beside them as text.

use super::escape::Escaped;
use crate::metrics::SourceBytes;
use crate::telemetry::{FirstBytes, Timeline, human_bytes, human_duration};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// A chart's own words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    /// `last 15 minutes`
    pub(super) span: &'a str,
    /// Where the left end is: `15 min ago`.
    pub(super) start: &'a str,
}

/// Bytes by source, stacked; `at`: now, since the timeline began.
pub(super) fn bytes(
    out: &mut String,
    words: Words<'_>,
    timeline: &Timeline<SourceBytes>,
    at: Duration,
) -> fmt::Result {
    let slots = timeline.slots(at);
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut highest = 0_u64;
    for SourceBytes(slot) in slots.iter().copied().flatten() {
        let mut sum = 0_u64;
        for (source, bytes) in slot {
            let all = sums.entry(source).or_default();
            *all = all.saturating_add(*bytes);
            sum = sum.saturating_add(*bytes);
        }
        highest = highest.max(sum);
    }
    let rate = |bytes: u64| {
        let seconds = timeline.slot().as_secs();
        let rate = bytes.checked_div(seconds).unwrap_or(bytes);
        format!("{}/s", human_bytes(rate))
    };
    let total = sums.values().copied().fold(0, u64::saturating_add);
    let title = format!("Bytes by source, {}", words.span);
    let said = match total {
        0 => "nothing was sent".to_owned(),
        _ => format!("{} in all, at most {}", human_bytes(total), rate(highest)),
    };
    begin(out, words, &title, &said)?;
    let width = width_of(&slots);
    for (place, slot) in slots.iter().enumerate() {
        let mut top = HEIGHT;
        for (number, source) in sums.keys().enumerate() {
            let of = |SourceBytes(slot): &SourceBytes| {
                let found = slot.iter().find(|(have, _)| **have == **source);
                found.map(|(_, bytes)| *bytes)
            };
            let Some(bytes) = slot.and_then(of) else {
                continue;
            };
            let height = HEIGHT * share(bytes, highest);
            top = (top - height).max(0.0);
            write!(
                out,
                "<rect class=\"s{}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                number % COLOURS,
                width * place as f64,
                width - 0.5,
            )?;
        }
    }
    end(out, words)?;
    out.push_str("<ul class=\"legend\">");
    for (number, (source, bytes)) in sums.iter().enumerate() {
        let (source, bytes) = (Escaped(source), human_bytes(*bytes));
        let colour = number % COLOURS;
        write!(
            out,
            "<li><svg class=\"key\" aria-hidden=\"true\" viewBox=\"0 0 1 1\"><rect class=\"s{colour}\" width=\"1\" height=\"1\"/></svg> {source} {bytes}</li>"
        )?;
    }
    out.push_str("</ul></figure>");
    Ok(())
}

/// p50 and p95 of the first byte.
pub(super) fn first_bytes(
    out: &mut String,
    words: Words<'_>,
    timeline: &Timeline<FirstBytes>,
    at: Duration,
) -> fmt::Result {
    let slots = timeline.slots(at);
    let series = |percent: u64| {
        let found = slots
            .iter()
            .map(|slot| slot.and_then(|slot| slot.percentile(percent)));
        found.collect::<Vec<Option<Duration>>>()
    };
    let both = [("p50", "line50", series(50)), ("p95", "line95", series(95))];
    let all = both.iter().flat_map(|(_, _, series)| series).flatten();
    let highest = all.max().copied().unwrap_or_default();
    let title = format!("First byte, {}", words.span);
    let last = |series: &[Option<Duration>]| series.iter().rev().flatten().next().copied();
    let said = both.iter().filter_map(|(name, _, series)| {
        let last = human_duration(last(series)?);
        let most = human_duration(series.iter().flatten().max().copied()?);
        Some(format!("{name} last {last}, at most {most}"))
    });
    let said = said.collect::<Vec<_>>().join("; ");
    let said = if said.is_empty() {
        "there were none".to_owned()
    } else {
        said
    };
    begin(out, words, &title, &said)?;
    let width = width_of(&slots);
    for (_, class, series) in &both {
        write!(out, "<path class=\"{class}\" d=\"")?;
        for (place, value) in series.iter().enumerate() {
            let Some(value) = value else { continue };
            let part = value.as_secs_f64() / highest.as_secs_f64().max(f64::MIN_POSITIVE);
            let y = HEIGHT - (HEIGHT - 4.0) * part;
            let x = width * place as f64;
            // A step of its own for each slot, so that one alone is seen.
            let goes_on = place.checked_sub(1).and_then(|before| series.get(before));
            let letter = if goes_on.is_some_and(Option::is_some) {
                'L'
            } else {
                'M'
            };
            write!(out, "{letter}{x:.1} {y:.1}H{:.1}", x + width)?;
        }
        out.push_str("\"/>");
    }
    end(out, words)?;
    out.push_str("<ul class=\"legend\">");
    for (name, class, _) in &both {
        write!(
            out,
            "<li><svg class=\"key\" aria-hidden=\"true\" viewBox=\"0 0 10 10\"><path class=\"{class}\" d=\"M0 5H10\"/></svg> {name}</li>"
        )?;
    }
    out.push_str("</ul></figure>");
    Ok(())
}

/// Colours of sources in the style sheet.
const COLOURS: usize = 9;

fn begin(out: &mut String, words: Words<'_>, title: &str, said: &str) -> fmt::Result {
    let id = words.id;
    write!(
        out,
        "<figure><figcaption id=\"{id}\"><b>{title}</b>: {}</figcaption>\
         <svg class=\"chart\" role=\"img\" aria-labelledby=\"{id}\" viewBox=\"0 0 {WIDTH} {:.0}\" preserveAspectRatio=\"none\">\
         <path class=\"grid\" d=\"M0 0.5H{WIDTH}M0 {:.1}H{WIDTH}M0 {HEIGHT}H{WIDTH}\"/>",
        Escaped(said),
        HEIGHT + 1.0,
        HEIGHT / 2.0,
    )
}

fn end(out: &mut String, words: Words<'_>) -> fmt::Result {
    write!(
        out,
        "</svg><p class=\"axis\" aria-hidden=\"true\"><span>{}</span><span>now</span></p>",
        words.start
    )
}

fn width_of<T>(slots: &[T]) -> f64 {
    WIDTH / (slots.len().max(1) as f64)
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / (whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Timelines;

    const WORDS: Words<'static> = Words {
        id: "c",
        span: "last 15 minutes",
        start: "15 min ago",
    };

    #[test]
    fn bars_are_stacked_and_named() {
        let mut times: Timelines<SourceBytes> = Timelines::default();
        times.change(Duration::from_secs(30), |slot| {
            slot.0 = vec![("<core>".into(), 3 << 20), ("replica".into(), 1 << 20)];
        });
        let mut out = String::new();
        bytes(&mut out, WORDS, &times.short, Duration::from_secs(31)).unwrap();
        assert!(out.contains("4.0 MiB in all, at most 273.0 KiB/s"), "{out}");
        assert!(out.contains("&lt;core&gt; 3.0 MiB") && out.contains("replica 1.0 MiB"));
        assert!(
            out.contains(
                "<rect class=\"s0\" x=\"590.0\" y=\"30.0\" width=\"9.5\" height=\"90.0\"/>"
            ),
            "{out}"
        );
        assert!(
            out.contains(
                "<rect class=\"s1\" x=\"590.0\" y=\"0.0\" width=\"9.5\" height=\"30.0\"/>"
            ),
            "{out}"
        );
        let mut out = String::new();
        bytes(&mut out, WORDS, &times.short, Duration::from_secs(3600)).unwrap();
        assert!(out.contains("nothing was sent"), "{out}");
    }
}
