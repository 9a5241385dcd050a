//! Tables of what is and is not a name, a path, a digest, a range, a manifest.

mod consistency;
mod manifests;
mod names;
mod paths;
mod ranges;

/// The digest of zero bytes.
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
