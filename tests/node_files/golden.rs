//! The expected files, and taking out.

use super::corpus::{Case, Kind};
use harbor_pilot::node::{hosts_toml, registries_yaml};
use std::fs;

impl Case {
    /// Our part taken out of a text.
    pub(crate) fn remove(&self, text: &str) -> Result<String, String> {
        match self.kind {
            Kind::HostsToml => hosts_toml::remove(text).map_err(|error| error.to_string()),
            Kind::RegistriesYaml => {
                registries_yaml::remove(text).map_err(|error| error.to_string())
            }
        }
    }

    /// What is different from the expected files.
    pub(crate) fn compare(&self) -> Vec<String> {
        let (text, said) = match self.explained(&self.text) {
            Ok((text, notes)) => (
                Some(text),
                (!notes.is_empty()).then(|| notes.join("\n") + "\n"),
            ),
            Err(error) => (None, Some(error + "\n")),
        };
        let said_in = if text.is_some() { "notes" } else { "refused" };
        let not_in = if text.is_some() { "refused" } else { "notes" };
        let expected = format!("expected.{}", self.kind.extension());
        let mut wrong = Vec::new();
        wrong.extend(self.compare_file(&expected, text));
        wrong.extend(self.compare_file(said_in, said));
        wrong.extend(self.compare_file(not_in, None));
        wrong
    }

    fn compare_file(&self, suffix: &str, is: Option<String>) -> Option<String> {
        let path = self
            .kind
            .directory()
            .join(format!("{}.{suffix}", self.name));
        let expected = fs::read_to_string(&path).ok();
        if expected == is {
            return None;
        }
        if std::env::var_os("HARBOR_PILOT_GOLDEN").is_some_and(|value| value == "write") {
            match &is {
                Some(text) => fs::write(&path, text).expect("the corpus is writable"),
                None => fs::remove_file(&path).expect("the corpus is writable"),
            }
            return None;
        }
        let is = is.unwrap_or_else(|| "(nothing)".to_owned());
        Some(format!("=== {} is not\n{is}", path.display()))
    }
}
