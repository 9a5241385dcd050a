//! What a trace of a request is made of while the request runs: plain values, put down by whoever does a part of it. Without
//! `[otel]` there is none of it. The spans are made from it when the request is over (`traces`).

mod parent;
mod tracer;

pub use parent::TraceParent;
pub use tracer::{Finished, Tracer};

use super::AccessRecord;
use http::Method;
use parking_lot::Mutex;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Parts of one request that are kept; a body that is resumed all day has more.
const MOST_STEPS: usize = 64;

/// The error of an attempt that was given up: another one answered first, or the client left.
pub const CANCELLED: &str = "cancelled";

/// A request's number, and its trace where there is one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestId {
    id: Arc<str>,
    trace: Option<Arc<Trace>>,
}

/// One request's trace.
#[derive(Debug)]
pub struct Trace {
    /// The trace of the request's own span, and whether it is exported.
    pub own: TraceParent,
    /// The span of the client.
    pub parent: Option<u64>,
    /// `tracestate`, as the client sent it.
    pub state: Option<Box<str>>,
    began: (SystemTime, Instant),
    tracer: Arc<Tracer>,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    /// `None`: the request is over.
    steps: Option<Vec<Step>>,
    /// What new parts belong to: the request, or the search for who goes on with its body.
    scope: u64,
}

/// A part of a request that is over.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of its own span.
    pub id: u64,
    /// What it is a part of.
    pub parent: u64,
    /// The kind of work, with its own attributes.
    pub what: What,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The answer, or why there was none.
    pub end: End,
}

/// What a part of a request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// One source is asked at one address.
    Attempt {
        /// The tier, or `upstream`.
        source: Arc<str>,
        /// The address of it that is asked.
        address: SocketAddr,
    },
    /// A token is waited for.
    Token,
    /// DNS is waited for.
    Dns {
        /// Whose addresses are looked for.
        source: Arc<str>,
    },
    /// A body broke or stalled, and somebody who goes on with it is looked for.
    Resume {
        /// Where in the body.
        offset: u64,
    },
}

/// How a part of a request ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// As it was asked; `None`: nothing was.
    pub method: Option<Method>,
    /// Of the answer; `None`: there was none.
    pub status: Option<u16>,
    /// Why it did not serve: a word, never what a source said.
    pub error: Option<&'static str>,
    at: Option<Instant>,
}

/// A part of a request while it runs. The last clone that is dropped puts it down.
#[derive(Clone, Debug)]
pub struct Span(Arc<Part>);

#[derive(Debug)]
struct Part {
    trace: Arc<Trace>,
    id: u64,
    parent: u64,
    what: What,
    began: Instant,
    end: Mutex<End>,
}

// === impl RequestId ===

impl RequestId {
    /// The same number, with that trace.
    #[must_use]
    pub fn traced(self, trace: Option<Arc<Trace>>) -> Self {
        Self { trace, ..self }
    }

    /// Of the request with this number.
    #[must_use]
    pub fn trace(&self) -> Option<&Arc<Trace>> {
        self.trace.as_ref()
    }

    /// A part of it begins; `None`: there is no trace.
    #[must_use]
    pub fn begin(&self, what: impl FnOnce() -> What) -> Option<Span> {
        let trace = self.trace.as_ref()?;
        let parent = trace.running.lock().scope;
        Some(Span::new(trace, parent, what()))
    }
}

impl Default for RequestId {
    fn default() -> Self {
        "".into()
    }
}

impl<T: Into<Arc<str>>> From<T> for RequestId {
    fn from(id: T) -> Self {
        Self {
            id: id.into(),
            trace: None,
        }
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

// === impl Trace ===

impl Trace {
    /// `TRACE_ID`: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:032x}", self.own.trace_id)
    }

    /// When the request began.
    #[must_use]
    pub fn began(&self) -> SystemTime {
        self.began.0
    }

    /// The request is over: what it was goes to whoever makes spans of it.
    pub(in crate::telemetry) fn finish(self: &Arc<Self>, record: &AccessRecord) {
        let steps = self.running.lock().steps.take();
        if self.own.is_sampled {
            let record = AccessRecord {
                // What sources said has no place in a span.
                error: String::new(),
                ..record.clone()
            };
            let record = Some(Box::new(record));
            let steps = steps.unwrap_or_default();
            self.tracer.send(self, record, steps);
        }
    }

    fn put_down(self: &Arc<Self>, step: Step) {
        if !self.own.is_sampled {
            return;
        }
        let mut running = self.running.lock();
        match &mut running.steps {
            Some(steps) if steps.len() < MOST_STEPS => steps.push(step),
            Some(_) => self.tracer.lost(1),
            // Who was asked beside others, or ahead of what is asked next, runs on.
            None => {
                drop(running);
                self.tracer.send(self, None, vec![step]);
            }
        }
    }

    fn wall(&self, at: Instant) -> SystemTime {
        let since = at.saturating_duration_since(self.began.1);
        self.began.0.checked_add(since).unwrap_or(self.began.0)
    }
}

// === impl Span ===

impl Span {
    fn new(trace: &Arc<Trace>, parent: u64, what: What) -> Self {
        Self(Arc::new(Part {
            id: trace.tracer.span_id(),
            trace: trace.clone(),
            parent,
            what,
            began: Instant::now(),
            end: Mutex::default(),
        }))
    }

    /// A part of this part begins.
    #[must_use]
    pub fn begin(&self, what: What) -> Self {
        Self::new(&self.0.trace, self.0.id, what)
    }

    /// What begins in this request from now on is a part of this, until it is over.
    #[must_use]
    pub fn scoped(self) -> Self {
        self.0.trace.running.lock().scope = self.0.id;
        self
    }

    /// `traceparent` for whoever is asked.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let own = TraceParent {
            span_id: self.0.id,
            ..self.0.trace.own
        };
        own.to_string()
    }

    /// `tracestate` for whoever is asked.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.0.trace.state.as_deref()
    }

    /// So it is asked.
    pub fn asks(&self, method: &Method) {
        self.0.end.lock().method = Some(method.clone());
    }

    /// An answer came, the newest one counts.
    pub fn answered(&self, status: u16) {
        self.0.end.lock().status = Some(status);
    }

    /// What an attempt or another part holds is over. `error`: why it did not serve.
    pub fn end(of: &mut Option<Self>, error: Option<&'static str>) {
        if let Some(span) = of.take() {
            span.ended(error);
        }
    }

    /// It is over, though others may still hold it. `error`: why it did not serve.
    pub fn ended(&self, error: Option<&'static str>) {
        let mut end = self.0.end.lock();
        if end.at.is_none() {
            end.at = Some(Instant::now());
            end.error = error;
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut end = std::mem::take(self.end.get_mut());
        if end.at.is_none() && matches!(self.what, What::Attempt { .. }) {
            end.error.get_or_insert(CANCELLED);
        }
        let ended = end.at.unwrap_or_else(Instant::now);
        {
            let mut running = self.trace.running.lock();
            if running.scope == self.id {
                running.scope = self.parent;
            }
        }
        let trace = self.trace.clone();
        trace.put_down(Step {
            id: self.id,
            parent: self.parent,
            what: self.what.clone(),
            began: trace.wall(self.began),
            took: ended.saturating_duration_since(self.began),
            end,
        });
    }
}

#[cfg(test)]
mod tests;
