//! What a source answers.

use super::Body;
use crate::http1::Fields;
use http::StatusCode;

/// An answer, its body not read yet.
#[derive(Debug)]
pub struct Response {
    /// Never an interim one (1xx).
    pub status: StatusCode,
    /// All of its fields.
    pub fields: Fields,
    /// Gives its connection back when it has been read to the end.
    pub body: Body,
}
