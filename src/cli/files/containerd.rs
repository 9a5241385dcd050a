//! `harbor-pilot plan --for containerd`: containerd's own config.toml as it has to be, for a person or a program to put in its
//! place. The agent itself never edits that file.

use super::report;
use crate::cli::{FAILED, Invocation, USAGE, start};
use crate::node::detect::with_config_path;
use serde_json::json;
use std::io::{self, Write};

/// Runs the command; 0: the text is on `stdout`, whether it differs from what stands there or not; 2: there is none, and why;
/// 64: bad configuration.
pub fn run(args: &Invocation, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let Some(loaded) = start::load(&args.loader, stderr)? else {
        return Ok(USAGE);
    };
    let file = match with_config_path(&args.machine, &loaded.config.node) {
        Ok(file) => file,
        Err(why) => {
            writeln!(stderr, "error: {why}")?;
            return Ok(FAILED);
        }
    };
    let path = file.path.display();
    let note = match file.changed {
        true => format!(
            "it belongs to {path}; containerd reads it at its next start, which stops no pod"
        ),
        false => format!("{path} is as it should be"),
    };
    if args.json {
        let fields = vec![
            ("path", json!(file.path)),
            ("text", json!(file.text)),
            ("changed", json!(file.changed)),
            ("notes", json!([note])),
        ];
        report::print(fields, stdout)?;
        return Ok(0);
    }
    stdout.write_all(file.text.as_bytes())?;
    writeln!(stderr, "note: {note}")?;
    Ok(0)
}
