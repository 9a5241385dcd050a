//! The error JSON of the OCI distribution spec ("Error Codes").

use crate::printable::blanked;
use crate::printable::words;
use serde_json::Value;
use std::fmt;

words! {
    /// The specification's error codes that this endpoint uses.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ErrorCode {
        /// The manifest is not known.
        ManifestUnknown = "MANIFEST_UNKNOWN",
        /// The blob is not known.
        BlobUnknown = "BLOB_UNKNOWN",
        /// The repository or registry is not known here.
        NameUnknown = "NAME_UNKNOWN",
        /// The repository name is malformed.
        NameInvalid = "NAME_INVALID",
        /// The digest or tag is malformed.
        DigestInvalid = "DIGEST_INVALID",
        /// The registry does not let this agent have it.
        Denied = "DENIED",
        /// The method or endpoint is not offered.
        Unsupported = "UNSUPPORTED",
        /// The client asks too often.
        TooManyRequests = "TOOMANYREQUESTS",
        /// No source could answer now. Not of the specification's list, as its section allows; Harbor and
        /// distribution use the same word.
        Unavailable = "UNAVAILABLE",
    }
}

/// The longest message, in bytes (docs/observability.md): containerd shows it in the pod's events.
const MAX_MESSAGE: usize = 256;

/// The body `{"errors":[{"code":…,"message":…}]}`. The message becomes one line of at most 256 bytes.
#[must_use]
pub fn error_body(code: ErrorCode, message: &str) -> String {
    let message = one_line(message);
    serde_json::json!({"errors": [{"code": code.word(), "message": message}]}).to_string()
}

/// What somebody else's error body states first. Its words are those of others.
#[derive(Debug)]
pub struct StatedError {
    /// Empty where there is none.
    pub code: String,
    /// Empty where there is none.
    pub message: String,
}

impl fmt::Display for StatedError {
    /// `MANIFEST_UNKNOWN: manifest unknown`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = match self.code.is_empty() || self.message.is_empty() {
            true => "",
            false => ": ",
        };
        write!(f, "{}{between}{}", self.code, self.message)
    }
}

/// Reads a body of errors; `None`: it is none.
#[must_use]
pub fn stated_error(body: &[u8]) -> Option<StatedError> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let error = document.pointer("/errors/0")?;
    let word = |key| error.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(StatedError {
        code: word("code").to_owned(),
        message: word("message").to_owned(),
    })
}

/// Without characters that are not printable: it is shown to whoever asks for the pod. A long text ends in `…`.
fn one_line(message: &str) -> String {
    const MORE: &str = "…";
    let mut line: String = blanked(message).collect();
    if line.len() > MAX_MESSAGE {
        line.truncate(line.floor_char_boundary(MAX_MESSAGE.saturating_sub(MORE.len())));
        line.push_str(MORE);
    }
    line
}
