//! What becomes of a body's bytes, whichever sources they come from (design P7, P8): what may be let go, what a wrong end
//! means for what was let go before it, and whose fault that is. Pure: the body around it has the sources.
//!
//! A digest that does not fit says that something is wrong, not what. The hash stands at the released offset, so another
//! source's bytes from there on are the test: if they make the digest right, only the end that was held back was wrong,
//! and nothing wrong was ever let go. If nobody's do, it is what was let go. Nothing but the rest is fetched twice.

use crate::relay::transfer::hold_back::{Fault, HoldBack};
use crate::topology::EndpointId;
use bytes::Bytes;

/// So many sources' ends may be wrong before the body is given up: two addresses of a tier may have one wrong copy, and
/// the next tier may have it of the same place.
const MOST_SUSPECTS: usize = 4;

/// One body, made of what one source after another sends.
#[derive(Debug)]
pub(crate) struct Reassembly {
    hold_back: HoldBack,
    /// Whose bytes come.
    current: Option<EndpointId>,
    /// They have a Content-Encoding: they may be others than the blob's, by their label.
    is_coded: bool,
    /// Whose bytes were let go, in order; who only offers another end to them after somebody was suspected is left out.
    released: Vec<EndpointId>,
    suspects: Vec<Suspect>,
    /// A source told the size of the whole. A manifest's word for it may be wrong, and then so is where the end was looked for:
    /// without another's rest that fits, nobody is known to be wrong.
    is_size_told: bool,
}

/// A source at whose end the digest was wrong.
#[derive(Debug)]
struct Suspect {
    who: EndpointId,
    /// It sent every byte so far: its bytes are wrong, whatever else comes.
    is_wrong: bool,
}

/// What the end of a source's bytes means, and who is known by it to have sent wrong ones.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// Everything fits: what is held may be let go.
    Proven(Vec<EndpointId>),
    /// It ended early: another source goes on.
    Short,
    /// The digest is wrong: perhaps only the end that was held back. Another source's is wanted.
    Doubtful(Vec<EndpointId>),
    /// What was let go is wrong.
    Wrong(Vec<EndpointId>),
}

// === impl Reassembly ===

impl Reassembly {
    pub(crate) fn new(hold_back: HoldBack) -> Self {
        Self {
            hold_back,
            current: None,
            is_coded: false,
            released: Vec::new(),
            suspects: Vec::new(),
            is_size_told: false,
        }
    }

    /// A source goes on at the released offset; what is held of another is thrown away. `tells_total`: it told the size of the
    /// whole. `is_coded`: its bytes have a Content-Encoding, so that wrong ones are held against nobody.
    pub(crate) fn begins(&mut self, who: EndpointId, tells_total: bool, is_coded: bool) {
        self.is_size_told |= tells_total;
        self.hold_back.discard_held();
        (self.current, self.is_coded) = (Some(who), is_coded);
    }

    /// The source broke; what is held of it is thrown away.
    pub(crate) fn breaks(&mut self) {
        self.hold_back.discard_held();
        self.current = None;
    }

    /// Takes bytes of the source in; `Some`: it has sent too many.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Option<Conclusion> {
        let pushed = self.hold_back.push(chunk);
        pushed.err().map(|_| self.suspect())
    }

    /// The next bytes that may be let go.
    pub(crate) fn release(&mut self) -> Option<Bytes> {
        let chunk = self.hold_back.release()?;
        let is_new = self.current.is_some() && self.released.last() != self.current.as_ref();
        if is_new && (!self.is_in_doubt() || self.released.is_empty()) {
            self.released.extend(self.current.clone());
        }
        Some(chunk)
    }

    /// The source ended, or everything is there. `is_unannounced`: it did not say that this is the end.
    pub(crate) fn conclude(&mut self, is_unannounced: bool) -> Conclusion {
        match self.hold_back.finish() {
            Ok(()) => {
                // The rest of somebody else made it right: theirs was wrong.
                let suspects = std::mem::take(&mut self.suspects).into_iter();
                let new = suspects.filter(|suspect| !suspect.is_wrong);
                Conclusion::Proven(new.map(|suspect| suspect.who).collect())
            }
            Err(Fault::TooShort) => Conclusion::Short,
            // Of unknown length: it may go on.
            Err(Fault::WrongDigest) if is_unannounced && self.hold_back.length().is_none() => {
                Conclusion::Short
            }
            Err(Fault::TooLong | Fault::WrongDigest) => self.suspect(),
        }
    }

    /// Whether what was let go may be wrong.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(crate) fn hold_back(&self) -> &HoldBack {
        &self.hold_back
    }

    /// Whose bytes the body is made of.
    pub(crate) fn sources(&self) -> Vec<EndpointId> {
        let last = self.current.iter();
        let last = last.filter(|last| !self.released.contains(last));
        self.released.iter().chain(last).cloned().collect()
    }

    /// Another source told the size that nobody knew.
    pub(crate) fn learn_length(&mut self, length: u64) {
        self.hold_back.learn_length(length);
    }

    fn suspect(&mut self) -> Conclusion {
        let is_broken = self.hold_back.ends_in_an_error();
        self.hold_back.discard_held();
        if is_broken {
            // Its own source broke, and it says so in the body.
            return Conclusion::Short;
        }
        let Some(who) = self.current.take() else {
            return Conclusion::Wrong(self.unproven());
        };
        let is_size_known = self.is_size_told || self.hold_back.length().is_none();
        let is_alone = is_size_known && self.released.iter().all(|other| *other == who);
        let mut wrong = Vec::new();
        if is_alone && !self.is_coded {
            wrong.push(who.clone());
        }
        let is_wrong = is_alone || self.is_coded;
        self.suspects.push(Suspect { who, is_wrong });
        if !self.hold_back.is_hashed() || self.suspects.len() >= MOST_SUSPECTS {
            wrong.extend(self.unproven());
            return Conclusion::Wrong(wrong);
        }
        Conclusion::Doubtful(wrong)
    }

    /// Whom to penalise where nothing tells whose bytes are wrong: everybody whose bytes were let go and the first whose end did
    /// not fit, unless somebody is known to be wrong. Who only offered another end may be right.
    pub(crate) fn unproven(&mut self) -> Vec<EndpointId> {
        let is_known = self.suspects.iter().any(|suspect| suspect.is_wrong);
        let is_known = is_known || (!self.is_size_told && self.hold_back.length().is_some());
        let first = self.suspects.first().map(|suspect| suspect.who.clone());
        let mut wrong = Vec::new();
        if !is_known {
            for who in std::mem::take(&mut self.released).into_iter().chain(first) {
                if !wrong.contains(&who) {
                    wrong.push(who);
                }
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests;
