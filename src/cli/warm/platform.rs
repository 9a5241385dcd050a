//! Which manifests of an index are wanted. Pure.

use crate::oci::Digest;
use serde::Deserialize;
use std::fmt;

/// `linux/arm64/v8`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Platforms {
    All,
    These(Vec<Platform>),
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

// === impl Platform ===

impl Platform {
    /// Reads `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some((*variant).to_owned())),
            _ => {
                return Err(format!(
                    "{text:?} is no platform; write linux/amd64 or linux/arm/v7"
                ));
            }
        };
        Ok(Self {
            os: (*os).to_owned(),
            architecture: (*architecture).to_owned(),
            variant,
        })
    }

    /// The machine that this runs on.
    pub(super) fn this() -> Self {
        // As Go names them, whose names the image specification takes.
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// A variant that is not named fits every one.
    fn fits(&self, entry: &Self) -> bool {
        let same_variant = self.variant.is_none() || self.variant == entry.variant;
        self.os == entry.os && self.architecture == entry.architecture && same_variant
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (os, architecture) = (&self.os, &self.architecture);
        match &self.variant {
            Some(variant) => write!(f, "{os}/{architecture}/{variant}"),
            None => write!(f, "{os}/{architecture}"),
        }
    }
}

// === impl Platforms ===

impl Platforms {
    /// The manifests of an index that are wanted. A platform that the index has not got is an error that names those which it has.
    pub(super) fn of_index(&self, body: &[u8]) -> Result<Vec<Digest>, String> {
        let index: Index = serde_json::from_slice(body)
            .map_err(|error| format!("its index cannot be read: {error}"))?;
        let digest = |entry: &Entry| {
            let digest = entry.digest.parse();
            digest.map_err(|_| format!("its index names {:?}, which is no digest", entry.digest))
        };
        let platforms = match self {
            Self::All => return index.manifests.iter().map(digest).collect(),
            Self::These(platforms) => platforms,
        };
        let mut digests = Vec::new();
        for platform in platforms {
            let fits = |entry: &&Entry| entry.platform.as_ref().is_some_and(|of| platform.fits(of));
            let mut fitting = index.manifests.iter().filter(fits).peekable();
            if fitting.peek().is_none() {
                return Err(format!("it has no {platform}; it has {}", has(&index)));
            }
            for entry in fitting {
                digests.push(digest(entry)?);
            }
        }
        Ok(digests)
    }
}

fn has(index: &Index) -> String {
    let platforms = index.manifests.iter().filter_map(|entry| {
        let of = entry.platform.as_ref()?;
        // Attestations are listed so.
        (of.os != "unknown").then(|| of.to_string())
    });
    let platforms: Vec<String> = platforms.collect();
    match platforms.is_empty() {
        true => "none".to_owned(),
        false => platforms.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> String {
        let hex = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
        format!(
            r#"{{"schemaVersion": 2, "manifests": [
            {{"digest": "{}", "size": 1, "platform": {{"os": "linux", "architecture": "amd64"}}}},
            {{"digest": "{}", "size": 1, "platform": {{"os": "linux", "architecture": "arm", "variant": "v7"}}}},
            {{"digest": "{}", "size": 1, "platform": {{"os": "linux", "architecture": "arm", "variant": "v6"}}}},
            {{"digest": "{}", "size": 1, "platform": {{"os": "unknown", "architecture": "unknown"}}}}
        ]}}"#,
            hex('a'),
            hex('b'),
            hex('c'),
            hex('d')
        )
    }

    fn picked(platforms: &[&str]) -> Result<String, String> {
        let platforms = platforms.iter().map(|text| Platform::parse(text).unwrap());
        let digests = Platforms::These(platforms.collect()).of_index(index().as_bytes())?;
        let letters = digests
            .iter()
            .map(|digest| digest.as_str().chars().last().unwrap());
        Ok(letters.collect())
    }

    #[test]
    fn platforms_are_picked_from_an_index() {
        assert_eq!(picked(&["linux/amd64"]).unwrap(), "a");
        assert_eq!(picked(&["linux/arm"]).unwrap(), "bc");
        assert_eq!(picked(&["linux/arm/v6", "linux/amd64"]).unwrap(), "ca");
        assert_eq!(
            picked(&["linux/s390x"]).unwrap_err(),
            "it has no linux/s390x; it has linux/amd64, linux/arm/v7, linux/arm/v6"
        );
        assert_eq!(
            Platforms::All.of_index(index().as_bytes()).unwrap().len(),
            4
        );
        assert!(Platforms::All.of_index(b"{").is_err());
        for bad in ["linux", "", "a/b/c/d"] {
            assert!(Platform::parse(bad).is_err());
        }
    }
}
