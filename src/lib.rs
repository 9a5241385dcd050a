//! harbor-pilot: a node-local registry endpoint for containerd that finds the healthy Harbor tier and
//! falls back to the real registries.
//!
//! The modules stand on floors; a module imports only from floors below its own
//! (`tests/architecture.rs` checks this). ARCHITECTURE.md draws the data's way through them.

// Numbers of clients, sources, DNS and files that others can write are foreign: arithmetic on them is checked or saturating.
// `tests/architecture.rs` holds the list of modules that are left out.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub(crate) mod admin;
pub mod admission;
pub mod app;
pub mod auth;
pub mod bandwidth;
pub mod budget;
pub mod cache;
pub mod cli;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "it reads root's own file, and its numbers have limits"
)]
pub mod config;
pub mod discovery;
pub(crate) mod doctor;
pub mod exchange;
pub(crate) mod health;
pub(crate) mod healthd;
pub mod http1;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "it counts its own tasks and connections"
)]
pub mod lifecycle;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "it counts what telemetry records"
)]
pub mod metrics;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "it reads root's own files, by lines and columns"
)]
pub mod node;
pub mod oci;
pub(crate) mod printable;
pub mod projects;
pub mod relay;
pub(crate) mod route;
pub mod router;
pub(crate) mod server;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "it writes records, and reads nothing"
)]
pub mod telemetry;
pub mod topology;
pub mod traces;
pub mod upstream;
