//! `harbor-pilot check`: the configuration in force with where each value came from, or everything that is
//! wrong with it, at once.

use super::json::pretty;
use super::{Invocation, USAGE};
use crate::config::{Loaded, Origin, Problem, Wrong, is_home};
use crate::node::desired::agent_url;
use crate::node::detect::Machine;
use crate::node::privileged::Unprivileged;
use crate::printable::counted;
use crate::projects::last_found;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;

/// Runs the command; the exit status is 0, or 64 for a configuration that may not be used. The report goes to
/// `stdout`; for people, problems and warnings go to `stderr`.
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
    let mut settings = loaded.provenance.settings();
    let listen = settings.find(|(path, _)| path == key);
    let origin = listen.and_then(|(_, listen)| listen.origin.as_ref());
    let wrong = Wrong::new(port.to_string(), port.instead());
    Some(Problem::new(origin, key, wrong))
}

/// Files that this shell can read and the unit cannot.
fn hidden_from_the_unit(loaded: &Loaded) -> Vec<Problem> {
    let hidden = loaded.provenance.settings().filter_map(|(path, setting)| {
        let file = setting.value.as_str().map(Path::new)?;
        let is_hidden = setting.key.ends_with("_file") && is_home(file);
        is_hidden.then(|| {
            let what = format!(
                "the unit cannot read {}: it sees nothing of /root, /home and /run/user (ProtectHome=)",
                file.display()
            );
            let wrong = Wrong::new(what, "put the file into /etc/harbor-pilot");
            Problem::new(setting.origin.as_ref(), path, wrong)
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
            let errors = counted(problems.len() as u64, "error", "errors");
            writeln!(stderr, "{errors}: this configuration may not be used")?;
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
    let none = Vec::new();
    let (problems, warnings) = match loaded {
        Ok(loaded) => (&none, &loaded.warnings),
        Err(problems) => (problems, &none),
    };
    let settings = loaded.iter().flat_map(|it| it.provenance.settings());
    let settings = settings.map(|(path, setting)| {
        json!({
            "key": path,
            "value": setting.value,
            "file": setting.origin.as_ref().map(Origin::file),
            "line": setting.origin.as_ref().map(Origin::line),
        })
    });
    json!({
        "valid": loaded.is_ok(),
        "problems": problems,
        "warnings": warnings,
        "settings": settings.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
