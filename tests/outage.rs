//! Slow, limited and dead sources, and many clients at once: the whole agent in one process, as in `agent`, with what it
//! does so that a pull goes on all the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test, with parts that are made for others as well"
)]

mod support;

#[path = "agent/client.rs"]
mod client;
#[path = "agent/node.rs"]
mod node;

#[path = "outage/hedge.rs"]
mod hedge;
#[path = "outage/flight.rs"]
mod flight;
#[path = "outage/quota.rs"]
mod quota;
#[path = "outage/stale.rs"]
mod stale;

use client::Client;
use node::Node;

/// One value of the agent's metrics: `attempts_total{tier="t1",result="timeout"}`.
async fn metric(node: &Node, series: &str) -> Option<String> {
    let mut client = Client::connect(node.admin).await;
    client.ask("GET", "/metrics", &[]).await;
    let text = client.answer(false).await.text();
    let line = format!("harbor_pilot_{series} ");
    let mut lines = text.lines();
    lines.find_map(|text| Some(text.strip_prefix(&line)?.to_owned()))
}
