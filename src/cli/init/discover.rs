//! `init --discover URL`: asks a Harbor once for its proxy-cache projects and writes them down.

use super::{Failed, HEAD, IN_FILE, NODE, quoted};
use crate::cli::FAILED;
use crate::cli::explain::lookup::Lookups;
use crate::config::Config;
use crate::printable::chain;
use crate::projects::{Certainty, TierProjects, ask_once};
use crate::topology::EndpointId;
use std::fmt::Write as _;

/// The name of the one tier.
const TIER: &str = "harbor";

/// The configuration with what was found.
pub(super) fn text(args: &super::InitArgs, url: &str) -> Result<String, Failed> {
    let asking = tier(args, url)? + "[tier.discovery]\nenabled = true\n";
    let config = Config::from_toml(&asking).map_err(|problems| Failed::from_problems(&problems))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::new(FAILED, format!("starting the runtime: {error}")))?;
    let found = runtime.block_on(ask(&config));
    runtime.shutdown_background();
    let found = found.map_err(|why| Failed::new(FAILED, why))?;
    if found.projects.is_empty() {
        return Err(nothing(url, &found));
    }
    let text = with(&tier(args, url)?, url, &found);
    // What Harbor calls its projects is not ours.
    Config::from_toml(&text).map_err(|problems| Failed::from_problems(&problems))?;
    Ok(text)
}

async fn ask(config: &Config) -> Result<TierProjects, String> {
    let lookups = Lookups::start(config);
    let Some(source) = lookups.sources.tiers.first() else {
        return Err("the configuration has no tier".to_owned());
    };
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
    let (client, exchanger) = lookups.requests(config);
    let asked = ask_once(config, client, exchanger, source, &endpoints).await;
    asked.map_err(|error| format!("asking {} for its projects: {}", source.url, chain(&error)))
}

/// The tier without its projects.
fn tier(args: &super::InitArgs, url: &str) -> Result<String, Failed> {
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
        let path = std::path::absolute(file);
        let path = path.map_err(|error| Failed::new(FAILED, error.to_string()))?;
        line(key, &path.display().to_string());
    }
    if let Some(username) = &args.username {
        line("username", username);
    }
    Ok(text)
}

fn with(tier: &str, url: &str, found: &TierProjects) -> String {
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
