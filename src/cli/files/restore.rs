//! `harbor-pilot restore`: takes exactly our changes out of the node's files, by the ledger and by the marks in the files
//! of every runtime's usual places. Needs no valid configuration, no ledger and no daemon; a running one changes no file afterwards, until `apply`.

use super::{LOCK_WAIT, report};
use crate::cli::{FAILED, Invocation};
use crate::node::files::{self, Places};
use crate::node::ledger::Store;
use crate::printable::chain;
use serde_json::json;
use std::io::{self, Write};

/// Runs the command; 0: nothing of ours is left, 2: something is, or that cannot be known. The report goes to `stdout`,
/// troubles to `stderr`.
pub fn run(args: &Invocation, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let store = Store::new(&args.loader.state_directory());
    let places = Places::find(&args.machine, &args.loader.node_places());
    let released = match files::release(&store, &places, LOCK_WAIT) {
        Ok(released) => released,
        Err(error) => {
            writeln!(stderr, "error: {}", chain(&error))?;
            return Ok(FAILED);
        }
    };
    let (plan, done) = (&released.plan, &released.done);
    let looked: Vec<String> = places
        .all()
        .map(|path| path.display().to_string())
        .collect();
    if args.json {
        let mut fields = report::released(&released);
        fields.push(("looked", json!(looked)));
        report::print(fields, stdout)?;
    } else if plan.steps.is_empty() && plan.left.is_empty() && released.without_ledger.is_none() {
        writeln!(stdout, "nothing of harbor-pilot is in the node's files")?;
        for path in &looked {
            writeln!(stdout, "  looked in {path}")?;
        }
    } else {
        report::written(plan, done, stdout)?;
    }
    let found = format!(
        "our marks were taken out where they were found (in {}); a daemon that runs puts them in again once the ledger can be used",
        looked.join(", ")
    );
    let failed = report::unfinished(&released, &found, "still carries our marks", stderr)?;
    Ok(if failed || !plan.left.is_empty() {
        FAILED
    } else {
        0
    })
}
