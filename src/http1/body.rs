//! The body of a response, as whoever writes it asks for it.

use bytes::Bytes;
use bytes::buf::Chain;
use std::future::Future;

/// What is written at once: of a blob the bytes on both sides of where it was cut. Written one after the other they would wake the
/// client twice.
pub type Chunk = Chain<Bytes, Bytes>;

/// A body that ends before its end, and how its connection must end then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// With FIN: what was given is right as far as anybody knows.
    Fin,
    /// With a reset: it may be wrong, and nobody is to go on from there.
    Reset,
}

/// A response's body: each piece is asked for when the one before it has been written.
pub trait Body: Send {
    /// The next piece; `None`: it has ended. Time in which nobody asks is the client's.
    fn next(&mut self) -> impl Future<Output = Option<Result<Chunk, Broken>>> + Send;

    /// How much is still to come, where that is known.
    fn length(&self) -> Option<u64>;

    /// A piece of it has waited for the client for a while.
    fn is_unread(&mut self) {}

    /// It is ended before its end by whoever writes it.
    fn is_cut(&mut self, _why: &str) {}
}
