//! The cases on disk, and the functions under test with one configuration.

use harbor_pilot::config::{Config, Existing};
use harbor_pilot::node::desired::{DesiredHost, Situation, desired};
use harbor_pilot::node::registries_yaml::{Edit, Scope};
use harbor_pilot::node::{hosts_toml, registries_yaml};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The agent's endpoint.
pub(crate) const AGENT: &str = "http://127.0.0.1:290";

const CONFIG: &str = r#"
[[tier]]
name = "replica"
url = "https://replicas.example.com"
project = "proxy-{registry_dashed}"
cascade = true

[[tier]]
name = "core"
url = "https://harbor.example.com"
project = "proxy-{registry_dashed}"
in_file = true

[[registry]]
name = "registry.example.com:5000"

[node]
manage = true
"#;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of docker.io.
    HostsToml,
    /// Of k3s or rke2.
    RegistriesYaml,
}

/// What a case is applied with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) existing: Existing,
    pub(crate) closed: bool,
    pub(crate) scope: Scope,
    pub(crate) agent_alive: bool,
    pub(crate) tiers_whole: bool,
}

/// One text.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) settings: Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            existing: Existing::Adopt,
            closed: false,
            scope: Scope::Listed,
            agent_alive: true,
            tiers_whole: false,
        }
    }
}

/// What is wanted with these settings.
pub(crate) fn hosts(settings: Settings) -> Vec<DesiredHost> {
    let mut text = CONFIG.to_owned();
    if settings.closed {
        text.push_str("[direct]\nenabled = false\n");
    }
    let config = Config::from_toml(&text).expect("the corpus has a valid configuration");
    let whole: BTreeSet<Arc<str>> = ["core".into()]
        .into_iter()
        .filter(|_| settings.tiers_whole)
        .collect();
    desired(
        &config,
        &Situation {
            agent: AGENT,
            agent_alive: settings.agent_alive,
            whole_tiers: &whole,
        },
    )
}

/// All cases, by name.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = in_directory(Kind::HostsToml);
    cases.extend(in_directory(Kind::RegistriesYaml));
    cases
}

fn in_directory(kind: Kind) -> Vec<Case> {
    let directory = kind.directory();
    let names = fs::read_dir(&directory)
        .expect("the corpus is there")
        .filter_map(|entry| {
            let name = entry.expect("the corpus is readable").file_name();
            let name = name
                .to_str()?
                .strip_suffix(kind.extension())?
                .strip_suffix('.')?;
            (!name.ends_with(".expected")).then(|| name.to_owned())
        });
    let mut names: Vec<String> = names.collect();
    names.sort();
    let case = |name: String| {
        let path = directory.join(format!("{name}.{}", kind.extension()));
        let text = fs::read_to_string(path).expect("the corpus is text");
        let settings = Settings::of(&name);
        Case {
            kind,
            name,
            text,
            settings,
        }
    };
    names.into_iter().map(case).collect()
}

// === impl Kind ===

impl Kind {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::HostsToml => "toml",
            Self::RegistriesYaml => "yaml",
        }
    }

    pub(crate) fn directory(self) -> PathBuf {
        let name = match self {
            Self::HostsToml => "hosts_toml",
            Self::RegistriesYaml => "registries_yaml",
        };
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/node_files")
            .join(name)
    }
}

// === impl Settings ===

impl Settings {
    fn of(name: &str) -> Self {
        let mut settings = Self::default();
        match name.split('_').next() {
            Some("keep") => settings.existing = Existing::Keep,
            Some("refuse") => settings.existing = Existing::Refuse,
            Some("closed") => settings.closed = true,
            Some("all") => settings.scope = Scope::All,
            _ => {}
        }
        settings
    }
}

// === impl Case ===

impl Case {
    /// The same text with other settings.
    pub(crate) fn with(&self, settings: Settings) -> Self {
        Self {
            settings,
            ..self.clone()
        }
    }

    /// Hands the text over, once the agent is in it: by the marks alone, and with its URL. Says what is not as a merge
    /// would make it that knows the configuration and that the agent has stopped.
    #[allow(
        dead_code,
        reason = "the tests with Go's parsers read the corpus alone"
    )]
    pub(crate) fn handed_over(&self) -> Result<(), String> {
        let of = |agent_alive| {
            self.with(Settings {
                agent_alive,
                ..self.settings
            })
        };
        let (Ok(alive), Ok(stopped)) = (of(true).apply(&self.text), of(false).apply(&self.text))
        else {
            return Ok(());
        };
        for (from, agent) in [
            (&alive, None),
            (&alive, Some(AGENT)),
            (&stopped, Some(AGENT)),
        ] {
            let handed = hosts_toml::hand_over(from, agent).map_err(|error| error.to_string())?;
            if handed != stopped {
                return Err(format!("{from}\nbecame\n{handed}\nand not\n{stopped}"));
            }
        }
        Ok(())
    }

    /// Our part put into a text.
    pub(crate) fn apply(&self, text: &str) -> Result<String, String> {
        self.explained(text).map(|(text, _)| text)
    }

    /// The same, with the notes.
    pub(crate) fn explained(&self, text: &str) -> Result<(String, Vec<String>), String> {
        let hosts = hosts(self.settings);
        match self.kind {
            Kind::HostsToml => {
                let merged = hosts_toml::merge(Some(text), &hosts[0], self.settings.existing);
                merged
                    .map(|merged| (merged.text, merged.notes))
                    .map_err(|error| error.to_string())
            }
            Kind::RegistriesYaml => {
                let wanted = Edit {
                    desired: &hosts,
                    existing: self.settings.existing,
                    scope: self.settings.scope,
                    default_endpoint_disabled: true,
                };
                let edited = registries_yaml::edit(text, &wanted);
                edited
                    .map(|edited| (edited.text, edited.notes))
                    .map_err(|error| error.to_string())
            }
        }
    }
}
