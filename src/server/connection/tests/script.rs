//! Answers by the request's target.

use crate::http1::{Request, Response, Wrong};
use crate::lifecycle::{Seat, Threads, thread_number};
use crate::server::connection::Service;
use bytes::buf::Chain;
use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// Two parts that are written at once.
type Piece = Chain<Bytes, Bytes>;

pub(super) type Bodied = http_body_util::combinators::UnsyncBoxBody<Piece, io::Error>;

/// A service that does what is asked of it.
#[derive(Clone, Default)]
pub(super) struct Script {
    /// Requests that were seen.
    pub(super) asked: Arc<AtomicUsize>,
    /// Something that had to wait was given up.
    pub(super) dropped: Arc<AtomicBool>,
    /// Bodies whose bytes waited for the client for a while.
    pub(super) unread: Arc<AtomicUsize>,
    /// Where what begins with `/long/` is answered.
    pub(super) threads: Option<Threads>,
}

struct Notice(Arc<AtomicBool>);

impl Drop for Notice {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn piece(mut bytes: Bytes) -> Piece {
    let second = bytes.split_off(bytes.len() / 3);
    bytes.chain(second)
}

fn full(text: &str) -> Bodied {
    let body = Full::new(piece(Bytes::from(text.to_owned())));
    body.map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// Pieces of no known length, and then the end, an error, or nothing for ever.
fn pieces(pieces: Vec<Bytes>, end: &'static str, notice: Option<Notice>) -> Bodied {
    let frames = pieces.into_iter().map(piece);
    let frames = frames.map(|piece| Ok(Frame::data(piece)));
    let mut frames = frames.collect::<VecDeque<_>>();
    let stream = futures_util::stream::poll_fn(move |_| {
        let _notice = &notice;
        match (frames.pop_front(), end) {
            (Some(frame), _) => Poll::Ready(Some(frame)),
            (None, "end") => Poll::Ready(None),
            (None, "break") => Poll::Ready(Some(Err(io::Error::other("on purpose")))),
            (None, _) => Poll::Pending,
        }
    });
    StreamBody::new(stream).boxed_unsync()
}

/// What is large, and can be told from anything else.
pub(super) fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 251) as u8).collect()
}

impl Service for Script {
    type Body = Bodied;

    fn seat(&mut self, request: &Request) -> Option<Seat> {
        let threads = self
            .threads
            .as_ref()
            .filter(|_| request.target.starts_with("/long/"));
        threads.map(Threads::seat)
    }

    async fn answer(&mut self, request: Request) -> Response<Bodied> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let notice = || Some(Notice(self.dropped.clone()));
        let hello = || {
            vec![
                Bytes::from_static(b"hel"),
                Bytes::new(),
                Bytes::from_static(b"lo"),
            ]
        };
        let told = |length: u64, body| {
            let mut response = Response::new(StatusCode::OK, body);
            response.head.set(CONTENT_LENGTH, length);
            response
        };
        match request.target.as_str() {
            "/never" => {
                let _notice = notice();
                std::future::pending().await
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(600)).await;
                Response::new(StatusCode::OK, full("slow"))
            }
            "/where" | "/long/where" => {
                Response::new(StatusCode::OK, full(&format!("{:04}", thread_number())))
            }
            "/unknown" => Response::new(StatusCode::OK, pieces(hello(), "end", None)),
            "/none" => Response::new(StatusCode::OK, pieces(Vec::new(), "end", None)),
            "/break" => Response::new(StatusCode::OK, pieces(hello(), "break", None)),
            "/hang" => Response::new(StatusCode::OK, pieces(hello(), "never", notice())),
            "/told" => told(5, pieces(hello(), "end", None)),
            "/told-and-silent" => told(5, pieces(hello(), "never", None)),
            "/short" => told(9, pieces(hello(), "end", None)),
            "/long" => told(4, pieces(hello(), "end", None)),
            "/head" => told(7, full("")),
            "/large" => {
                let large = large();
                let cut = large.chunks(70_001).map(Bytes::copy_from_slice);
                told(large.len() as u64, pieces(cut.collect(), "end", None))
            }
            other => Response::new(StatusCode::OK, full(other)),
        }
    }

    fn is_unread(&mut self, _body: &mut Bodied) {
        self.unread.fetch_add(1, Ordering::SeqCst);
    }

    fn refuse(&mut self, wrong: Wrong) -> Response<Bodied> {
        Response::new(StatusCode::BAD_REQUEST, full(&wrong.to_string()))
    }
}
