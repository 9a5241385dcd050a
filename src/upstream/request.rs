//! What is asked of a source: a GET or a HEAD without a body, encoded as it goes onto the wire (RFC 9112, 3).

use super::Error;
use crate::http1::every;
use crate::topology::Failure;
use http::Method;
use http::header::HeaderName;

/// Our name to every source. Never `harbor-registry-client`: Harbor takes that one for a replication and does not
/// note the pull (harbor-facts 3.5).
pub const USER_AGENT: &str = concat!("harbor-pilot/", env!("CARGO_PKG_VERSION"));

/// Room for the fields of most requests.
const ROOM: usize = 512;

/// A request's head, without the empty line that ends it.
#[derive(Clone)]
pub struct Request {
    is_head: bool,
    /// Where in `bytes` the target begins.
    target: usize,
    bytes: Vec<u8>,
}

// === impl Request ===

impl Request {
    /// Asks for `target` (path and query) of `host` (with its port, if that is not the scheme's).
    ///
    /// # Errors
    /// [`Error`]: the target or the host cannot be written in a request, or the method is neither GET nor HEAD.
    pub fn new(method: &Method, target: &str, host: &str) -> Result<Self, Error> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(unusable("only GET and HEAD are sent to sources"));
        }
        if !target.starts_with('/') || !every(target.as_bytes(), is_of_target) {
            return Err(unusable("it holds what a request's target must not"));
        }
        let mut bytes = Vec::with_capacity(ROOM.saturating_add(target.len()));
        bytes.extend_from_slice(method.as_str().as_bytes());
        bytes.push(b' ');
        let begins = bytes.len();
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        let request = Self {
            is_head: method == Method::HEAD,
            target: begins,
            bytes,
        };
        request.with(&http::header::HOST, host)
    }

    /// Adds a field.
    ///
    /// # Errors
    /// [`Error`]: the value holds a control character, such as a line end.
    pub fn with(mut self, name: &HeaderName, value: impl AsRef<[u8]>) -> Result<Self, Error> {
        self.add(name, value.as_ref())?;
        Ok(self)
    }

    /// [`Error`]: as [`Request::with`].
    ///
    /// # Errors
    /// [`Error`]: as [`Request::with`].
    pub fn add(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Error> {
        let is_text = |byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if !every(value, is_text) {
            return Err(unusable(&format!("its {name} holds a control character")));
        }
        self.bytes.extend_from_slice(name.as_str().as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Whether the answer has no body.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// For a plain HTTP proxy, which wants to be told the whole URL (RFC 9112, 3.2.2).
    pub(super) fn make_absolute(&mut self, authority: &str) {
        let origin = ["http://", authority].concat();
        self.bytes
            .splice(self.target..self.target, origin.into_bytes());
    }

    /// The whole of it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// Visible ASCII; a fragment is never sent.
fn is_of_target(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'#'
}

fn unusable(why: &str) -> Error {
    let doing = "no request can be made of the target";
    Error::new(Failure::Local, doing, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT;

    #[test]
    fn a_request_is_encoded_as_it_goes_onto_the_wire() {
        let request = Request::new(&Method::HEAD, "/v2/a?ns=b", "replica.example.com:8443");
        let mut request = request.unwrap().with(&ACCEPT, "a/b, c/d").unwrap();
        assert!(request.is_head());
        request.make_absolute("replica.example.com:8443");
        let expected = "HEAD http://replica.example.com:8443/v2/a?ns=b HTTP/1.1\r\n\
                        host: replica.example.com:8443\r\naccept: a/b, c/d\r\n\r\n";
        assert_eq!(String::from_utf8(request.into_bytes()).unwrap(), expected);
    }

    #[test]
    fn nothing_can_be_smuggled_into_it() {
        for target in [
            "",
            "v2",
            "/a b",
            "/a\r\nx: y",
            "/a\u{7f}",
            "/a#b",
            "/\u{e9}",
        ] {
            assert!(
                Request::new(&Method::GET, target, "h").is_err(),
                "{target:?}"
            );
        }
        assert!(Request::new(&Method::POST, "/", "h").is_err());
        for value in ["a\r\nb: c", "a\nb", "a\0", "\u{7f}"] {
            assert!(Request::new(&Method::GET, "/", value).is_err(), "{value:?}");
            let request = Request::new(&Method::GET, "/", "h").unwrap();
            assert!(request.with(&ACCEPT, value).is_err(), "{value:?}");
        }
    }
}
