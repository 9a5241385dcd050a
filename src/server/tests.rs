//! The endpoint over real sockets on loopback.
