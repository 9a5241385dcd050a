//! journald's native protocol: field encoding and the datagram socket. Only the writer thread comes here; it
//! may block here as long as journald does (design H6).
//!
//! Protocol: systemd's documentation "Native Journal Protocol".

use super::record::{AccessRecord, RequestOutcome, StateChange};
use super::sentence;
use super::writer::Diagnostic;
use crate::printable::printable;
use std::fmt::Write as _;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tracing::Level;

/// Where journald listens.
pub const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";

/// A field of names, in bytes. With [`TEXT_LIMIT`] a datagram stays below 64 KiB: 20 × 2 + 2 × 8 KiB.
const FIELD_LIMIT: usize = 2 * 1024;

/// `MESSAGE`, `ERROR` and `REASON`, in bytes.
const TEXT_LIMIT: usize = 8 * 1024;

/// `ENOBUFS`: the kernel has no memory for the datagram now. std has no kind for it.
const ENOBUFS: i32 = 105;

/// The datagram of one record, built in a buffer that is used again.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    bytes: Vec<u8>,
    text: String,
}

/// The socket to journald.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    socket: UnixDatagram,
}

/// syslog's number of a level; Informational is 6, so that journald's default view shows access records.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// The longest start of `text` of at most `limit` bytes that ends between characters.
fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

// === impl Datagram ===

impl Datagram {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Encodes an access record; empty values are left out.
    pub(super) fn access(&mut self, record: &AccessRecord) {
        self.begin(record.level());
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        sentence::access(&mut text, record);
        self.text("MESSAGE", &text);
        self.text = text;
        self.field("REQUEST_ID", &record.request_id);
        if let Some(registry) = &record.registry {
            self.field("REGISTRY", registry.as_str());
        }
        self.field("REPOSITORY", &record.repository);
        self.field("REFERENCE", &record.reference);
        self.field("KIND", record.kind);
        self.field("METHOD", record.method);
        self.number("STATUS", record.status.into());
        self.field("OUTCOME", record.outcome.word());
        self.field("TIER", &record.tier);
        self.field("ENDPOINT", &record.endpoint);
        self.number("ATTEMPTS", record.attempts.into());
        self.number("RESUMES", record.resumes.into());
        self.number("BYTES", record.bytes.into());
        if let Some(time) = record.time_to_first_byte {
            self.number("TTFB_MS", time.as_millis());
        }
        self.number("DURATION_MS", record.duration.as_millis());
        self.number("GENERATION", record.generation.into());
        self.text("ERROR", &record.error);
    }

    /// Encodes a state change.
    pub(super) fn event(&mut self, change: &StateChange) {
        self.begin(change.event.level());
        self.one_line_message(&change.message);
        self.field("MESSAGE_ID", change.event.message_id());
        self.field("EVENT", change.event.word());
        self.field("TIER", change.tier.as_deref().unwrap_or_default());
        self.field("ENDPOINT", change.endpoint.as_deref().unwrap_or_default());
        self.text("REASON", &change.reason);
    }

    /// Encodes a diagnostic.
    pub(super) fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        self.begin(diagnostic.level);
        self.one_line_message(&diagnostic.message);
        self.field("TARGET", diagnostic.target);
    }

    /// Encodes a sum of refused requests.
    pub(super) fn refused(&mut self, count: u64) {
        self.begin(Level::INFO);
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        sentence::refused(&mut text, count);
        self.text("MESSAGE", &text);
        self.text = text;
        self.field("OUTCOME", RequestOutcome::Refused.word());
        self.number("COUNT", count.into());
    }

    fn begin(&mut self, level: Level) {
        self.bytes.clear();
        self.field("SYSLOG_IDENTIFIER", "harbor-pilot");
        self.field("PRIORITY", priority(level));
    }

    /// journalctl shows a message with control characters as "blob data", so they are escaped.
    fn one_line_message(&mut self, message: &str) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        sentence::one_line(&mut text, message);
        self.text("MESSAGE", &text);
        self.text = text;
    }

    fn number(&mut self, name: &str, value: u128) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // Writing into a String cannot fail.
        let _ = write!(text, "{value}");
        self.field(name, &text);
        self.text = text;
    }

    fn field(&mut self, name: &str, value: &str) {
        self.encode(name, cut(&printable(value), FIELD_LIMIT));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.encode(name, cut(&printable(value), TEXT_LIMIT));
    }

    fn encode(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // Name, line end, length as 64-bit little endian, value: a value cannot forge a field.
            self.bytes.push(b'\n');
            let length = value.len() as u64;
            self.bytes.extend_from_slice(&length.to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

// === impl Socket ===

impl Socket {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
        })
    }

    /// Sends one datagram, waiting as long as journald does not read. `false`: it is lost.
    pub(super) fn send(&mut self, datagram: &[u8]) -> bool {
        let mut reconnected = false;
        loop {
            let Err(error) = self.socket.send(datagram) else {
                return true;
            };
            let no_room = error.raw_os_error() == Some(ENOBUFS);
            if error.kind() == io::ErrorKind::WouldBlock || no_room {
                thread::sleep(Duration::from_millis(20));
            } else if error.kind() != io::ErrorKind::Interrupted {
                // journald was replaced, or is away: once more on a new socket, then this record is lost.
                if reconnected {
                    return false;
                }
                reconnected = true;
                match Self::connect(&self.path) {
                    Ok(fresh) => *self = fresh,
                    Err(_) => return false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
