//! Content digests (OCI image spec, descriptor.md "Digests") and the running hash that proves them.

use aws_lc_rs::digest as hash;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A digest such as `sha256:e3b0…`: registered algorithm, lower-case hex, the algorithm's exact length.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Arc<str>,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Algorithm {
    Sha256,
    Sha512,
}

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sha256 or sha512 digest in lower-case hexadecimal")]
pub struct InvalidDigest;

/// A running hash that can be copied, so that the state at an offset is kept while later bytes are tried.
#[derive(Clone)]
pub struct Hasher {
    context: hash::Context,
    algorithm: Algorithm,
}

// === impl Digest ===

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// `algorithm:hex`, as on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, to be kept.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        self.text.clone()
    }

    /// Whether its algorithm is SHA-256.
    #[must_use]
    pub fn is_sha256(&self) -> bool {
        self.algorithm == Algorithm::Sha256
    }

    /// A hasher of this digest's algorithm.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    /// Whether `bytes` are what this digest names.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }

    /// Whether this is the digest of zero bytes: the only blob for which `Content-Length: 0` is true
    /// (harbor-facts 3.4).
    #[must_use]
    pub fn is_of_nothing(&self) -> bool {
        self.matches(&[])
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(InvalidDigest)?;
        let (algorithm, digits) = match algorithm {
            "sha256" => (Algorithm::Sha256, 64),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(InvalidDigest),
        };
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != digits || !hex.bytes().all(lower_hex) {
            return Err(InvalidDigest);
        }
        Ok(Self {
            text: text.into(),
            algorithm,
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Hasher ===

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::Sha256 => &hash::SHA256,
            Algorithm::Sha512 => &hash::SHA512,
        };
        Self {
            context: hash::Context::new(kind),
            algorithm,
        }
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of everything taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        /// `sha512:` with its digits.
        const LONGEST: usize = 135;
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let name = match self.algorithm {
            Algorithm::Sha256 => "sha256:",
            Algorithm::Sha512 => "sha512:",
        };
        let hash = self.context.finish();
        let mut text = String::with_capacity(LONGEST);
        text.push_str(name);
        let digit = |half: u8| char::from(DIGITS.get(usize::from(half)).copied().unwrap_or(b'?'));
        for byte in hash.as_ref() {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        Digest {
            text: text.into(),
            algorithm: self.algorithm,
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}
