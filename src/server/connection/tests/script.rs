//! Answers by the request's target.

use crate::http1::{Body, Broken, Chunk, Request, Response, Wrong};
use crate::server::connection::Service;
use bytes::{Buf as _, Bytes};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Pieces, and then the end, an error, or nothing for ever.
pub(super) struct Bodied {
    pieces: VecDeque<Bytes>,
    end: &'static str,
    length: Option<u64>,
    unread: Arc<AtomicUsize>,
    _notice: Option<Notice>,
}

impl Body for Bodied {
    /// Each piece is two parts that are written at once.
    async fn next(&mut self) -> Option<Result<Chunk, Broken>> {
        match (self.pieces.pop_front(), self.end) {
            (Some(mut first), _) => {
                let second = first.split_off(first.len() / 3);
                Some(Ok(first.chain(second)))
            }
            (None, "end") => None,
            (None, "break") => Some(Err(Broken::Fin)),
            (None, "reset") => Some(Err(Broken::Reset)),
            (None, _) => std::future::pending().await,
        }
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn is_unread(&mut self) {
        self.unread.fetch_add(1, Ordering::SeqCst);
    }
}

/// A service that does what is asked of it.
#[derive(Clone, Default)]
pub(super) struct Script {
    /// Requests that were seen.
    pub(super) asked: Arc<AtomicUsize>,
    /// Something that had to wait was given up.
    pub(super) dropped: Arc<AtomicBool>,
    /// Bodies whose bytes waited for the client for a while.
    pub(super) unread: Arc<AtomicUsize>,
}

struct Notice(Arc<AtomicBool>);

impl Drop for Notice {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What is large, and can be told from anything else.
pub(super) fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 251) as u8).collect()
}

impl Script {
    fn full(&self, text: &str) -> Bodied {
        let length = Some(text.len() as u64);
        let pieces = vec![Bytes::from(text.to_owned())];
        Bodied {
            length,
            ..self.pieces(pieces, "end", None)
        }
    }

    /// Of no known length.
    fn pieces(&self, pieces: Vec<Bytes>, end: &'static str, notice: Option<Notice>) -> Bodied {
        Bodied {
            pieces: pieces.into(),
            end,
            length: None,
            unread: self.unread.clone(),
            _notice: notice,
        }
    }
}

impl Service for Script {
    type Body = Bodied;

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
                Response::new(StatusCode::OK, self.full("slow"))
            }
            "/unknown" => Response::new(StatusCode::OK, self.pieces(hello(), "end", None)),
            "/silent" => Response::new(StatusCode::OK, self.pieces(Vec::new(), "never", None)),
            "/none" => Response::new(StatusCode::OK, self.pieces(Vec::new(), "end", None)),
            "/break" => Response::new(StatusCode::OK, self.pieces(hello(), "break", None)),
            "/reset" => Response::new(StatusCode::OK, self.pieces(hello(), "reset", None)),
            "/hang" => Response::new(StatusCode::OK, self.pieces(hello(), "never", notice())),
            "/told" => told(5, self.pieces(hello(), "end", None)),
            "/told-and-silent" => told(5, self.pieces(hello(), "never", None)),
            "/short" => told(9, self.pieces(hello(), "end", None)),
            "/long" => told(4, self.pieces(hello(), "end", None)),
            "/head" => told(7, self.full("")),
            "/large" => {
                let large = large();
                let cut = large.chunks(70_001).map(Bytes::copy_from_slice);
                told(large.len() as u64, self.pieces(cut.collect(), "end", None))
            }
            other => Response::new(StatusCode::OK, self.full(other)),
        }
    }

    fn refuse(&mut self, wrong: Wrong) -> Response<Bodied> {
        Response::new(StatusCode::BAD_REQUEST, self.full(&wrong.to_string()))
    }
}
