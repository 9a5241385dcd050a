//! The same octets read by `harbor_pilot::http1` and by hyper, both ways. What hyper refuses must be refused, and what is
//! accepted must be read as hyper reads it: whoever stands on the way reads like one of the two (request smuggling, RFC 9112,
//! 11.2). The property test and the fuzz target share this file.
//!
//! Deliberate differences, none of which makes a message longer, shorter or another one than hyper sees:
//! - A request's target that is no URI is read as it is: the routing refuses what is no path of the distribution spec (404).
//! - More than 8 interim responses, `101 Switching Protocols`, a head of more than the limit, and chunk lines or trailers of
//!   more than 16 KiB are refused: a source could keep the agent busy with them.
//! - Trailers with a line feed alone are refused: RFC 9112, 7.1 has none, and hyper takes them for a line's end.
//! - A `Connection` that names `close` in a value that is no ASCII closes.
//! - A response with both `Transfer-Encoding` and `Content-Length` is read by its coding, and its connection is closed
//!   (RFC 9112, 6.3).

use bytes::{Bytes, BytesMut};
use harbor_pilot::http1::{Framing, Piece, Wrong, answer_head, request_head};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

/// The longest head, in bytes; longer than any that is made here.
const LIMIT: usize = 64 * 1024;

/// How long a side may be idle, in paused time: nothing is under way when it ends.
const IDLE: Duration = Duration::from_secs(1);

/// A request as one of the two has read it.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: String,
    target: String,
    is_1_1: bool,
    fields: Vec<(String, String)>,
    has_body: bool,
}

/// A response as one of the two has read it.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// The body came to its end.
    whole: bool,
}

/// Both readings of many inputs.
pub(crate) struct Oracle {
    runtime: Runtime,
}

impl Oracle {
    /// On the current thread, in paused time.
    ///
    /// # Panics
    /// Where there is no runtime to be had.
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        Self {
            runtime: runtime.expect("a runtime of the current thread can be made"),
        }
    }

    /// Panics where the requests in `bytes`, the whole of a connection, are read otherwise than hyper's server reads them.
    /// How many were compared.
    pub(crate) fn requests(&self, bytes: &[u8]) -> usize {
        let (ours, keeps) = ours_of_requests(bytes);
        let (theirs, answers) = self.runtime.block_on(hypers_server(bytes));
        for (number, asked) in ours.iter().enumerate() {
            if asked.target.parse::<Uri>().is_err() {
                return number;
            }
            let known = theirs.get(number);
            assert_eq!(
                Some(asked),
                known,
                "request {number} of {}\nhyper: {theirs:#?}",
                bytes.escape_ascii()
            );
            if !asked.has_body {
                let (ours, theirs) = (keeps.get(number), answers.get(number));
                // Of a Connection that is no text the agent closes what hyper keeps.
                let is_text = !asked
                    .fields
                    .iter()
                    .any(|(name, value)| name == CONNECTION.as_str() && value.contains("\\x"));
                assert!(
                    ours == theirs || (!is_text && ours == Some(&false)),
                    "whether the connection stays after request {number} of {}: {ours:?}, hyper: {theirs:?}",
                    bytes.escape_ascii()
                );
            }
        }
        ours.len()
    }

    /// Panics where the response in `bytes`, all that a source sends before it closes, is read otherwise than hyper's client
    /// reads it. How many were compared: one or none.
    pub(crate) fn response(&self, bytes: &[u8], to_head: bool) -> usize {
        let Some((ours, keep, stricter)) = ours_of_response(bytes, to_head) else {
            return 0;
        };
        let (theirs, ready) = self.runtime.block_on(hypers_client(bytes, to_head));
        let shown = || format!("{} (HEAD: {to_head})", bytes.escape_ascii());
        let Some(theirs) = theirs else {
            panic!("hyper refuses {}\nread as {ours:#?}", shown());
        };
        if ours.whole {
            assert_eq!(ours, theirs, "{}", shown());
            assert!(!keep || ready, "kept: {}\n{ours:#?}", shown());
        } else {
            // Who sees first that a body is broken differs; neither may call it whole.
            let heads = (ours.status, &ours.fields) == (theirs.status, &theirs.fields);
            let same_data = ours.body == theirs.body;
            assert!(
                heads && (!theirs.whole || (same_data && stricter)),
                "{}\n{ours:#?}\n{theirs:#?}",
                shown()
            );
        }
        1
    }
}

impl Default for Oracle {
    fn default() -> Self {
        Self::new()
    }
}

/// The requests up to the one after which the agent reads no more of the connection, and whether it stays after each.
fn ours_of_requests(bytes: &[u8]) -> (Vec<Asked>, Vec<bool>) {
    let mut buffer = BytesMut::from(bytes);
    let (mut asked, mut keeps) = (Vec::new(), Vec::new());
    while let Ok(Some(head)) = request_head(&mut buffer, LIMIT) {
        let request = head.request;
        asked.push(Asked {
            method: request.method.to_string(),
            target: request.target,
            is_1_1: request.version == Version::HTTP_11,
            fields: sorted(request.fields.iter()),
            has_body: head.has_body,
        });
        keeps.push(head.keep);
        if head.has_body || !head.keep {
            break;
        }
    }
    (asked, keeps)
}

/// The response, whether its connection stays, and whether it is refused for a reason that hyper does not know.
fn ours_of_response(bytes: &[u8], to_head: bool) -> Option<(Answered, bool, bool)> {
    let mut buffer = BytesMut::from(bytes);
    let head = answer_head(&mut buffer, to_head, LIMIT, &mut 0).ok()??;
    let mut framing = head.framing;
    let mut body = Vec::new();
    let mut stricter = false;
    let whole = loop {
        match framing.take(&mut buffer) {
            Ok(Piece::Data(data)) => body.extend_from_slice(&data),
            Ok(Piece::End) => break true,
            Ok(Piece::More) => break framing == Framing::UntilClose,
            Err(wrong) => {
                stricter = wrong == Wrong::Syntax("trailers with a line feed alone");
                break false;
            }
        }
    };
    // What follows a response that nobody asked for closes the connection, which `upstream` sees to.
    let keep = head.keep && whole && buffer.is_empty();
    let answered = Answered {
        status: head.status.as_u16(),
        fields: sorted(head.fields.iter()),
        body,
        whole,
    };
    Some((answered, keep, stricter))
}

/// What hyper's server hands to a service of these bytes, and whether it keeps the connection after each.
async fn hypers_server(bytes: &[u8]) -> (Vec<Asked>, Vec<bool>) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(bytes).await.expect("it fits");
    client.shutdown().await.expect("it is open");
    let asked = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let asked = Rc::clone(&asked);
        async move {
            let has_body = !request.body().is_end_stream();
            asked.borrow_mut().push(Asked {
                method: request.method().to_string(),
                target: request.uri().to_string(),
                is_1_1: request.version() == Version::HTTP_11,
                fields: of_map(request.headers()),
                has_body,
            });
            let mut response = Response::new(Empty::<Bytes>::new());
            if request.method() != Method::GET {
                // As the agent: 200 to a CONNECT would begin a tunnel.
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
            drop(request.into_body().collect().await);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let serving = builder
        .half_close(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(server), service);
    let served = tokio::time::timeout(IDLE, serving).await;
    drop(served);
    let mut answers = Vec::new();
    let reading = tokio::time::timeout(IDLE, client.read_to_end(&mut answers)).await;
    drop(reading);
    let asked = asked.take();
    (asked, kept(&answers))
}

/// Whether each response of hyper's server says that the connection stays.
fn kept(mut answers: &[u8]) -> Vec<bool> {
    let mut kept = Vec::new();
    loop {
        let mut places = [httparse::EMPTY_HEADER; 16];
        let mut answer = httparse::Response::new(&mut places);
        let Ok(httparse::Status::Complete(length)) = answer.parse(answers) else {
            return kept;
        };
        if answer.code != Some(100) {
            let named = |option: &str| {
                let mut options = answer.headers.iter();
                options.any(|field| {
                    field.name.eq_ignore_ascii_case(CONNECTION.as_str())
                        && field.value.eq_ignore_ascii_case(option.as_bytes())
                })
            };
            kept.push(match answer.version {
                Some(1) => !named("close"),
                _ => named("keep-alive"),
            });
        }
        answers = answers.get(length..).unwrap_or_default();
    }
}

/// What hyper's client makes of these bytes, and whether it would ask again on the connection. `None`: it refuses them.
async fn hypers_client(bytes: &[u8], to_head: bool) -> (Option<Answered>, bool) {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .expect("nothing has been sent");
    let running = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    let asking = async {
        let method = if to_head { Method::HEAD } else { Method::GET };
        let request = Request::builder().method(method).uri("/");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let responding = sender.send_request(request);
        let answering = async {
            let mut request = [0; 256];
            let read = server.read(&mut request).await;
            assert!(read.is_ok_and(|length| length > 0), "hyper sends a request");
            drop(server.write_all(bytes).await);
        };
        let (response, ()) = tokio::join!(tokio::time::timeout(IDLE, responding), answering);
        let Ok(Ok(response)) = response else {
            return (None, false);
        };
        let (head, mut body) = response.into_parts();
        let (mut received, mut whole, mut broken) = (Vec::new(), false, false);
        // First what ends by itself, then what ends with the connection.
        let mut ready = false;
        for closes in [false, true] {
            if closes {
                drop(server.shutdown().await);
            }
            while !whole && !broken {
                let Ok(frame) = tokio::time::timeout(IDLE, body.frame()).await else {
                    break;
                };
                match frame {
                    Some(Ok(frame)) => {
                        received.extend_from_slice(&frame.into_data().unwrap_or_default());
                    }
                    Some(Err(_)) => broken = true,
                    None => whole = true,
                }
            }
            if !closes {
                ready = whole
                    && tokio::time::timeout(IDLE, sender.ready())
                        .await
                        .is_ok_and(|ready| ready.is_ok());
            }
        }
        let answered = Answered {
            status: head.status.as_u16(),
            fields: of_map(&head.headers),
            body: received,
            whole,
        };
        (Some(answered), ready)
    };
    tokio::select! {
        biased;
        found = asking => found,
        () = running => unreachable!("it never ends"),
    }
}

fn of_map(fields: &HeaderMap) -> Vec<(String, String)> {
    sorted(
        fields
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
    )
}

/// hyper keeps no order among different names, and leaves out a length beside a coding and a length said twice.
fn sorted<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = fields
        .map(|(name, value)| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            (name, value.escape_ascii().to_string())
        })
        .collect();
    let is_coded = fields
        .iter()
        .any(|(name, _)| name == TRANSFER_ENCODING.as_str());
    let mut lengths = 0;
    fields.retain(|(name, _)| {
        let is_length = name == CONTENT_LENGTH.as_str();
        lengths += u32::from(is_length);
        !is_length || (!is_coded && lengths == 1)
    });
    // The order of one name's values stays.
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields
}
