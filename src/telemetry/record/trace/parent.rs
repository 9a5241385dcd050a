//! W3C Trace Context: which trace a request belongs to, and which span of it.

use std::fmt;

/// The longest `tracestate` that is passed on, in bytes (W3C Trace Context, 3.3.1.5).
const MAX_STATE: usize = 512;

/// `traceparent`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Of the whole trace; never 0.
    pub trace_id: u128,
    /// Of one span; never 0.
    pub span_id: u64,
    /// Whoever sent it exports its spans.
    pub is_sampled: bool,
}

// === impl TraceParent ===

impl TraceParent {
    /// Reads the header; `None`: it is not valid, and a new trace begins.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (text, later) = (text.get(..55)?, text.get(55..)?);
        let mut parts = text.split('-');
        let [version, trace, span, flags] = [(); 4].map(|()| parts.next());
        let version = hex(version?, 2)?;
        // A later version may have more.
        let fits = later.is_empty() || (version > 0 && later.starts_with('-'));
        let parent = Self {
            trace_id: hex(trace?, 32)?,
            span_id: u64::try_from(hex(span?, 16)?).ok()?,
            is_sampled: hex(flags?, 2)? & 1 == 1,
        };
        let is_valid = fits && version != 0xff && parent.trace_id != 0 && parent.span_id != 0;
        (is_valid && parts.next().is_none()).then_some(parent)
    }

    /// What may be passed on of the `tracestate` fields that stood beside it, as one.
    #[must_use]
    pub fn state<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Box<str>> {
        let state: Vec<&str> = fields.collect();
        let state = state.join(",");
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) || byte == b'\t';
        let may_pass = !state.is_empty() && state.len() <= MAX_STATE;
        (may_pass && state.bytes().all(is_plain)).then(|| state.into())
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span, flags) = (self.trace_id, self.span_id, u8::from(self.is_sampled));
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

/// So many hexadecimal digits in lower case.
fn hex(text: &str, length: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_hex = text.len() == length && text.bytes().all(is_digit);
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}
