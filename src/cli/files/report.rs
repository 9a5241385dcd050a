//! What a plan came to, for people and for programs.

use super::Node;
use crate::cli::json::pretty;
use crate::node::files::{Done, Left, Outcome, Passed, Plan, Released, Step};
use crate::node::ledger::Kind;
use crate::printable::chain;
use serde_json::{Value, json};
use std::io::{self, Write};

/// What a step does to its file.
fn action(step: &Step) -> &'static str {
    match (&step.old, &step.new) {
        (None, Some(_)) => "create",
        (Some(_), None) => "remove",
        _ => "change",
    }
}

/// How a step ended, and why not otherwise.
fn result(done: Option<&Done>) -> (&'static str, Option<String>) {
    match done.map(|done| &done.outcome) {
        None => ("planned", None),
        Some(Outcome::Written) => ("written", None),
        Some(Outcome::Unchanged) => ("unchanged", None),
        Some(Outcome::Superseded) => (
            "failed",
            Some("it has changed since it was looked at; run the command again".to_owned()),
        ),
        Some(Outcome::Waits) => (
            "waits",
            Some("what it depends on could not be written".to_owned()),
        ),
        Some(Outcome::Failed(error)) => ("failed", Some(chain(error))),
    }
}

/// Whether anything did not come out as planned.
pub(super) fn has_failed(done: &[Done]) -> bool {
    done.iter()
        .any(|done| !matches!(done.outcome, Outcome::Written | Outcome::Unchanged))
}

/// Whether anything cannot be done, now or later.
pub(super) fn is_stuck(plan: &Plan) -> bool {
    plan.left.iter().any(|left| !left.waits)
}

/// What a look at the node came to: `plan` and `apply`. `changed`: files were changed, or would be.
pub(super) fn passed(
    node: &Node,
    passed: &Passed,
    changed: bool,
    diff: impl Fn(&Step) -> Option<String>,
) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("changed", json!(changed)),
        ("managed", json!(node.is_managed())),
        ("released", json!(passed.released)),
        ("agent_answers", json!(node.agent_alive)),
        ("files", files(&passed.plan, &passed.done, diff)),
        ("left", left(&passed.plan)),
    ];
    fields.extend(found(passed));
    fields
}

/// What was taken out of the node's files: `restore` and `handover`.
pub(super) fn released(released: &Released) -> Vec<(&'static str, Value)> {
    let mut done = released.done.iter();
    let changed = done.any(|done| matches!(done.outcome, Outcome::Written));
    vec![
        ("changed", json!(changed)),
        ("files", files(&released.plan, &released.done, |_| None)),
        ("left", left(&released.plan)),
    ]
}

/// What of it was not done, and whether anything failed. `without_ledger`: what was done all the same; `marked`: what a file does
/// that is left.
pub(super) fn unfinished(
    released: &Released,
    without_ledger: &str,
    marked: &str,
    to: &mut dyn Write,
) -> io::Result<bool> {
    troubles(&released.plan, &released.done, to)?;
    if let Some(error) = &released.without_ledger {
        writeln!(to, "error: {}; {without_ledger}", chain(error))?;
    }
    for path in &released.marked {
        writeln!(to, "error: {} {marked}", path.display())?;
    }
    let is_whole = released.without_ledger.is_none() && released.marked.is_empty();
    Ok(!is_whole || has_failed(&released.done))
}

/// Why the agent is in no file, where it does not answer.
pub(super) fn silent_agent(node: &Node, to: &mut dyn Write) -> io::Result<()> {
    let at = node.agent.as_deref().unwrap_or("no address");
    writeln!(
        to,
        "note: the agent does not answer at {at}: until it does it is left out of the files"
    )
}

fn files(plan: &Plan, done: &[Done], diff: impl Fn(&Step) -> Option<String>) -> Value {
    let steps = plan.steps.iter().enumerate();
    let shown = steps.map(|(at, step)| {
        let (result, why) = result(done.get(at));
        let kind = match step.kind {
            Kind::Ca => "ca",
            Kind::Hosts => "hosts",
            Kind::Registries => "registries",
        };
        json!({
            "path": step.path,
            "kind": kind,
            "action": action(step),
            "result": result,
            "why": why,
            "reasons": step.reasons,
            "diff": diff(step),
        })
    });
    shown.collect()
}

fn left(plan: &Plan) -> Value {
    let one = |left: &Left| json!({ "path": left.path, "why": left.why, "waits": left.waits });
    plan.left.iter().map(one).collect()
}

fn found(passed: &Passed) -> Vec<(&'static str, Value)> {
    let detected = &passed.detected;
    let notes = passed.plan.notes.iter();
    let notes: Vec<Value> = notes
        .map(|(path, note)| json!({ "path": path, "note": note }))
        .collect();
    vec![
        (
            "runtime",
            json!(detected.runtime.to_string().replace(' ', "_")),
        ),
        ("running", json!(detected.running)),
        ("certs_d", json!(detected.certs_d)),
        ("registries_yaml", json!(detected.registries_yaml)),
        ("containerd_version", json!(detected.containerd_version)),
        ("restart_pending", json!(detected.restart_pending)),
        ("findings", json!(detected.findings)),
        ("notes", json!(notes)),
        (
            "unprivileged_port",
            json!(passed.unprivileged.map(|port| port.to_string())),
        ),
    ]
}

/// What a person should know besides the changes.
pub(super) fn remarks(passed: &Passed, to: &mut dyn Write) -> io::Result<()> {
    let Passed { detected, plan, .. } = passed;
    if let Some(port) = &passed.unprivileged {
        writeln!(to, "warning: {port}; {}", port.instead())?;
    }
    for finding in &detected.findings {
        let word = if finding.degraded { "warning" } else { "note" };
        writeln!(to, "{word}: {}; {}", finding.what, finding.instead)?;
    }
    if let Some(pending) = &detected.restart_pending {
        writeln!(to, "note: restart pending: {pending}")?;
    }
    for (path, note) in &plan.notes {
        writeln!(to, "note: {}: {note}", path.display())?;
    }
    troubles(plan, &[], to)
}

/// What was not done.
pub(super) fn troubles(plan: &Plan, done: &[Done], to: &mut dyn Write) -> io::Result<()> {
    for left in &plan.left {
        let word = if left.waits { "note" } else { "error" };
        writeln!(
            to,
            "{word}: {} is left as it is: {}",
            left.path.display(),
            left.why
        )?;
    }
    for one in done {
        if let (_, Some(why)) = result(Some(one)) {
            writeln!(to, "error: {} is left as it is: {why}", one.path.display())?;
        }
    }
    Ok(())
}

/// One line for each file that was changed.
pub(super) fn written(plan: &Plan, done: &[Done], to: &mut dyn Write) -> io::Result<()> {
    for (step, one) in plan.steps.iter().zip(done) {
        if matches!(one.outcome, Outcome::Written) {
            writeln!(to, "{}d {}", action(step), step.path.display())?;
        }
    }
    Ok(())
}

pub(super) fn print(fields: Vec<(&'static str, Value)>, to: &mut dyn Write) -> io::Result<()> {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let object = Value::Object(fields.collect());
    to.write_all(pretty(&object).as_bytes())
}
