//! harbor-pilot: a node-local registry endpoint for containerd that finds the healthy Harbor tier and
//! falls back to the real registries.
//!
//! The modules stand on floors; a module imports only from floors below its own
//! (`tests/architecture.rs` checks this). ARCHITECTURE.md draws the data's way through them.

pub mod admin;
pub mod app;
pub mod auth;
pub mod budget;
pub mod cache;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod doctor;
pub mod exchange;
pub mod health;
pub mod http1;
pub mod lifecycle;
pub mod metrics;
pub mod node;
pub mod oci;
pub mod relay;
pub mod route;
pub mod server;
pub mod telemetry;
pub mod topology;
pub mod upstream;
