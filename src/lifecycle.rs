//! Tasks that are watched, signals, the drain, and what systemd is told.

mod drain;
mod signals;
mod systemd;
mod tasks;

pub use drain::{Drain, DrainGuard, DrainWatch, Drained};
pub use signals::{RawSignal, Signal, Signals};
pub use systemd::Notifier;
pub use tasks::{TaskFailure, Tasks, contained, log_panics, panics, spawn_detached};
