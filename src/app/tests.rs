//! The composition root over real sockets on loopback.
