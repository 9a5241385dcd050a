//! Where a body ends: after its length, with its last chunk, or with the connection (RFC 9112, 6.3 and 7.1).

use super::Wrong;
use bytes::{Buf, Bytes, BytesMut};

/// Pieces up to here are copied out of the buffer, which then stays whole for the next answer.
const COPIED: usize = 8 * 1024;

/// The longest line of a chunk's size with its extensions, and all trailers together, in bytes.
const LINES: usize = 16 * 1024;

/// What tells a body's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are to come.
    Length(u64),
    /// The chunk of size zero.
    Chunked(Chunk),
    /// The end of the connection.
    UntilClose,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The line with a chunk's size.
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The line end behind its data.
    Close,
    /// Fields behind the last chunk, which nobody asked for.
    Trailers,
    Over,
}

/// What could be taken out of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// The body's next bytes, at least one.
    Data(Bytes),
    /// Nothing until more is received.
    More,
    /// The body is over.
    End,
}

// === impl Framing ===

impl Framing {
    /// A body in chunks, at its beginning.
    #[must_use]
    pub fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    /// Takes the next piece from the front of what was received.
    ///
    /// # Errors
    /// [`Wrong`]: what was received is not a chunk.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, Wrong> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(left) => Ok(data(left, buffer)),
            Self::UntilClose => Ok(data(&mut { u64::MAX }, buffer)),
            Self::Chunked(chunk) => chunk.take(buffer),
        }
    }

    /// Whether the end has been reached.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Over))
    }

    /// How many bytes are to come, where that is known.
    #[must_use]
    pub fn left(self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(left),
            Self::Chunked(Chunk::Over) => Some(0),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }
}

// === impl Chunk ===

impl Chunk {
    fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, Wrong> {
        loop {
            let next = match self {
                Self::Size => size(buffer)?,
                Self::Data(left) => {
                    let piece = data(left, buffer);
                    if *left == 0 {
                        *self = Self::Close;
                    }
                    return Ok(piece);
                }
                Self::Close => line_end(buffer)?,
                Self::Trailers => trailers(buffer)?,
                Self::Over => return Ok(Piece::End),
            };
            let Some(next) = next else {
                return Ok(Piece::More);
            };
            *self = next;
        }
    }
}

/// As much of the body as is there.
fn data(left: &mut u64, buffer: &mut BytesMut) -> Piece {
    let length = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    if length == 0 {
        return Piece::More;
    }
    *left = left.saturating_sub(length as u64);
    if length > COPIED {
        return Piece::Data(buffer.split_to(length).freeze());
    }
    let copy = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
    buffer.advance(length);
    Piece::Data(copy)
}

/// The line with a chunk's size.
fn size(buffer: &mut BytesMut) -> Result<Option<Chunk>, Wrong> {
    let Some(first) = buffer.first() else {
        return Ok(None);
    };
    // httparse takes a line without any digit for a zero.
    let parsed = first
        .is_ascii_hexdigit()
        .then(|| httparse::parse_chunk_size(buffer));
    match parsed {
        Some(Ok(httparse::Status::Complete((length, size)))) if length <= LINES => {
            // httparse takes an extension with a line feed in it, behind which others may see the chunk's data.
            let mut line = buffer.iter().take(length.saturating_sub(2));
            if line.any(|byte| *byte == b'\n') {
                return Err(Wrong::Syntax("a line feed in a chunk extension"));
            }
            buffer.advance(length);
            Ok(Some(match size {
                0 => Chunk::Trailers,
                size => Chunk::Data(size),
            }))
        }
        Some(Ok(httparse::Status::Partial)) if buffer.len() < LINES => Ok(None),
        Some(Ok(_)) => Err(Wrong::Syntax("a chunk size that does not end")),
        Some(Err(_)) | None => Err(Wrong::Syntax("an invalid chunk size")),
    }
}

/// The line end behind a chunk's data.
fn line_end(buffer: &mut BytesMut) -> Result<Option<Chunk>, Wrong> {
    match buffer.get(..2) {
        Some(b"\r\n") => {
            buffer.advance(2);
            Ok(Some(Chunk::Size))
        }
        None if matches!(buffer.first(), None | Some(b'\r')) => Ok(None),
        _ => Err(Wrong::Syntax("a chunk that is longer than its size")),
    }
}

/// The fields behind the last chunk, up to the empty line.
fn trailers(buffer: &mut BytesMut) -> Result<Option<Chunk>, Wrong> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    match httparse::parse_headers(buffer, &mut fields) {
        // httparse takes a line feed alone for a line's end; RFC 9112, 7.1 has none, and whoever reads on sees another message.
        Ok(httparse::Status::Complete((length, _)))
            if has_bare_line_feed(buffer.get(..length).unwrap_or_default()) =>
        {
            Err(Wrong::Syntax("trailers with a line feed alone"))
        }
        Ok(httparse::Status::Complete((length, _))) if length <= LINES => {
            buffer.advance(length);
            Ok(Some(Chunk::Over))
        }
        Ok(httparse::Status::Partial) if buffer.len() < LINES => Ok(None),
        Ok(_) => Err(Wrong::Syntax("trailers that do not end")),
        Err(error) => Err(Wrong::Parse(error)),
    }
}

fn has_bare_line_feed(lines: &[u8]) -> bool {
    let before = std::iter::once(&0).chain(lines);
    let mut pairs = before.zip(lines);
    pairs.any(|(before, byte)| *byte == b'\n' && *before != b'\r')
}
