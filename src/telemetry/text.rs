//! Texts that many records share.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A shared text, or none, which reads as an empty one. `Arc<str>` has an empty one as well, but all threads would count their
/// uses of it in the same place.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Option<Arc<str>>);

// === impl Text ===

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self(Some(text))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
