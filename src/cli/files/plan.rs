//! `harbor-pilot plan`: the changes that `apply` would make, as a unified diff; with `--for` the drop-in of another
//! client. Writes nothing.

use super::{Node, not_managed, report};
use crate::cli::{FAILED, Invocation, USAGE, start};
use crate::config::{Config, Secret};
use crate::node::clients::{self, Client};
use crate::node::desired;
use crate::node::diff;
use crate::node::files::{self, Step};
use crate::node::ledger::Kind;
use crate::node::privileged::Unprivileged;
use crate::printable::chain;
use serde_json::json;
use std::io::{self, Write};

/// Runs the command; 0: nothing would be changed, 1: something would, 2: it cannot be said, or a file cannot be
/// changed as it should, 64: bad configuration. The diff goes to `stdout`, remarks to `stderr`.
pub(crate) fn run(
    args: &Invocation,
    client: Option<Client>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let Some(loaded) = start::load(&args.loader, stderr)? else {
        return Ok(USAGE);
    };
    if let Some(client) = client {
        return for_client(&loaded.config, client, args, stdout, stderr);
    }
    let node = Node::ask(loaded.config)?;
    let mut pass = node.pass(&args.machine);
    if !node.is_managed() {
        // A look at what would come with `manage = true`: the agent would run then.
        pass.agent_alive = true;
    }
    let passed = match files::preview(&pass) {
        Ok(passed) => passed,
        Err(error) => {
            writeln!(stderr, "error: {}", chain(&error))?;
            return Ok(FAILED);
        }
    };
    let plan = &passed.plan;
    let shown = |step: &Step| Some(diff_of(step, &node.config));
    if args.json {
        let fields = report::passed(&node, &passed, !plan.is_empty(), shown);
        report::print(fields, stdout)?;
    } else {
        for step in &plan.steps {
            stdout.write_all(diff_of(step, &node.config).as_bytes())?;
        }
        report::remarks(&passed, stderr)?;
        if !node.is_managed() {
            writeln!(
                stderr,
                "note: {}; this is what would come with it",
                not_managed(&node.config)
            )?;
        } else if !node.agent_alive {
            report::silent_agent(&node, stderr)?;
        }
        if passed.released {
            writeln!(
                stderr,
                "note: restore was run: the daemon changes no file until harbor-pilot apply is run"
            )?;
        }
    }
    Ok(match (report::is_stuck(plan), plan.is_empty()) {
        (true, _) => FAILED,
        (false, true) => 0,
        (false, false) => 1,
    })
}

fn diff_of(step: &Step, config: &Config) -> String {
    let text = |file: &Option<crate::node::write::Standing>| {
        let file = file.as_ref();
        file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned())
    };
    let path = step.path.display().to_string();
    let (old, new) = (text(&step.old), text(&step.new));
    if step.kind == Kind::Ca {
        // A page of base64 tells nobody anything.
        return format!("# {}: the CA certificate from the configuration\n", path);
    }
    let secrets: Vec<&Secret> = config.server.require_header.iter().collect();
    diff::unified(&path, old.as_deref(), new.as_deref(), &secrets)
}

fn for_client(
    config: &Config,
    client: Client,
    args: &Invocation,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let Some(agent) = desired::agent_url(&config.server) else {
        writeln!(
            stderr,
            "error: the agent listens nowhere: set listen under [server]"
        )?;
        return Ok(FAILED);
    };
    let mut drop_in = clients::drop_in(config, &agent, client);
    let port = Unprivileged::check(&args.machine, config, &agent);
    let port = port.map(|port| format!("{port}; {}", port.instead()));
    drop_in.notes.extend(port);
    if args.json {
        let fields = vec![
            ("path", json!(drop_in.path)),
            ("text", json!(drop_in.text)),
            ("notes", json!(drop_in.notes)),
        ];
        report::print(fields, stdout)?;
        return Ok(0);
    }
    stdout.write_all(drop_in.text.as_bytes())?;
    writeln!(stderr, "note: it belongs to {}", drop_in.path)?;
    for note in drop_in.notes {
        writeln!(stderr, "note: {note}")?;
    }
    Ok(0)
}
