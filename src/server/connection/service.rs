//! What a connection asks of those who answer its requests.

use super::Ending;
use crate::http1::{Request, Response, Wrong};
use crate::lifecycle::Seat;
use hyper::body::Body;
use std::future::Future;

/// What answers requests on a connection.
pub(crate) trait Service {
    /// What answers are made of.
    type Body: Body<Data: Send> + Send + Unpin;

    /// A seat for what takes long to answer.
    fn seat(&mut self, request: &Request) -> Option<Seat>;

    /// Answers one.
    fn answer(&mut self, request: Request) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Bytes of an answer have waited for the client for a while, and nothing is asked of its source.
    fn is_unread(&mut self, _body: &mut Self::Body) {}

    /// An answer is ended from here.
    fn is_cut(&mut self, _body: &mut Self::Body, _why: Ending) {}

    /// The connection is ended from here.
    fn ends(&mut self, _why: Ending) {}

    /// Answers what is no request.
    fn refuse(&mut self, wrong: Wrong) -> Response<Self::Body>;
}
