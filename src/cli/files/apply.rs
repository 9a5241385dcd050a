//! `harbor-pilot apply`: makes the changes that `plan` shows, and takes the node up again after a `restore`.

use super::{LOCK_WAIT, Node, not_managed, report};
use crate::cli::{FAILED, Invocation, USAGE, start};
use crate::node::files::{self, Everything};
use crate::printable::chain;
use serde_json::json;
use std::io::{self, Write};

/// Runs the command; 0: everything is as it should be, 2: something is not, 64: bad configuration. The report goes to
/// `stdout`, remarks to `stderr`.
///
/// # Errors
/// Where the report cannot be written.
pub fn run(args: &Invocation, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let Some(loaded) = start::load(&args.loader, stderr)? else {
        return Ok(USAGE);
    };
    let node = Node::ask(loaded.config)?;
    if !node.is_managed() {
        writeln!(stderr, "note: {}", not_managed(&node.config))?;
        if args.json {
            let fields = vec![
                ("changed", json!(false)),
                ("managed", json!(false)),
                ("files", json!([])),
                ("left", json!([])),
            ];
            report::print(fields, stdout)?;
        }
        return Ok(0);
    }
    let pass = node.pass(&args.machine);
    let passed = match files::run(&pass, LOCK_WAIT, true, &mut Everything) {
        Ok(passed) => passed,
        Err(error) => {
            writeln!(stderr, "error: {}", chain(&error))?;
            return Ok(FAILED);
        }
    };
    let plan = &passed.plan;
    if args.json {
        let mut fields = vec![
            ("changed", json!(passed.changed() > 0)),
            ("managed", json!(true)),
            ("released", json!(false)),
            ("agent_answers", json!(node.agent_alive)),
            ("files", report::files(plan, &passed.done, |_| None)),
            ("left", report::left(plan)),
        ];
        fields.extend(report::found(&passed));
        report::print(fields, stdout)?;
    } else {
        report::written(plan, &passed.done, stdout)?;
        report::remarks(&passed, stderr)?;
    }
    let failed = report::has_failed(&passed.done) || report::is_stuck(plan);
    report::troubles(&files::Plan::default(), &passed.done, stderr)?;
    if !node.agent_alive {
        let at = node.agent.as_deref().unwrap_or("no address");
        writeln!(
            stderr,
            "note: the agent does not answer at {at}: until it does it is left out of the files"
        )?;
    }
    if !args.json && passed.changed() == 0 && !failed {
        writeln!(stdout, "nothing to change")?;
    }
    Ok(if failed { FAILED } else { 0 })
}
