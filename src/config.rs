//! The configuration: text from files, merged with provenance, checked as a whole, made into the
//! immutable [`Config`] that everything else is given.
//!
//! Owns reading `config.toml`, `config.d/*.toml` and the files that they name (passwords, certificates), and
//! the copy of the last accepted configuration. Reads nothing after the load, and never the environment: that
//! is passed in.
//!
//! The data's way: `document` parses each file into a tree in which every value knows its line, `merge`
//! puts them over each other and over what is built in, `interpret` reads the tables of the tree into the
//! `model`. A table (`section`) knows the keys that were asked for; everything else in it is unknown. All
//! problems are collected on the way; there is a configuration only if there is none.

mod accepted;
mod access;
mod bandwidth;
mod discovered;
mod document;
mod files;
mod interpret;
mod load;
mod merge;
mod model;
mod nearest;
mod otel;
mod problem;
mod projects;
mod provenance;
mod proxy;
mod registry;
mod router;
mod secret;
mod section;
mod server;
mod tables;
mod tier;
mod url;
mod values;

pub use accepted::{StoreError, load_accepted, store_accepted};
pub use discovered::FoundProjects;
pub use files::is_home;
pub use interpret::Loaded;
pub use load::Loader;
pub use model::*;
pub(crate) use problem::Wrong;
pub use problem::{Origin, Problem};
pub use provenance::{Provenance, Shown, ShownTable};
pub use proxy::proxy_variable;
pub use values::{parse_duration, parse_size};

#[cfg(test)]
mod tests;
