//! Which kinds of manifest a client takes. A registry may answer each choice with something else, or with "not found", so what
//! it says to one choice holds for that choice.

use super::manifest::KNOWN;
use std::borrow::Cow;

/// The Accept header for manifests: everything that containerd and Harbor know (harbor-facts 3.2: a request
/// without it is answered 400 by Harbor's local path).
pub const ACCEPT_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

/// Who takes the first four of the known kinds takes what registries have today.
const CURRENT: u8 = 0b1111;

/// Kinds of manifest that a client takes, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ManifestKinds(u8);

// === impl ManifestKinds ===

impl ManifestKinds {
    /// Every media type of a manifest.
    pub const ALL: Self = Self(u8::MAX);

    /// What an Accept header says. One that names no manifest says nothing of them, and the four current kinds are all that
    /// matter.
    #[must_use]
    pub fn from_accept(accept: &str) -> Self {
        let mut kinds = 0;
        for entry in accept.split(',') {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let name = name.trim();
            if is_refused(parameters) {
                continue;
            }
            if matches!(name, "*/*" | "application/*") {
                return Self::ALL;
            }
            kinds |= bit(name).unwrap_or_default();
        }
        if kinds == 0 || kinds & CURRENT == CURRENT {
            return Self::ALL;
        }
        Self(kinds)
    }

    /// Whether the client takes whatever there is, so that "not found" means just that.
    #[must_use]
    pub fn are_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether the client takes this media type.
    #[must_use]
    pub fn contain(self, media_type: &str) -> bool {
        self.are_all() || bit(media_type).is_some_and(|bit| self.0 & bit != 0)
    }

    /// The Accept header that says so.
    #[must_use]
    pub fn accept(self) -> Cow<'static, str> {
        if self.are_all() {
            return ACCEPT_MANIFESTS.into();
        }
        let names = KNOWN.iter().map(|(name, _)| *name);
        let taken: Vec<&str> = names.filter(|name| self.contain(name)).collect();
        taken.join(", ").into()
    }

    /// As two hexadecimal digits, for names of files.
    #[must_use]
    pub fn code(self) -> String {
        format!("{:02x}", self.0)
    }
}

fn bit(media_type: &str) -> Option<u8> {
    let mut known = KNOWN.iter();
    let at = known.position(|(name, _)| name.eq_ignore_ascii_case(media_type))?;
    1_u8.checked_shl(u32::try_from(at).ok()?)
}

/// `q=0`, which takes an entry back (RFC 9110, 12.4.2).
fn is_refused(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let (name, value) = (name.trim(), value.trim());
        name.eq_ignore_ascii_case("q") && value.parse::<f32>().is_ok_and(|weight| weight <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    const SCHEMA2: &str = "application/vnd.docker.distribution.manifest.v2+json";

    #[test]
    fn who_takes_everything_is_one_kind_of_client() {
        let four = [SCHEMA2, LIST, IMAGE, INDEX];
        for accept in [
            ACCEPT_MANIFESTS,
            // containerd by tag and by digest, docker, curl, and nobody.
            &format!("{}, */*", four.join(", ")),
            &format!("{INDEX}, */*"),
            &format!("application/json, {}", four.join(",")),
            &format!("{};q=0.5", four.join(";q=0.9, ")),
            "*/*",
            "application/*;q=0.1",
            "application/json",
            "",
            &four.join(" , ").to_uppercase(),
        ] {
            assert_eq!(
                ManifestKinds::from_accept(accept),
                ManifestKinds::ALL,
                "{accept}"
            );
        }
        assert_eq!(ManifestKinds::ALL.accept(), ACCEPT_MANIFESTS);
        assert!(ManifestKinds::ALL.contain("application/vnd.what.ever"));
    }

    #[test]
    fn who_takes_less_is_asked_for_as_one_who_does() {
        let table = [
            (IMAGE.to_owned(), IMAGE.to_owned()),
            (
                format!("{SCHEMA2} ,text/html, {IMAGE};q=0.2"),
                format!("{IMAGE}, {SCHEMA2}"),
            ),
            // What is taken back is not taken, however it is written.
            (format!("{INDEX};q=0, {SCHEMA2}"), SCHEMA2.to_owned()),
            (
                format!("{LIST}; Q = 0.000 , {SCHEMA2}, */*;q=0"),
                SCHEMA2.to_owned(),
            ),
        ];
        for (accept, due) in table {
            let kinds = ManifestKinds::from_accept(&accept);
            assert_eq!(kinds.accept(), due, "{accept}");
            assert_eq!(ManifestKinds::from_accept(&kinds.accept()), kinds);
            assert!(!kinds.are_all() && !kinds.contain(INDEX), "{accept}");
        }
    }
}
