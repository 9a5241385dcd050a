//! The configuration in force, value by value, with where each came from. Never a secret: passwords live in
//! files that are only named, and a proxy's userinfo is left out.

use super::merge::quoted;
use super::problem::Origin;
use std::fmt;

/// Every value in force, table by table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// In the order of the reference: `[server]`, `[[tier]]`, `[[registry]]`, …
    pub tables: Vec<ShownTable>,
}

/// One table of the configuration in force.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownTable {
    /// As it would be written: `[[tier]]`.
    pub header: String,
    /// As problems name it: `tier.replica`.
    pub path: String,
    /// Its values, in the order of the documentation.
    pub settings: Vec<Shown>,
}

/// One value, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The key without its table.
    pub key: String,
    /// The value in force.
    pub value: toml::Value,
    /// Who said so; `None` for a default.
    pub origin: Option<Origin>,
}

/// The order of the reference. Tables below one (`[tier.health]`) are recorded with it.
const ORDER: &[&str] = &[
    "server", "tier", "registry", "direct", "relay", "failover", "stale", "dns", "node",
    "timeouts", "limits", "log", "state",
];

// === impl Provenance ===

impl Provenance {
    pub(super) fn new(mut tables: Vec<ShownTable>) -> Self {
        tables.retain(|table| {
            !table.settings.is_empty() || !table.header.trim_start_matches('[').contains('.')
        });
        tables.sort_by_key(|table| {
            let name = table.header.trim_matches(['[', ']']);
            let top = name.split('.').next().unwrap_or(name);
            ORDER.iter().position(|known| *known == top)
        });
        Self { tables }
    }

    /// Every value with its path, as problems name it: `tier.replica.projects."docker.io"`.
    pub fn settings(&self) -> impl Iterator<Item = (String, &Shown)> {
        self.tables.iter().flat_map(|table| {
            let path = |shown: &Shown| format!("{}.{}", table.path, quoted(&shown.key));
            table.settings.iter().map(move |shown| (path(shown), shown))
        })
    }

    /// What files and environment say, without the defaults. Tables of a list stay, named or not.
    #[must_use]
    pub fn written(&self) -> Self {
        let tables = self.tables.iter().filter_map(|table| {
            let settings = table.settings.iter();
            let settings: Vec<Shown> = settings
                .filter(|shown| shown.origin.is_some())
                .cloned()
                .collect();
            (!settings.is_empty()).then(|| ShownTable {
                settings,
                ..table.clone()
            })
        });
        Self {
            tables: tables.collect(),
        }
    }
}

impl fmt::Display for Provenance {
    /// TOML, with `# from FILE:LINE` or `# default` behind each value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, table) in self.tables.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{}", table.header)?;
            for setting in &table.settings {
                let key = quoted(&setting.key);
                let line = format!("{key} = {}", setting.value);
                match &setting.origin {
                    Some(origin) => writeln!(f, "{line:<48} # from {origin}")?,
                    None => writeln!(f, "{line:<48} # default")?,
                }
            }
        }
        Ok(())
    }
}
