//! What a connection asks of those who answer its requests.

use super::Ending;
use crate::http1::{Body, Request, Response, Wrong};
use std::future::Future;

/// What answers requests on a connection.
pub(crate) trait Service {
    /// What answers are made of.
    type Body: Body;

    fn answer(&mut self, request: Request) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The connection is ended from here.
    fn ends(&mut self, _why: Ending) {}

    /// Answers what is no request.
    fn refuse(&mut self, wrong: Wrong) -> Response<Self::Body>;
}
