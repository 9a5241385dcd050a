//! The whole agent in one process, from its composition root, between scripted registries on loopback and a client
//! that sees how an answer ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test"
)]

mod support;

#[path = "agent/bandwidth.rs"]
mod bandwidth;
#[path = "agent/blobs.rs"]
mod blobs;
#[path = "agent/client.rs"]
mod client;
#[path = "agent/cold.rs"]
mod cold;
#[path = "agent/collector.rs"]
mod collector;
#[path = "agent/commands.rs"]
mod commands;
#[path = "agent/denials.rs"]
mod denials;
#[path = "agent/endpoint.rs"]
mod endpoint;
#[path = "agent/gateway.rs"]
mod gateway;
#[path = "agent/hostile.rs"]
mod hostile;
#[path = "agent/labels.rs"]
mod labels;
#[path = "agent/last_word.rs"]
mod last_word;
#[path = "agent/life.rs"]
mod life;
#[path = "agent/manifests.rs"]
mod manifests;
#[path = "agent/node.rs"]
mod node;
#[path = "agent/parts.rs"]
mod parts;
#[path = "agent/projects.rs"]
mod projects;
#[path = "agent/property.rs"]
mod property;
#[path = "agent/refusals.rs"]
mod refusals;
#[path = "agent/reputation.rs"]
mod reputation;
#[path = "agent/router.rs"]
mod router;
#[path = "agent/sizes.rs"]
mod sizes;
#[path = "agent/slow.rs"]
mod slow;
#[path = "agent/tags.rs"]
mod tags;
#[path = "agent/traces.rs"]
mod traces;
#[path = "agent/twice.rs"]
mod twice;
#[path = "agent/warm.rs"]
mod warm;
