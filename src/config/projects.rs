//! Which registries a tier serves, and under which project: template, explicit names, list.

use super::document::Value;
use super::model::{ProjectDiscovery, RegistrySet, TierKind};
use super::problem::{Origin, Problem, Wrong};
use super::registry::Registries;
use super::section::{Reading, Section, Setting};
use crate::oci::{RegistryName, Repository};
use std::collections::BTreeMap;
use std::time::Duration;

/// What `project`, `registries`, `[tier.projects]` and `[tier.discovery]` come to.
pub(super) struct Served<'t> {
    pub(super) projects: BTreeMap<RegistryName, String>,
    pub(super) registries: RegistrySet,
    pub(super) discovery: Option<ProjectDiscovery>,
    /// `[tier.projects]`, to be shown behind its tier.
    pub(super) below: Section<'t>,
    /// `[tier.discovery]` as well, where it is written.
    pub(super) below_discovery: Option<Section<'t>>,
}

/// Keys of the tier that are easily written behind `[tier.projects]`, where TOML takes them for registries.
const TIER_KEYS: &[&str] = &[
    "ca_file",
    "cascade",
    "credential",
    "enabled",
    "in_file",
    "insecure_skip_verify",
    "kind",
    "name",
    "names",
    "password_file",
    "priority",
    "project",
    "proxy",
    "registries",
    "url",
    "username",
];

/// Below this a fleet's discoveries are felt: each is some reads of Harbor's database for every node.
const POLITE_INTERVAL: Duration = Duration::from_secs(60);

type Projects = BTreeMap<RegistryName, (String, Option<Origin>)>;

// === impl RegistrySet ===

impl RegistrySet {
    /// Whether the registry is one of them.
    #[must_use]
    pub fn contains(&self, registry: &RegistryName) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(registry),
        }
    }
}

pub(super) fn read_served<'t>(
    section: &mut Section<'t>,
    kind: TierKind,
    registries: &Registries,
    cx: &mut Reading<'_>,
) -> Served<'t> {
    let template = read_template(section, kind, cx);
    let listed = read_listed(section, registries, cx);
    let (interval, below_discovery) = read_discovery(section, kind, cx);
    let mut below = section.below("projects", cx);
    let explicit = read_explicit(&below, kind, registries, cx);
    if kind == TierKind::Mirror {
        let set = mirror(section, listed, cx);
        return Served {
            projects: BTreeMap::new(),
            registries: set,
            discovery: None,
            below,
            below_discovery,
        };
    }
    let has_explicit = below.entries().next().is_some();
    if interval.is_some() && section.has("project") {
        section.complain(
            cx,
            "project",
            "names a project for every registry, so that nothing is left for [tier.discovery] to find",
            "take project out and write single projects below [tier.projects], or write enabled = false below [tier.discovery]",
        );
    }
    if !section.has("project") && !has_explicit && interval.is_none() {
        section.complain(
            cx,
            "project",
            "is missing, and there is no [tier.projects]: nothing says which project holds which registry",
            "write project = \"proxy-{registry_dashed}\", name each project below [tier.projects], such as \"docker.io\" = \"docker-hub\", or let Harbor be asked: enabled = true below [tier.discovery]",
        );
    }
    let wanted = |name: &RegistryName| match &listed {
        Some(RegistrySet::Some(names)) => names.contains(name),
        Some(RegistrySet::All) | None => true,
    };
    let mut projects = Projects::new();
    for registry in &registries.kept {
        let name = &registry.name;
        let project = match (explicit.get(name), &template) {
            (Some(project), _) => Some(project.clone()),
            (None, Some((template, origin))) => Some((expand(template, name), origin.clone())),
            (None, None) => None,
        };
        match project {
            Some(project) if wanted(name) => {
                projects.insert(name.clone(), project);
            }
            Some(_) if explicit.contains_key(name) => {
                let what = format!("lists {name} as a project, which registries leaves out");
                let instead = format!("add \"{name}\" to registries, or take its project out");
                section.warn(cx, "projects", what, instead);
            }
            // With wrong projects it would only be said twice.
            None if interval.is_none()
                && listed_by_name(&listed, name)
                && !below.has(name.as_str())
                && !section.has("project") =>
            {
                let what = format!("lists {name}, which has no project here");
                let instead =
                    format!("add \"{name}\" = \"PROJECT\" below [tier.projects], or set project");
                section.complain(cx, "registries", what, instead);
            }
            _ => {}
        }
    }
    report_shared(section, kind, &projects, cx);
    for (name, (project, origin)) in &projects {
        below.show(name.as_str(), project.as_str().into(), origin.clone());
    }
    let names: Vec<RegistryName> = projects.keys().cloned().collect();
    let discovery = interval.map(|interval| ProjectDiscovery {
        interval,
        registries: listed.unwrap_or(RegistrySet::All),
    });
    let shown = match &discovery {
        Some(discovery) => show_set(&discovery.registries),
        None => names.show(),
    };
    section.show("registries", shown, section.origin_of("registries"));
    let projects = projects
        .into_iter()
        .map(|(name, (project, _))| (name, project));
    Served {
        projects: projects.collect(),
        registries: RegistrySet::Some(names),
        discovery,
        below,
        below_discovery,
    }
}

/// The interval, where the tier is asked for its projects; and the table, where it is written.
fn read_discovery<'t>(
    section: &mut Section<'t>,
    kind: TierKind,
    cx: &mut Reading<'_>,
) -> (Option<Duration>, Option<Section<'t>>) {
    let is_written = section.has("discovery");
    let mut discovery = section.below("discovery", cx);
    let enabled = discovery.or(cx, "enabled", is_written);
    let interval = discovery.or(cx, "interval", Duration::from_secs(30 * 60));
    if enabled && kind != TierKind::Harbor {
        let what = "asks Harbor for its projects, which only kind = \"harbor\" has";
        discovery.complain(
            cx,
            "enabled",
            what,
            "write the projects below [tier.projects]",
        );
    }
    if interval.is_zero() {
        let what = "is zero: Harbor would be asked without a pause";
        discovery.complain(cx, "interval", what, "write interval = \"30m\"");
    } else if enabled && interval < POLITE_INTERVAL {
        let what = "is short: every node reads Harbor's list of projects so often";
        let instead = "write interval = \"30m\"; SIGHUP asks at once";
        discovery.warn(cx, "interval", what, instead);
    }
    let interval = (enabled && kind == TierKind::Harbor).then_some(interval);
    (interval, is_written.then_some(discovery))
}

fn show_set(set: &RegistrySet) -> toml::Value {
    match set {
        RegistrySet::All => vec!["*".to_owned()].show(),
        RegistrySet::Some(names) => names.show(),
    }
}

fn expand(template: &str, name: &RegistryName) -> String {
    template
        .replace("{registry}", name.as_str())
        .replace("{registry_dashed}", &name.dashed())
}

fn listed_by_name(listed: &Option<RegistrySet>, name: &RegistryName) -> bool {
    matches!(listed, Some(RegistrySet::Some(names)) if names.contains(name))
}

fn read_template(
    section: &mut Section<'_>,
    kind: TierKind,
    cx: &mut Reading<'_>,
) -> Option<(String, Option<Origin>)> {
    let template: String = section.optional(cx, "project")?;
    if kind == TierKind::Mirror {
        let what = "has no meaning for kind = \"mirror\", which keeps paths as they are";
        section.complain(cx, "project", what, "take it out, or write kind = \"path\"");
        return None;
    }
    let example: RegistryName = "docker.io".parse().ok()?;
    let expanded = expand(&template, &example);
    if expanded.contains(['{', '}']) {
        let what = format!("{template:?} holds a placeholder that is not known");
        let instead = "known are {registry} (docker.io) and {registry_dashed} (docker-io)";
        section.complain(cx, "project", what, instead);
        return None;
    }
    check_project(&expanded, kind)
        .map_err(|wrong| section.complain(cx, "project", wrong.what, wrong.instead))
        .ok()?;
    Some((template, section.origin_of("project")))
}

fn read_listed(
    section: &mut Section<'_>,
    registries: &Registries,
    cx: &mut Reading<'_>,
) -> Option<RegistrySet> {
    let (words, _) = section.read::<Vec<String>>(cx, "registries")?;
    if words.iter().any(|word| word == "*") {
        if words.len() > 1 {
            let what = "holds \"*\" beside others";
            section.complain(
                cx,
                "registries",
                what,
                "write [\"*\"] alone: it stands for all",
            );
        }
        return Some(RegistrySet::All);
    }
    if words.is_empty() {
        let what = "is empty: the tier would serve nothing";
        let instead = "list registries, or take the tier out with enabled = false";
        section.complain(cx, "registries", what, instead);
    }
    let mut names = Vec::new();
    for word in &words {
        match RegistryName::read(&Value::Text(word.clone())) {
            Ok(name) => {
                if !known(&name, registries) {
                    let (what, instead) = not_configured(&name);
                    section.complain(cx, "registries", what, instead);
                }
                names.push(name);
            }
            Err(wrong) => section.complain(cx, "registries", wrong.what, wrong.instead),
        }
    }
    Some(RegistrySet::Some(names))
}

fn known(name: &RegistryName, registries: &Registries) -> bool {
    registries.kept.iter().any(|known| known.name == *name) || registries.removed.contains(name)
}

fn not_configured(name: &RegistryName) -> (String, String) {
    (
        format!("{name} is not a configured registry, so that nothing is ever asked for it"),
        format!("add [[registry]] with name = \"{name}\" and upstream = \"https://{name}\""),
    )
}

fn mirror(
    section: &mut Section<'_>,
    listed: Option<RegistrySet>,
    cx: &mut Reading<'_>,
) -> RegistrySet {
    if section.has("projects") {
        let what = "have no meaning for kind = \"mirror\", which keeps paths as they are";
        section.complain(
            cx,
            "projects",
            what,
            "take them out, or write kind = \"path\"",
        );
    }
    if !section.has("registries") {
        let what = "is missing, and kind = \"mirror\" has no projects that would say it";
        let instead = "list what it serves, or write registries = [\"*\"] if it honours ?ns=";
        section.complain(cx, "registries", what, instead);
    }
    let set = listed.unwrap_or(RegistrySet::All);
    section.show(
        "registries",
        show_set(&set),
        section.origin_of("registries"),
    );
    set
}

fn read_explicit(
    below: &Section<'_>,
    kind: TierKind,
    registries: &Registries,
    cx: &mut Reading<'_>,
) -> Projects {
    let mut explicit = Projects::new();
    for (key, node) in below.entries() {
        if TIER_KEYS.contains(&key) {
            let what = "is a key of the tier, but stands below [tier.projects]";
            below.complain(cx, key, what, "move the line up, above [tier.projects]");
            continue;
        }
        let name = RegistryName::read(&Value::Text(key.to_owned()));
        let project = String::read(&node.value).and_then(|project| {
            check_project(&project, kind)?;
            Ok(project)
        });
        match (name, project) {
            (Ok(name), Ok(project)) => {
                if !known(&name, registries) {
                    let (what, instead) = not_configured(&name);
                    below.complain(cx, key, what, instead);
                }
                let twice = explicit.insert(name, (project, node.origin.clone()));
                if twice.is_some() {
                    let what = "is another name of a registry that is listed already";
                    below.complain(cx, key, what, "keep one of the two");
                }
            }
            (name, project) => {
                let wrongs: [Option<Wrong>; 2] = [name.err(), project.err()];
                for wrong in wrongs.into_iter().flatten() {
                    below.complain(cx, key, wrong.what, wrong.instead);
                }
            }
        }
    }
    explicit
}

/// A project is a path below `/v2/`. Harbor's own are lower case, as repositories are.
fn check_project(project: &str, kind: TierKind) -> Result<(), Wrong> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    let is_path = project
        .split('/')
        .all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(plain));
    let fits = match kind {
        TierKind::Harbor => project.parse::<Repository>().is_ok(),
        TierKind::Path | TierKind::Mirror => is_path,
    };
    if fits {
        return Ok(());
    }
    Err(Wrong::new(
        format!("{project:?} is no project path"),
        "write lower-case names with single slashes between them, such as \"docker-hub\" or \"mirrors/docker-hub\"",
    ))
}

/// One project for two registries would answer for one with the other's images.
fn report_shared(section: &Section<'_>, kind: TierKind, projects: &Projects, cx: &mut Reading<'_>) {
    let mut seen: BTreeMap<&str, &RegistryName> = BTreeMap::new();
    for (name, (project, origin)) in projects {
        let Some(first) = seen.insert(project, name) else {
            continue;
        };
        let wrong = Wrong::new(
            format!(
                "{project:?} stands for {first} and for {name}: images of one would be taken for the other's"
            ),
            "give each registry a project of its own, or list in registries the one that this project caches",
        );
        let key = section.path_of("projects");
        let problem = Problem::new(origin.as_ref(), key, wrong);
        match kind {
            TierKind::Harbor => cx.problems.push(problem),
            // Nexus and Artifactory have group repositories that do this on purpose.
            TierKind::Path | TierKind::Mirror => cx.warnings.push(problem),
        }
    }
}
