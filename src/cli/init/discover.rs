//! `init --discover URL`: asks a Harbor once for its proxy-cache projects and writes them down.

use super::{Failed, HEAD, IN_FILE, NODE, USAGE};
use crate::budget::Budget;
use crate::cli::FAILED;
use crate::cli::explain::lookup::{Lookups, only};
use crate::config::{Config, Problem};
use crate::exchange::Exchanger;
use crate::printable::chain;
use crate::projects::{Certainty, TierProjects, ask_once};
use crate::topology::{EndpointId, Sources};
use crate::upstream::Client;
use std::fmt::Write as _;
use std::sync::Arc;

/// The name of the one tier.
const TIER: &str = "harbor";

/// The configuration with what was found.
pub(super) fn text(args: &super::InitArgs, url: &str) -> Result<String, Failed> {
    let asking = tier(args, url)? + "[tier.discovery]\nenabled = true\n";
    let config = Config::from_toml(&asking).map_err(|problems| refused(&problems))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("starting the runtime: {error}")))?;
    let found = runtime.block_on(ask(&config));
    runtime.shutdown_background();
    let found = found.map_err(failed)?;
    if found.projects.is_empty() {
        return Err(nothing(url, &found));
    }
    let text = with(&tier(args, url)?, url, &found);
    // What Harbor calls its projects is not ours.
    Config::from_toml(&text).map_err(|problems| refused(&problems))?;
    Ok(text)
}

async fn ask(config: &Config) -> Result<TierProjects, String> {
    let sources = Sources::from_config(config, 1).tiers;
    let Some(source) = sources.first() else {
        return Err("the configuration has no tier".to_owned());
    };
    let all = Arc::new(only(&sources));
    let lookups = Lookups::start(all.clone(), config.dns.clone());
    let sets = lookups.addresses(std::slice::from_ref(&source.id)).await;
    let set = sets.get(&source.id);
    let addresses = set.map(|set| set.addresses.clone()).unwrap_or_default();
    if let (true, Some(error)) = (addresses.is_empty(), set.and_then(|set| set.error.as_ref())) {
        return Err(format!("looking up {}: {error}", source.dialled().host));
    }
    let endpoints: Vec<EndpointId> = addresses
        .into_iter()
        .map(|address| EndpointId {
            source: source.id.clone(),
            address,
        })
        .collect();
    let client = Client::new(config.timeouts);
    client.update(&all);
    let exchanger = Exchanger::new(
        client.clone(),
        Arc::new(lookups.discovery.clone()),
        Arc::default(),
        &Budget::unlimited(),
    );
    let asked = ask_once(config, client, exchanger, source, &endpoints).await;
    asked.map_err(|error| format!("asking {} for its projects: {}", source.url, chain(&error)))
}

/// The tier without its projects.
fn tier(args: &super::InitArgs, url: &str) -> Result<String, Failed> {
    let quoted = |value: &str| toml::Value::from(value).to_string();
    let mut text = format!("[[tier]]\nname = \"{TIER}\"\nkind = \"harbor\"\n");
    let mut line = |key: &str, value: &str| {
        // A String takes everything.
        let _ = writeln!(text, "{key} = {}", quoted(value));
    };
    line("url", url);
    for (key, file) in [
        ("ca_file", &args.ca),
        ("password_file", &args.password_file),
    ] {
        let Some(file) = file else { continue };
        let path = std::path::absolute(file).map_err(|error| failed(error.to_string()))?;
        line(key, &path.display().to_string());
    }
    if let Some(username) = &args.username {
        line("username", username);
    }
    Ok(text)
}

fn with(tier: &str, url: &str, found: &TierProjects) -> String {
    let quoted = |value: &str| toml::Value::from(value).to_string();
    let mut text = format!(
        "{HEAD}# Projects as {url} listed them; [tier.discovery] instead of them follows what changes.\n\n{tier}"
    );
    if !tier.contains("\nusername = ") {
        text.push_str(IN_FILE);
    }
    text.push_str("[tier.projects]\n");
    for (registry, project) in &found.projects {
        let (registry, path) = (quoted(registry.as_str()), quoted(&project.path));
        let mark = match project.certainty {
            Certainty::Known => "",
            Certainty::Guessed => "   # guessed by its name: see that it is so",
        };
        let _ = writeln!(text, "{registry} = {path}{mark}");
    }
    for (project, why) in &found.unused {
        let _ = writeln!(
            text,
            "# not used: {}: {}",
            quoted(project),
            why.replace('\n', " ")
        );
    }
    for warning in &found.warnings {
        let _ = writeln!(text, "# {}", warning.replace('\n', " "));
    }
    text.push('\n');
    text.push_str(NODE);
    text
}

fn nothing(url: &str, found: &TierProjects) -> Failed {
    let mut lines = vec![format!(
        "{url} lists no proxy-cache project of a configured registry; private projects are listed for an account alone: --username NAME --password-file FILE"
    )];
    let unused = found.unused.iter();
    lines.extend(unused.map(|(project, why)| format!("project {project}: {why}")));
    Failed {
        lines,
        code: FAILED,
    }
}

fn refused(problems: &[Problem]) -> Failed {
    let lines = problems.iter().map(|problem| {
        // The lines are those of a text that nobody has seen.
        format!("{}: {}; {}", problem.key, problem.what, problem.instead)
    });
    Failed {
        lines: lines.collect(),
        code: USAGE,
    }
}

fn failed(line: String) -> Failed {
    Failed {
        lines: vec![line],
        code: FAILED,
    }
}
