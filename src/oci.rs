//! The OCI distribution specification's names, paths, ranges and errors, parsed strictly; no I/O.
//!
//! Everything that enters from the network is turned into one of these types before anything else
//! looks at it, so that no later code meets a `..`, a `%2f` or a digest that is not one.

mod accept;
mod digest;
mod error_body;
mod manifest;
mod name;
mod path;
mod percent;
mod range;
mod schema1;

pub use accept::{ACCEPT_MANIFESTS, ManifestKinds};
pub use digest::{Digest, Hasher, InvalidDigest};
pub use error_body::{ErrorCode, StatedError, error_body, stated_error};
pub use manifest::{
    Descriptor, ManifestKind, inspect_manifest, is_consistent, media_type_as_told, media_type_of,
};
pub use name::{InvalidName, Reference, RegistryName, Repository};
pub use path::{PathError, RawName, ResourceKind, ResourcePath};
pub use percent::percent_decoded;
pub use range::{ContentRange, InvalidContentRange, RangeSpec, Ranges};
pub use schema1::{manifest_digest, manifest_fits};

#[cfg(test)]
mod tests;
