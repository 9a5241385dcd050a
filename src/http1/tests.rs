//! What is HTTP/1.1 and what is not, in whatever pieces it comes.

mod answers;
mod bodies;
mod requests;
