//! Mappings that agents share through Debian's real Redis and Sentinel (`[router.redis]`): shared, lost and found again, and never
//! waited for.

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
    reason = "it is test code, in which a panic is a failed test, with parts that are made for others as well"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../agent/client.rs"]
mod client;
mod cluster;
mod faults;
mod lab;
mod listings;
#[path = "../agent/node.rs"]
mod node;
mod shared;
