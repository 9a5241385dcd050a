//! A source of a case: how it answers for the one blob, made by dice.

use crate::support::{Blob, Fault, Framing, Recorded, Reply, random_bytes};
use harbor_pilot::oci::{RangeSpec, Ranges};
use std::time::Duration;

/// splitmix64 again: a case is its seed.
pub struct Dice(pub u64);

impl Dice {
    /// 0 … limit − 1; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let bytes = random_bytes(self.0, 8);
        self.0 = u64::from_le_bytes(bytes.try_into().unwrap());
        usize::try_from(self.0 % (limit.max(1) as u64)).unwrap()
    }
}

/// What it does; offsets are below the blob's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Right,
    RightChunked,
    RangeIgnored,
    WrongContentRange,
    /// Another part than the one asked for, honestly labelled.
    OtherPart,
    WrongDigest,
    CorruptAt(usize),
    ShortChunked(usize),
    ShortLength(usize),
    ErrorTail(usize),
    Empty,
    Longer(usize),
    Shorter(usize),
    Status(u16),
    Html,
    Slow,
    ResetAt(usize),
    CloseAt(usize),
    SilentAt(usize),
    NoAnswer,
    Closed,
    Dead,
}

/// The manner, with the size of its pieces.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    manner: Manner,
    piece: usize,
}

impl Source {
    pub fn of(dice: &mut Dice, size: usize) -> Self {
        // At an edge as often as anywhere.
        let at = match dice.below(6) {
            0 => 0,
            1 => size.saturating_sub(1),
            2 => size.saturating_sub(1 + dice.below(200)),
            3 => (32 * 1024).min(size.saturating_sub(1)),
            _ => dice.below(size),
        };
        let manner = match dice.below(27) {
            0..=2 => Manner::Right,
            3 => Manner::RightChunked,
            4 => Manner::RangeIgnored,
            5 => Manner::WrongContentRange,
            6 => Manner::WrongDigest,
            7 => Manner::CorruptAt(at),
            8 => Manner::ShortChunked(at),
            9 => Manner::ShortLength(at),
            10 => Manner::ErrorTail(at),
            11 => Manner::Empty,
            12 => Manner::Longer(1 + dice.below(300)),
            13 => Manner::Shorter(at),
            14 => Manner::Status(404),
            15 => Manner::Status(503),
            16 => Manner::Status(500),
            17 => Manner::Status(429),
            18 => Manner::Html,
            19 => Manner::Slow,
            20 => Manner::ResetAt(at),
            21 => Manner::CloseAt(at),
            22 => Manner::SilentAt(at),
            23 => Manner::NoAnswer,
            24 => Manner::Closed,
            25 => Manner::OtherPart,
            _ => Manner::Dead,
        };
        // Nothing is cut from, and nothing is changed in, a blob of no bytes.
        let offsets = matches!(
            manner,
            Manner::WrongDigest
                | Manner::CorruptAt(_)
                | Manner::ShortChunked(_)
                | Manner::ShortLength(_)
                | Manner::Shorter(_)
                | Manner::Empty
        );
        let manner = if size == 0 && offsets {
            Manner::Status(404)
        } else {
            manner
        };
        Self {
            manner,
            piece: Self::some_piece(dice),
        }
    }

    pub fn good(dice: &mut Dice) -> Self {
        Self {
            manner: Manner::Right,
            piece: Self::some_piece(dice),
        }
    }

    fn some_piece(dice: &mut Dice) -> usize {
        [
            64 * 1024,
            32 * 1024,
            16 * 1024,
            4096,
            500 + dice.below(20_000),
        ][dice.below(5)]
    }

    /// Has the whole blob, and gives it.
    pub fn is_good(&self) -> bool {
        matches!(
            self.manner,
            Manner::Right | Manner::RightChunked | Manner::RangeIgnored
        )
    }

    /// Gives a part of it too. Without any length there is nothing to say in a Content-Range.
    pub fn is_good_for_ranges(&self, size_is_known: bool) -> bool {
        match self.manner {
            Manner::Right | Manner::RangeIgnored => true,
            Manner::RightChunked => size_is_known,
            _ => false,
        }
    }

    /// What comes from it may be wrong, and nobody can know before it was sent.
    pub fn sends_wrong_bytes(&self) -> bool {
        matches!(
            self.manner,
            Manner::WrongDigest
                | Manner::CorruptAt(_)
                | Manner::ShortChunked(_)
                | Manner::ErrorTail(_)
                | Manner::Longer(_)
                | Manner::Shorter(_)
        )
    }

    pub fn lies_about_the_length(&self) -> bool {
        matches!(self.manner, Manner::Longer(_) | Manner::Shorter(_))
    }

    pub fn stalls(&self) -> bool {
        matches!(self.manner, Manner::SilentAt(_) | Manner::NoAnswer)
    }

    /// For `FakeRegistry::script`: its answers for the blob; everything else is as usual.
    pub fn script(self, blob: &Blob) -> impl FnMut(&Recorded) -> Option<Reply> + Send + use<> {
        let blob = blob.clone();
        move |request| {
            let asked = request.path.ends_with(blob.digest.as_str());
            asked.then(|| {
                // None of this is containerd's business (design P4).
                self.answer(&blob, request)
                    .piece(self.piece)
                    .header("Set-Cookie", "sid=1")
                    .header("WWW-Authenticate", "Basic realm=\"x\"")
            })
        }
    }

    fn answer(self, blob: &Blob, request: &Recorded) -> Reply {
        let body = &blob.body;
        let right = || ranged(request, body.clone());
        match self.manner {
            Manner::Right => right(),
            Manner::RightChunked => whole(body.clone()).framing(Framing::Chunked),
            Manner::RangeIgnored => whole(body.clone()),
            Manner::WrongContentRange => right().fault(Fault::WrongContentRange),
            Manner::OtherPart => {
                let part = asked_range(request);
                match part.and_then(|part| part.within(body.len() as u64)) {
                    Some(part) if part.first < part.last => {
                        let later = format!("bytes={}-{}", part.first + 1, part.last);
                        let mut asked = request.clone();
                        asked.headers.retain(|(name, _)| name != "range");
                        asked.headers.push(("range".to_owned(), later));
                        ranged(&asked, body.clone())
                    }
                    _ => right(),
                }
            }
            Manner::WrongDigest => ranged(request, random_bytes(99, body.len())),
            Manner::CorruptAt(at) => {
                let mut wrong = body.clone();
                wrong[at] ^= 1;
                ranged(request, wrong)
            }
            Manner::ShortChunked(at) => whole(body[..at].to_vec()).framing(Framing::Chunked),
            Manner::ShortLength(at) => whole(body.clone()).fault(Fault::CloseAt(at)),
            Manner::ErrorTail(at) => {
                let mut broken = body[..at.min(body.len())].to_vec();
                broken.extend_from_slice(
                    br#"{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}"#,
                );
                whole(broken).framing(Framing::Chunked)
            }
            Manner::Empty => whole(Vec::new()),
            Manner::Longer(more) => {
                let mut long = body.clone();
                long.extend(random_bytes(5, more));
                ranged(request, long)
            }
            Manner::Shorter(at) => ranged(request, body[..at].to_vec()),
            Manner::Status(status) => Reply::error(status, "UNKNOWN", "no"),
            Manner::Html => Reply::new(200).body("text/html", "<html>please log in</html>"),
            Manner::Slow => right().fault(Fault::SlowFirstByte(Duration::from_millis(2500))),
            Manner::ResetAt(at) => right().fault(Fault::ResetAt(at)),
            Manner::CloseAt(at) => right().fault(Fault::CloseAt(at)),
            Manner::SilentAt(at) => right().fault(Fault::SilentAt(at)),
            Manner::NoAnswer => right().fault(Fault::NoAnswer),
            Manner::Closed => right().fault(Fault::CloseInsteadOfAnswer),
            // Port 9 (discard) is nobody's on loopback: refused.
            Manner::Dead => Reply::to(307, "http://127.0.0.1:9/cdn/x?signature=1"),
        }
    }
}

fn whole(body: Vec<u8>) -> Reply {
    Reply::new(200).body("application/octet-stream", body)
}

/// The one range that a request asks for from an offset.
fn asked_range(request: &Recorded) -> Option<RangeSpec> {
    let range = Ranges::parse(request.header("range")?)?.single()?;
    matches!(range, RangeSpec::From { .. }).then_some(range)
}

fn ranged(request: &Recorded, body: Vec<u8>) -> Reply {
    let Some(range) = asked_range(request) else {
        return whole(body);
    };
    let total = body.len() as u64;
    let Some(part) = range.within(total) else {
        return Reply::new(416).header("Content-Range", format!("bytes */{total}"));
    };
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let bytes = body[at(part.first)..=at(part.last)].to_vec();
    Reply::new(206)
        .header("Content-Range", part.header())
        .body("application/octet-stream", bytes)
}
