//! `harbor-pilot apply`: makes the changes that `plan` shows, and takes the node up again after a `restore`.

use super::{LOCK_WAIT, Node, not_managed, report};
use crate::cli::{FAILED, Invocation, USAGE, start};
use crate::node::files::{self, Everything};
use crate::printable::chain;
use serde_json::json;
use std::io::{self, Write};

/// Runs the command; 0: everything is as it should be, 2: something is not, 64: bad configuration. The report goes to
/// `stdout`, remarks to `stderr`.
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
        let fields = report::passed(&node, &passed, passed.changed() > 0, |_| None);
        report::print(fields, stdout)?;
    } else {
        report::written(plan, &passed.done, stdout)?;
        report::remarks(&passed, stderr)?;
    }
    let failed = report::has_failed(&passed.done) || report::is_stuck(plan);
    report::troubles(&files::Plan::default(), &passed.done, stderr)?;
    if !node.agent_alive {
        report::silent_agent(&node, stderr)?;
    }
    if !args.json && passed.changed() == 0 && !failed {
        writeln!(stdout, "nothing to change")?;
    }
    Ok(if failed { FAILED } else { 0 })
}
