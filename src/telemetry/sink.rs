//! Where the writer thread writes: journald, by tracing-journald, or lines on stderr. journald's socket is looked for
//! again each second; meanwhile the records are lines.

use super::emit::Emitter;
use super::record::Entry;
use super::{ACCESS, EVENT};
use parking_lot::Mutex;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::dispatcher::{Dispatch, with_default};
use tracing::{Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::{self as lines, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// Where journald listens; tracing-journald knows no other place.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Between two attempts to reach journald.
const RETRY: Duration = Duration::from_secs(1);

/// `SYSLOG_IDENTIFIER`
const IDENTIFIER: &str = "harbor-pilot";

/// Where records go. Made by whoever starts the log, used by the writer thread alone.
pub(super) struct Sink {
    journald: Journald,
    lines: Lines,
    emitter: Emitter,
}

/// journald, as far as it is wanted and there.
enum Journald {
    NotWanted,
    Absent { tried: Option<Instant> },
    There(Dispatch),
}

/// Lines for people at a terminal, or for a file that stderr was redirected to.
struct Lines {
    dispatch: Dispatch,
    buffer: Buffer,
    out: Box<dyn Write + Send>,
}

/// A batch of lines on its way.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

// === impl Sink ===

impl Sink {
    /// journald, and stderr while it cannot be reached.
    pub(super) fn journald() -> Self {
        Self {
            journald: Journald::Absent { tried: None },
            ..Self::lines(Box::new(io::stderr()), false)
        }
    }

    /// Lines alone, with colours or without.
    pub(super) fn lines(out: Box<dyn Write + Send>, color: bool) -> Self {
        Self {
            journald: Journald::NotWanted,
            lines: Lines::new(out, color),
            emitter: Emitter::default(),
        }
    }

    /// Writes a batch; `began` is called before each entry. Waits as long as the log does not read. Returns how many
    /// entries were lost.
    pub(super) fn write(&mut self, batch: &[Entry], began: impl Fn()) -> u64 {
        // Looking for journald may wait for it as well.
        began();
        let emitter = &mut self.emitter;
        let mut emit_all = || {
            for entry in batch {
                began();
                emitter.emit(entry);
            }
        };
        let records = || batch.iter().filter(|entry| entry.is_record()).count() as u64;
        let Some(dispatch) = self.journald.ready(Instant::now()) else {
            let written = self.lines.write(emit_all);
            return if written.is_ok() { 0 } else { records() };
        };
        with_default(dispatch, &mut emit_all);
        // The layer does not say that nobody took a record.
        if is_bound() {
            return 0;
        }
        self.journald = Journald::Absent { tried: None };
        records()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.journald {
            Journald::NotWanted => "Lines",
            Journald::Absent { .. } => "Lines, journald is not there",
            Journald::There(_) => "Journald",
        })
    }
}

/// Somebody listens where journald does. A datagram socket connects without waiting, and without a word to the other.
fn is_bound() -> bool {
    UnixDatagram::unbound().is_ok_and(|socket| socket.connect(SOCKET).is_ok())
}

/// A subscriber that has this layer. Records reach it past every filter, which were asked before the queue; what it lets
/// through tells tracing that nothing but records is wanted here, so that no other event costs more because of it.
fn subscriber<L>(layer: L) -> impl Subscriber + Send + Sync
where
    L: Layer<Registry> + Send + Sync,
{
    let records = Targets::new()
        .with_target(ACCESS, Level::INFO)
        .with_target(EVENT, Level::INFO);
    Registry::default().with(layer.and_then(records))
}

// === impl Journald ===

impl Journald {
    /// journald, looked for again where it was not there.
    fn ready(&mut self, now: Instant) -> Option<&Dispatch> {
        match self {
            Self::There(_) if is_bound() => {}
            Self::NotWanted => {}
            Self::There(_) => *self = Self::Absent { tried: None },
            Self::Absent { tried } => {
                let is_due = tried.is_none_or(|at| now.saturating_duration_since(at) >= RETRY);
                if is_due {
                    *self = match tracing_journald::Layer::new() {
                        Ok(layer) => Self::There(Dispatch::new(subscriber(configured(layer)))),
                        Err(_) => Self::Absent { tried: Some(now) },
                    };
                }
            }
        }
        match self {
            Self::There(dispatch) => Some(dispatch),
            Self::Absent { .. } | Self::NotWanted => None,
        }
    }
}

/// Fields without a prefix, and priorities as `journalctl -p info` means them.
fn configured(layer: tracing_journald::Layer) -> tracing_journald::Layer {
    layer
        .with_field_prefix(None)
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_priority_mappings(PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        })
}

// === impl Lines ===

impl Lines {
    fn new(out: Box<dyn Write + Send>, color: bool) -> Self {
        let buffer = Buffer::default();
        // The sentence says it all; the other fields are for the journal.
        let fields = debug_fn(|line, field, value| match field.name() {
            "event" => write!(line, "{value:?}: "),
            "message" => write!(line, "{value:?}"),
            "request_id" => write!(line, " request={value:?}"),
            _ => Ok(()),
        });
        let layer = lines::layer()
            .fmt_fields(fields)
            .with_ansi(color)
            .with_writer(buffer.clone());
        Self {
            dispatch: Dispatch::new(subscriber(layer)),
            buffer,
            out,
        }
    }

    /// One write for a whole batch.
    fn write(&mut self, emit_all: impl FnMut()) -> io::Result<()> {
        with_default(&self.dispatch, emit_all);
        let mut bytes = self.buffer.0.lock();
        let written = self.out.write_all(&bytes).and_then(|()| self.out.flush());
        bytes.clear();
        written
    }
}

// === impl Buffer ===

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Buffer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
