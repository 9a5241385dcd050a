//! A scripted registry that speaks HTTP/1.1 byte by byte, so that every manner of Harbor and every fault that the design
//! names can be played over real sockets. `mod support;` brings it into a test.
//!
//! A folder with `mod.rs`, unlike the rest of the project: cargo would take `tests/support.rs` for a test of its own.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "every test takes the part of it that it needs"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is test code, in which a panic is a failed test"
)]

mod answer;
mod behaviour;
mod ca;
mod content;
mod dns;
mod fault;
mod harbor_api;
mod image;
mod message;
mod port;
mod registry;
mod sources;
mod tokens;
mod wire;

pub use behaviour::{Behaviour, Cold, Flavour, RateLimit, Realm};
pub use ca::TestCa;
pub use dns::FakeDns;
pub use fault::{Fault, On};
pub use harbor_api::{Api, ApiEndpoint, ApiProject};
pub use image::{Blob, Image, Manifest, OCI_INDEX, OCI_MANIFEST, random_bytes};
pub use message::{Framing, Recorded, Reply};
pub use port::free_address;
pub use registry::{Builder, FakeRegistry};
pub use sources::{Names, credential, endpoint, source, timeouts};
