//! The last pulls, grouped by image.

use super::escape::Escaped;
use super::query::{Query, image, served_by};
use crate::printable::counted;
use crate::telemetry::{Pull, RequestOutcome, human_bytes, human_duration};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// Hex digits of a digest that are shown.
const DIGEST_SHOWN: usize = 12;

/// Groups of the newest pull first; in each the newest first.
pub(super) fn write(out: &mut String, pulls: &[Pull], query: &Query) -> fmt::Result {
    let found: Vec<&Pull> = pulls.iter().filter(|pull| query.admits(pull)).collect();
    let count = counted(found.len() as u64, "pull", "pulls");
    match found.len() == pulls.len() {
        true => write!(out, "<p>{count}</p>")?,
        // Read out, as it answers what was asked.
        false => write!(
            out,
            "<p role=\"status\">{count} of the last {}</p>",
            pulls.len()
        )?,
    }
    let mut groups: Vec<(String, Vec<&Pull>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for pull in found {
        let name = image(pull).into_owned();
        let place = *places.entry(name.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(pull),
            None => groups.push((name, vec![pull])),
        }
    }
    for (name, group) in &groups {
        write_group(out, name, group)?;
    }
    Ok(())
}

fn write_group(out: &mut String, name: &str, group: &[&Pull]) -> fmt::Result {
    let bytes = group.iter().map(|pull| pull.bytes);
    let bytes = human_bytes(bytes.fold(0, u64::saturating_add));
    let tiers: BTreeSet<&str> = group.iter().map(|pull| served_by(pull)).collect();
    let tiers = tiers.into_iter().collect::<Vec<_>>().join(", ");
    let bad = group.iter().filter(|pull| is_bad(pull.outcome)).count();
    let (name, tiers) = (Escaped(name), Escaped(&tiers));
    let pulls = counted(group.len() as u64, "pull", "pulls");
    write!(
        out,
        "<details data-key=\"{name}\"><summary><b>{name}</b> <span class=\"dim\">{pulls}, {bytes}, by {tiers}</span>"
    )?;
    if bad > 0 {
        write!(out, " <span class=\"bad\">{bad} not served</span>")?;
    }
    write!(
        out,
        "</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Pulls of {name}\"><table><thead><tr>\
         <th scope=\"col\">at (UTC)</th><th scope=\"col\">what</th><th scope=\"col\">outcome</th><th scope=\"col\">served by</th>\
         <th scope=\"col\">attempts</th><th scope=\"col\">bytes</th><th scope=\"col\">rate</th><th scope=\"col\">first byte</th>\
         <th scope=\"col\">took</th></tr></thead><tbody>"
    )?;
    for pull in group {
        write_pull(out, pull)?;
    }
    out.push_str("</tbody></table></div></details>");
    Ok(())
}

fn write_pull(out: &mut String, pull: &Pull) -> fmt::Result {
    // `2026-11-21T01:31:08Z`
    let clock = pull.at.get(11..19).unwrap_or_default();
    let class = match pull.outcome {
        RequestOutcome::Served | RequestOutcome::Direct => "good",
        other if is_bad(other) => "bad",
        _ => "warn",
    };
    let by = match (served_by(pull), pull.endpoint.as_str()) {
        (tier, "") => tier.to_owned(),
        (tier, endpoint) => format!("{tier}/{endpoint}"),
    };
    let first = pull.time_to_first_byte.map(human_duration);
    write!(
        out,
        "<tr data-key=\"{}\"><td><time datetime=\"{}\">{clock}</time></td><td>{} {}</td><td class=\"{class}\">{} {}</td>",
        pull.number,
        Escaped(&pull.at),
        Escaped(pull.kind),
        Escaped(&shortened(&pull.reference)),
        pull.outcome.word(),
        pull.status,
    )?;
    write!(
        out,
        "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        Escaped(&by),
        pull.attempts,
        human_bytes(pull.bytes),
        rate(pull).unwrap_or_default(),
        first.unwrap_or_default(),
        human_duration(pull.duration),
    )?;
    if !pull.error.is_empty() {
        let (number, error) = (pull.number, Escaped(&pull.error));
        write!(
            out,
            "<tr data-key=\"{number}e\"><td></td><td colspan=\"8\" class=\"dim\">{error}</td></tr>"
        )?;
    }
    Ok(())
}

/// `sha256:0123456789ab…`
fn shortened(reference: &str) -> String {
    let Some((algorithm, hex)) = reference.split_once(':') else {
        return reference.to_owned();
    };
    match hex.get(..DIGEST_SHOWN) {
        Some(first) if first.len() < hex.len() => format!("{algorithm}:{first}…"),
        _ => reference.to_owned(),
    }
}

/// Of a body that took long enough to have one.
fn rate(pull: &Pull) -> Option<String> {
    let millis = u64::try_from(pull.duration.as_millis()).ok()?;
    let bytes = pull.bytes.checked_mul(1000)?.checked_div(millis)?;
    (pull.bytes > 0).then(|| format!("{}/s", human_bytes(bytes)))
}

fn is_bad(outcome: RequestOutcome) -> bool {
    matches!(outcome, RequestOutcome::Failed | RequestOutcome::Refused)
}
