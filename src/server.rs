//! The registry endpoint on the node: accepts containerd's connections, reads requests strictly, hands pulls to the
//! relay. Never dials anything itself.

mod connection;
pub(crate) mod doctor_image;
mod gateway;
mod request;
mod socket;

pub(crate) use gateway::{Gateway, tls};

use crate::admission::{Admission, Slot};
use crate::cache::Trust;
use crate::config::Secret;
use crate::http1::{Date, End, Request, Response, Told, Wrong};
use crate::lifecycle::{ConnectionGuard, DrainWatch, Socket, Threads};
use crate::metrics::Metrics;
use crate::oci::{ErrorCode, error_body};
use crate::relay::{PullBody, header_value, marked};
use crate::router::Dispatcher;
use connection::{Ending, Service, Serving};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{StatusCode, Version};
use socket::Stream;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// After an accept that failed (no file descriptors left, say) the listener rests this long.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What the endpoint is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The slots for client connections; beyond, the answer is 503 and close.
    pub admission: Admission,
    /// How long a connection may lie idle.
    pub idle: Duration,
    /// The value that `X-Harbor-Pilot-Key` must have, where one is configured.
    pub key: watch::Receiver<Option<Secret>>,
    pub threads: Threads,
    /// Counts who is refused or ended.
    pub metrics: Arc<Metrics>,
    /// For clients on other machines.
    pub gateway: Option<Gateway>,
}

/// What serves the connections of one listener. Cheap to clone.
#[derive(Clone)]
struct Endpoint {
    dispatcher: Dispatcher,
    seen: doctor_image::Seen,
    settings: Settings,
    drain: DrainWatch,
    /// The listener's address is a loopback one, and meant for this node.
    is_loopback: bool,
}

/// Serves one listener until the drain closes it. Accepting goes on while draining, so that nobody is turned away
/// before the process ends; connections that were accepted are served on.
pub(crate) async fn serve(
    listener: TcpListener,
    dispatcher: Dispatcher,
    settings: Settings,
    drain: DrainWatch,
) {
    // Counted like a connection, until the last one that is accepted here has been counted itself.
    let _accepting = drain.connection();
    let at = listener.local_addr().ok();
    let at = at.filter(|_| settings.gateway.is_none());
    let endpoint = Arc::new(Endpoint {
        dispatcher,
        seen: doctor_image::Seen::default(),
        settings,
        drain,
        is_loopback: at.is_some_and(|at| at.ip().is_loopback()),
    });
    loop {
        let accepted = tokio::select! {
            // Cancel safe: accept loses no connection.
            accepted = listener.accept() => accepted,
            // Cancel safe: it only waits.
            () = endpoint.drain.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let arriving = endpoint.clone().arrive(stream, endpoint.drain.connection());
                endpoint.settings.threads.spawn("connection", arriving);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Finds a slot for a connection, on the thread that it stays on, and has it served. `_open` is kept for so long.
    async fn arrive(self: Arc<Self>, stream: TcpStream, _open: ConnectionGuard) {
        let mut stream = Socket::new(stream);
        if let Err(error) = stream.move_here() {
            tracing::warn!(%error, "cannot take a connection over");
            return;
        }
        let Some(tcp) = stream.tcp() else { return };
        match self.settings.admission.admit(tcp, self.is_loopback).await {
            Some(slot) => {
                let stream = match &self.settings.gateway {
                    Some(gateway) => gateway.shake_hands(stream, &slot).await,
                    None => Some(Stream::Left(stream)),
                };
                if let Some(stream) = stream {
                    self.serving(stream, slot).serve().await;
                }
            }
            None => self.turn_away(stream).await,
        }
    }

    /// A connection as it begins.
    fn serving(&self, stream: Stream, slot: Slot) -> Serving<Answering> {
        socket::prepare(&stream);
        let answering = Answering {
            dispatcher: self.dispatcher.clone(),
            seen: self.seen.clone(),
            trust: slot.trust(),
            client: socket::tcp(&stream).and_then(other_machine),
            key: self.settings.key.clone(),
            gateway: self.settings.gateway.clone(),
            metrics: self.settings.metrics.clone(),
        };
        let idle = self.settings.idle;
        Serving::new(stream, slot, idle, self.drain.clone(), answering)
    }

    /// At the connection limit the answer is 503 and close, never a silent queue (design S5); behind TLS there is only the close.
    async fn turn_away(&self, stream: Socket) {
        self.settings.metrics.client_ended("refused");
        if self.settings.gateway.is_some() {
            return;
        }
        let answer = || no_place(&self.dispatcher.relay().request_id());
        self.settings.admission.turn_away(stream, answer).await;
    }
}

/// The address of a client on another machine.
fn other_machine(stream: &TcpStream) -> Option<IpAddr> {
    let address = stream.peer_addr().ok()?.ip().to_canonical();
    (!address.is_loopback()).then_some(address)
}

/// What is said to who gets no slot. It carries what every answer of the agent carries, so that the check of its own port knows
/// it.
fn no_place(request_id: &str) -> Vec<u8> {
    let body = error_body(
        ErrorCode::Unavailable,
        "harbor-pilot has too many connections now",
    );
    let head = marked(StatusCode::SERVICE_UNAVAILABLE, header_value(request_id));
    let head = head.with(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (mut answer, mut date) = (Vec::new(), Date::default());
    let told = Told {
        version: Version::HTTP_11,
        to_head: false,
        end: End::Length(body.len() as u64),
        keep: false,
    };
    head.write(&mut answer, told, date.at(SystemTime::now()));
    answer.extend_from_slice(body.as_bytes());
    answer
}

/// What answers the requests of one connection.
struct Answering {
    dispatcher: Dispatcher,
    seen: doctor_image::Seen,
    trust: Trust,
    client: Option<IpAddr>,
    key: watch::Receiver<Option<Secret>>,
    gateway: Option<Gateway>,
    metrics: Arc<Metrics>,
}

impl Service for Answering {
    type Body = PullBody;

    async fn answer(&mut self, request: Request) -> Answer {
        let key = self.key.borrow().clone();
        let client = (self.trust, self.client);
        let mut dialled = None;
        if let Some(gateway) = &self.gateway {
            if let Some(page) = gateway.health(&request, &self.dispatcher) {
                return page;
            }
            dialled = Gateway::dialled(&request, &self.dispatcher);
        }
        let of = (&self.dispatcher, &self.seen);
        request::answer(of, request, key.as_ref(), client, dialled).await
    }

    fn ends(&mut self, why: Ending) {
        match why {
            Ending::Gone | Ending::Drained => {}
            Ending::MadeWay => self.metrics.client_ended("made_way"),
            Ending::Stalled(_) => self.metrics.client_ended("stalled"),
        }
    }

    fn refuse(&mut self, wrong: Wrong) -> Answer {
        let (status, code) = (StatusCode::BAD_REQUEST, ErrorCode::Unsupported);
        self.dispatcher
            .relay()
            .refuse("other", false, status, code, &wrong.to_string())
    }
}

/// A response of the endpoint.
pub(crate) type Answer = Response<PullBody>;

#[cfg(test)]
mod tests;
