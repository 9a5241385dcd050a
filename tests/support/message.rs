//! Requests as they came and replies as they go out.

use super::fault::Fault;
use harbor_pilot::oci::{ErrorCode, error_body};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize};

const PIECE: usize = 32 * 1024;

/// A request that the fake registry received.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    /// Without the question mark; empty if there was none.
    pub query: String,
    pub headers: Vec<(String, String)>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Which request of its connection it is, counted from 0.
    pub nth: usize,
    /// What was answered; 0: nothing yet.
    pub status: Arc<AtomicU16>,
    /// Bytes of the body that were written so far.
    pub sent: Arc<AtomicUsize>,
}

/// What is sent back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// How many bytes of the body are written at once; chunks are of this size too.
    pub piece: usize,
    /// What goes wrong while this is sent; a fault set at the registry comes first.
    pub fault: Option<Box<Fault>>,
}

/// How the body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    Length,
    /// By a length that may be a lie.
    LengthIs(u64),
    /// Chunked, with a clean end.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Recorded {
    /// Parses a head: request line and fields.
    pub fn parse(head: &str, connection: usize, nth: usize) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let fields = lines.filter_map(|line| line.split_once(':'));
        Some(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            connection,
            nth,
            status: Arc::default(),
            sent: Arc::default(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `GET /v2/…`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A parameter of the query, percent-decoded as far as tests need it.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        Some(
            value
                .replace("%20", " ")
                .replace("%3A", ":")
                .replace("%2F", "/"),
        )
    }
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Length,
            piece: PIECE,
            fault: None,
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub fn piece(mut self, piece: usize) -> Self {
        self.piece = piece.max(1);
        self
    }

    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(Box::new(fault));
        self
    }

    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status).body("application/json", body)
    }

    /// The registry's error JSON with this code.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = error_body(ErrorCode::Unavailable, message).replace("UNAVAILABLE", code);
        Self::json(status, body)
    }

    /// A redirect.
    pub fn to(status: u16, location: impl Into<String>) -> Self {
        Self::new(status).header("Location", location)
    }

    /// What Harbor's nginx says when core is down: HTML, never registry JSON (harbor-facts 1.3).
    pub fn html_502() -> Self {
        let body = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad \
                    Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
        Self::new(502).body("text/html", body)
    }
}
