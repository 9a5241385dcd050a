//! The node's files: what containerd and k3s are told about the agent (design F0–F8).
//!
//! `desired` says what should stand there, `hosts_toml` and `registries_yaml` put it into a text and take it out
//! again, `diff` shows the difference, `clients` writes what other clients need. All of these are pure.

pub mod clients;
pub mod desired;
pub mod diff;
pub mod endpoint;
pub mod hosts_toml;
mod marks;
pub mod registries_yaml;
