//! Tasks that are watched, signals, the drain, what systemd is told, and the sockets that it keeps for us; private files.

mod deadline;
mod drain;
mod private_file;
mod random;
mod signals;
mod socket;
mod sockets;
mod systemd;
mod tasks;
mod threads;
mod turn;

pub use deadline::deadline;
pub use drain::{ConnectionGuard, Drain, DrainGuard, DrainWatch, Drained};
pub use private_file::{create_private, replace_private};
pub use random::Random;
pub use signals::{RawSignal, Signal, Signals};
pub use socket::Socket;
pub use sockets::Inherited;
pub use systemd::Notifier;
pub use tasks::{Panicked, TaskFailure, Tasks, contained, log_panics, panics, spawn_detached};
pub use threads::{DataPlane, Threads, thread_number};
pub use turn::Turn;
