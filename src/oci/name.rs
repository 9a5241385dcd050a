//! Registry, repository and reference names (OCI distribution spec, "Pulling manifests").

use super::digest::Digest;
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest repository name that is accepted, in bytes (the reference implementation's limit).
const MAX_REPOSITORY: usize = 255;

/// A registry namespace such as `docker.io` or `myreg.example:5000`: lower case, optional port; the three
/// names of Docker Hub are one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryName(Arc<str>);

/// A repository such as `library/nginx`, by the specification's grammar.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<str>);

/// A tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that can move.
    Tag(Arc<str>),
    /// A digest, which names one content for ever.
    Digest(Digest),
}

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0} name")]
pub struct InvalidName(pub(super) &'static str);

// === impl RegistryName ===

impl RegistryName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with every `.` and `:` as `-`: `docker-io`.
    #[must_use]
    pub fn dashed(&self) -> String {
        self.0.replace(['.', ':'], "-")
    }
}

impl FromStr for RegistryName {
    type Err = InvalidName;

    /// Accepts `host` or `host:port`; Docker Hub's `index.docker.io` and `registry-1.docker.io` become
    /// `docker.io` (containerd-k3s-facts 1.3).
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        const WRONG: InvalidName = InvalidName("registry");
        let text = text.to_ascii_lowercase();
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text.as_str(), None),
        };
        if let Some(port) = port {
            // No leading zero either: one registry must not have two names.
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || port.starts_with('0') || port.parse::<u16>().is_err() {
                return Err(WRONG);
            }
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if host.len() > 253 || !host.split('.').all(label) {
            return Err(WRONG);
        }
        Ok(match text.as_str() {
            "index.docker.io" | "registry-1.docker.io" => Self("docker.io".into()),
            _ => Self(text.into()),
        })
    }
}

// === impl Repository ===

impl Repository {
    /// The name, to be kept.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of containerd-style globs names this repository: `*` stands for any run of
    /// characters, slashes included.
    #[must_use]
    pub fn matches_any(&self, globs: &[String]) -> bool {
        globs.iter().any(|glob| glob_matches(glob, &self.0))
    }
}

impl Borrow<str> for Repository {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() > MAX_REPOSITORY || !text.split('/').all(is_path_component) {
            return Err(InvalidName("repository"));
        }
        Ok(Self(text.into()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    let mut separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators.all(|run| match run {
        "" | "." | "_" | "__" => true,
        dashes => dashes.bytes().all(|byte| byte == b'-'),
    })
}

/// A match with `*` only, from the left: the first place that fits leaves the most to what follows, so that a hostile pattern or
/// name costs nothing.
fn glob_matches(glob: &str, text: &str) -> bool {
    let Some((begin, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inside = text.strip_prefix(begin);
    let Some(mut inside) = inside.and_then(|text| text.strip_suffix(end)) else {
        return false;
    };
    middle.split('*').all(|part| {
        let found = inside.split_once(part);
        inside = found.map_or(inside, |(_, rest)| rest);
        found.is_some()
    })
}

// === impl Reference ===

impl Reference {
    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }

    /// The digest, if it is one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(digest),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidName;

    /// A text with a colon must be a digest; else it must fit `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        const WRONG: InvalidName = InvalidName("reference");
        if text.contains(':') {
            return text.parse().map(Self::Digest).map_err(|_| WRONG);
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = text.bytes().next().is_some_and(word);
        let rest = text
            .bytes()
            .skip(1)
            .all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if !first || !rest || text.len() > 128 {
            return Err(WRONG);
        }
        Ok(Self::Tag(text.into()))
    }
}

macro_rules! shown_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}
shown_as_text!(RegistryName, Repository, Reference);

impl fmt::Debug for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
