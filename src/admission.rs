//! Admission of clients: who they are, how many connections may be open at once, and who makes way when slots run short.

mod checks;
mod decision;
mod peer_socket;
mod peers;
mod proc_net;
mod slots;
mod sock_diag;

pub(crate) use checks::{Check, dialled};
pub use peers::Lookup;
#[cfg(test)]
pub(crate) use peers::Standing;
pub(crate) use peers::{OtherEnd, Peers};
pub(crate) use proc_net::kernels_address;
pub(crate) use slots::{Admission, Slot};
