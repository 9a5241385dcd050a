//! The demonstration (`make demo`): one image, pulled by the real containerd through the agent while the
//! sources fail one after the other. Narrated, checked at every step, and gone without a trace at the end.
//!
//! With the argument `compare` (`make compare-containerd-alone`) it measures the same power loss with and
//! without the agent; that takes some minutes, because containerd alone does. With `layers` (`make bench-layers`) it
//! measures pulls through two builds of the agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a demonstration talks, and ends at the first promise that does not hold"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests and the demonstration use different parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;

mod compare;
mod layers;
mod presentation;
mod second_act;

fn main() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic
            .payload_as_str()
            .unwrap_or("something unexpected happened");
        eprintln!("\nThe demonstration ends here: {message}");
    }));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = |what| arguments.iter().position(|argument| argument == what);
    if at("compare").is_some() {
        compare::measure();
    } else if let Some(at) = at("layers") {
        layers::measure(&arguments[at + 1..]);
    } else {
        presentation::run();
    }
}
