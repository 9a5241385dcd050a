//! The editors' functions as plans use them: texts in, texts out, refusals as sentences.

use crate::config::{Config, Existing};
use crate::node::desired::DesiredHost;
use crate::node::detect::Detected;
use crate::node::ledger::Kind;
use crate::node::registries_yaml::{Edit, Scope};
use crate::node::{hosts_toml, registries_yaml};

/// A text with our part in it, and what a reader of the plan should know.
pub(super) type Edited = (String, Vec<String>);

/// A hosts.toml with our part in it.
///
/// # Errors
/// Why it is left alone.
pub(super) fn put_into_hosts(
    base: Option<&str>,
    host: &DesiredHost,
    existing: Existing,
) -> Result<Edited, String> {
    let merged = hosts_toml::merge(base, host, existing).map_err(|refused| refused.to_string())?;
    // What was set aside stands in the file itself and comes back with `take_out`.
    Ok((merged.text, merged.notes))
}

/// A registries.yaml with our part in it; no text where it says nothing about a registry of ours.
///
/// # Errors
/// Why it is left alone.
pub(super) fn put_into_registries(
    base: Option<&str>,
    desired: &[DesiredHost],
    config: &Config,
    detected: &Detected,
) -> Result<(Option<String>, Vec<String>), String> {
    let all = detected.without_certs_d || detected.cleans_certs_d;
    if base.is_none() && !all {
        return Ok((None, Vec::new()));
    }
    let text = base.unwrap_or_default();
    let wanted = Edit {
        desired,
        existing: config.node.existing,
        scope: if all { Scope::All } else { Scope::Listed },
        default_endpoint_disabled: detected.disable_default_endpoint,
    };
    let edited = registries_yaml::edit(text, &wanted).map_err(|refused| refused.to_string())?;
    let changed = (edited.text != text).then_some(edited.text);
    Ok((changed, edited.notes))
}

/// A text without our part. `agent` is what k3s may have generated from our line in registries.yaml: without us it would
/// not have (design F9).
///
/// # Errors
/// Why that cannot be done.
pub(super) fn take_out(kind: Kind, text: &str, agent: Option<&str>) -> Result<String, String> {
    match kind {
        Kind::Ca => Ok(text.to_owned()),
        Kind::Hosts => hosts_toml::base(text, agent).map_err(|refused| refused.to_string()),
        Kind::Registries => registries_yaml::remove(text).map_err(|refused| refused.to_string()),
    }
}
