//! HTTP/1.1 as octets (RFC 9112): heads of requests and of answers, and where bodies end. Pure: nothing is read from
//! anywhere, and nobody is asked. The syntax is httparse's, fields and statuses are those of the `http` crate.

mod answer;
mod body;
mod fields;
mod framing;
mod request;
mod response;
mod retry_after;

pub use answer::{AnswerHead, answer_head};
pub use body::{Body, Broken, Chunk};
pub use fields::{Fields, every};
pub use framing::{Framing, Piece};
pub use request::{Request, RequestHead, request_head};
pub use response::{Date, End, Response, ResponseHead, Told};
pub use retry_after::retry_after;

/// Why something is not HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The head is longer than is taken, or has more than 100 fields.
    #[error("the head is too long or has more than 100 fields")]
    TooLong,
    /// Something else, in words that hold nothing of what came.
    #[error("not HTTP/1.1: {0}")]
    Syntax(&'static str),
    /// A head that httparse refuses.
    #[error("not HTTP/1.1: {0}")]
    Parse(httparse::Error),
}

#[cfg(test)]
mod tests;
