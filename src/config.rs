//! The configuration: `raw` text from files, merged with provenance, checked as a whole, made into the
//! immutable [`Config`] that everything else is given.
//!
//! Owns reading `config.toml`, `config.d/*.toml` and the files that they name (passwords, certificates).
//! Reads nothing after the load; never writes.

mod model;

pub use model::*;
