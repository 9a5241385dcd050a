//! `harbor-pilot restore`: takes exactly our changes out of the node's files, from the ledger alone. Needs no valid
//! configuration and no daemon; a running one keeps its hands off afterwards, until `apply`.

use super::{FilesArgs, LOCK_WAIT, report};
use crate::cli::FAILED;
use crate::node::files;
use crate::node::ledger::Store;
use serde_json::json;
use std::io::{self, Write};

/// Runs the command; 0: nothing of ours is left, 2: something is. The report goes to `stdout`, troubles to `stderr`.
///
/// # Errors
/// Where the report cannot be written.
pub fn run(args: &FilesArgs, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let store = Store::new(&args.loader.state_directory());
    let (plan, done) = match files::release(&store, LOCK_WAIT) {
        Ok(both) => both,
        Err(error) => {
            writeln!(stderr, "error: {}", report::chain(&error))?;
            return Ok(FAILED);
        }
    };
    if args.json {
        let changed = done
            .iter()
            .any(|done| report::result(Some(done)).0 == "written");
        let fields = vec![
            ("changed", json!(changed)),
            ("files", report::files(&plan, &done, |_| None)),
            ("left", report::left(&plan)),
        ];
        report::print(fields, stdout)?;
    } else if plan.steps.is_empty() && plan.left.is_empty() {
        writeln!(stdout, "nothing of harbor-pilot is in the node's files")?;
    } else {
        report::written(&plan, &done, stdout)?;
    }
    report::troubles(&plan, &done, stderr)?;
    let failed = report::has_failed(&done) || !plan.left.is_empty();
    Ok(if failed { FAILED } else { 0 })
}
