//! The demonstration (`make demo`): one image, pulled by the real containerd through the agent while the
//! sources fail one after the other. Narrated, checked at every step, and gone without a trace at the end.
//!
//! With the argument `compare` (`make compare-containerd-alone`) it measures the same power loss with and
//! without the agent; that takes some minutes, because containerd alone does.
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
mod story;

fn main() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic
            .payload_as_str()
            .unwrap_or("something unexpected happened");
        eprintln!("\nThe demonstration ends here: {message}");
    }));
    let compare = std::env::args().any(|argument| argument == "compare");
    if compare {
        compare::measure();
    } else {
        story::tell();
    }
}
