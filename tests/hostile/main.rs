//! What an unprivileged process of the node, or a hostile source, tries: the agent goes on serving, and nobody is misled.
//! `HARBOR_PILOT_HOSTILE=long` runs the long forms (`make hostile`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test, and shares its help with other tests"
)]

mod choice;
#[path = "../agent/client.rs"]
mod client;
mod interim;
mod knowledge;
mod log;
mod memory;
#[path = "../agent/node.rs"]
mod node;
mod numbers;
mod places;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod tokens;

/// Whether the long forms were asked for.
fn is_long() -> bool {
    std::env::var("HARBOR_PILOT_HOSTILE").is_ok_and(|value| value == "long")
}
