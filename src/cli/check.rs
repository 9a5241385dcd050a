//! `harbor-pilot check`: the configuration in force with where each value came from, or everything that is
//! wrong with it, at once.

use super::json::pretty;
use super::{Invocation, USAGE};
use crate::config::{Loaded, Problem, is_home};
use crate::node::desired::agent_url;
use crate::node::detect::Machine;
use crate::node::privileged::Unprivileged;
use crate::projects::last_found;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;

/// Runs the command; the exit status is 0, or 64 for a configuration that may not be used. The report goes to
/// `stdout`; for people, problems and warnings go to `stderr`.
///
/// # Errors
/// Where the report cannot be written.
pub fn run(
    args: &Invocation,
    all: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let mut loaded = args.loader.load();
    if let Ok(loaded) = &mut loaded {
        let doubt = unprivileged_port(loaded, &args.machine);
        let hidden = hidden_from_the_unit(loaded);
        loaded.warnings.extend(doubt);
        loaded.warnings.extend(hidden);
    }
    if args.json {
        stdout.write_all(pretty(&as_json(&loaded)).as_bytes())?;
    } else {
        for_people(&loaded, args, all, stdout, stderr)?;
    }
    Ok(if loaded.is_ok() { 0 } else { USAGE })
}

/// The agent's port, where this machine keeps it from nobody.
fn unprivileged_port(loaded: &Loaded, machine: &Machine) -> Option<Problem> {
    let agent = agent_url(&loaded.config.server)?;
    let port = Unprivileged::check(machine, &loaded.config, &agent)?;
    let key = "server.listen";
    let tables = loaded.provenance.tables.iter();
    let mut settings = tables.flat_map(|table| table.settings.iter().map(move |one| (table, one)));
    let origin = settings
        .find(|(table, one)| table.path_of(one) == key)
        .and_then(|(_, one)| one.origin.clone());
    Some(Problem {
        file: origin.as_ref().map(|origin| origin.file().to_owned()),
        line: origin.as_ref().map(|origin| origin.line()),
        key: key.to_owned(),
        what: port.to_string(),
        instead: port.instead(),
    })
}

/// Files that this shell can read and the unit cannot.
fn hidden_from_the_unit(loaded: &Loaded) -> Vec<Problem> {
    let tables = loaded.provenance.tables.iter();
    let settings = tables.flat_map(|table| table.settings.iter().map(move |one| (table, one)));
    let hidden = settings.filter_map(|(table, setting)| {
        let path = setting.value.as_str().map(Path::new)?;
        let is_file = setting.key.ends_with("_file") && is_home(path);
        is_file.then(|| Problem {
            file: setting.origin.as_ref().map(|origin| origin.file().to_owned()),
            line: setting.origin.as_ref().map(|origin| origin.line()),
            key: table.path_of(setting),
            what: format!("the unit cannot read {}: it sees nothing of /root, /home and /run/user (ProtectHome=)", path.display()),
            instead: "put the file into /etc/harbor-pilot".to_owned(),
        })
    });
    hidden.collect()
}

fn for_people(
    loaded: &Result<Loaded, Vec<Problem>>,
    args: &Invocation,
    all: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<()> {
    match loaded {
        Ok(loaded) => {
            let shown = match all {
                true => loaded.provenance.clone(),
                false => loaded.provenance.written(),
            };
            write!(stdout, "{shown}")?;
            for warning in &loaded.warnings {
                writeln!(stderr, "warning: {warning}")?;
            }
            projects_found(loaded, stdout)?;
            let file = args.loader.config_file.display();
            writeln!(stdout, "# {file}: valid")?;
        }
        Err(problems) => {
            for problem in problems {
                writeln!(stderr, "error: {problem}")?;
            }
            let word = if problems.len() == 1 {
                "error"
            } else {
                "errors"
            };
            writeln!(
                stderr,
                "{} {word}: this configuration may not be used",
                problems.len()
            )?;
        }
    }
    Ok(())
}

/// What `[tier.discovery]` found when it was last asked, as comments: it is no setting.
fn projects_found(loaded: &Loaded, stdout: &mut dyn Write) -> io::Result<()> {
    for (tier, found) in last_found(&loaded.config) {
        for (registry, project) in &found.projects {
            let (path, how) = (&project.path, project.certainty.word());
            writeln!(
                stdout,
                "# tier {tier}: {registry} is at project {path} (found by [tier.discovery], {how})"
            )?;
        }
        for warning in &found.warnings {
            writeln!(stdout, "# tier {tier}: {warning}")?;
        }
    }
    Ok(())
}

/// The shape that docs/configuration.md describes.
fn as_json(loaded: &Result<Loaded, Vec<Problem>>) -> Value {
    let all = |problems: &[Problem]| -> Vec<Value> { problems.iter().map(problem).collect() };
    match loaded {
        Ok(loaded) => json!({
            "valid": true,
            "problems": [],
            "warnings": all(&loaded.warnings),
            "settings": settings(loaded),
        }),
        Err(problems) => json!({
            "valid": false,
            "problems": all(problems),
            "warnings": [],
            "settings": [],
        }),
    }
}

fn problem(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "key": problem.key,
        "what": problem.what,
        "instead": problem.instead,
    })
}

fn settings(loaded: &Loaded) -> Vec<Value> {
    let tables = loaded.provenance.tables.iter();
    let settings = tables.flat_map(|table| table.settings.iter().map(move |one| (table, one)));
    let settings = settings.map(|(table, setting)| {
        json!({
            "key": table.path_of(setting),
            "value": setting.value,
            "file": setting.origin.as_ref().map(|origin| origin.file()),
            "line": setting.origin.as_ref().map(|origin| origin.line()),
        })
    });
    settings.collect()
}

#[cfg(test)]
mod tests;
