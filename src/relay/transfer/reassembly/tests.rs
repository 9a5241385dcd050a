//! The promises of reassembly, by example and by property.

use super::*;
use crate::oci::Digest;
use crate::relay::transfer::hold_back::HELD_BACK;
use crate::topology::SourceId;
use proptest::prelude::*;
use std::net::SocketAddr;

/// A source as it is: what it would send of the whole, and whether its connection breaks there.
#[derive(Clone, Debug)]
struct Script {
    manner: Manner,
    chunk: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Right,
    /// One byte is another one.
    CorruptAt(usize),
    /// Random bytes of the right length.
    Other,
    /// Breaks after so many right bytes.
    BreaksAt(usize),
    /// Harbor's broken cold blob: so many right bytes, error JSON, a clean end.
    ErrorJsonAt(usize),
}

const JSON: &[u8] = br#"{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}"#;

impl Script {
    fn sends(&self, blob: &[u8]) -> Vec<u8> {
        match self.manner {
            Manner::Right => blob.to_vec(),
            Manner::CorruptAt(at) => {
                let mut bytes = blob.to_vec();
                bytes[at] ^= 1;
                bytes
            }
            Manner::Other => blob
                .iter()
                .map(|byte| byte.wrapping_mul(3) ^ 0x5a)
                .collect(),
            Manner::BreaksAt(at) => blob[..at].to_vec(),
            Manner::ErrorJsonAt(at) => [&blob[..at], JSON].concat(),
        }
    }
}

fn who(number: usize) -> EndpointId {
    let last = u8::try_from(number).unwrap();
    EndpointId {
        source: SourceId::Tier("replica".into()),
        address: SocketAddr::from(([192, 0, 2, last], 443)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Clean,
    Fin,
    Reset,
}

struct Played {
    end: End,
    got: Vec<u8>,
    penalised: Vec<EndpointId>,
    /// Bytes that came of all sources.
    fetched: usize,
}

/// Plays the sources in order, as the body does: each is asked from the released offset on.
fn play(blob: &[u8], sources: &[Script], knows_length: bool) -> Played {
    let length = knows_length.then_some(blob.len() as u64);
    let mut body = Reassembly::new(HoldBack::hashed(Digest::sha256(blob), length));
    let (mut got, mut penalised, mut fetched) = (Vec::new(), Vec::new(), 0);
    for (number, source) in sources.iter().enumerate() {
        let sent = source.sends(blob);
        let from = usize::try_from(body.hold_back().released()).unwrap();
        body.begins(who(number), true, false);
        let mut conclusion = None;
        for chunk in sent.get(from..).unwrap_or_default().chunks(source.chunk) {
            // A source is never read further than the length that is known.
            let held = usize::try_from(body.hold_back().received()).unwrap();
            let wanted = if knows_length {
                blob.len() - held
            } else {
                chunk.len()
            };
            let chunk = &chunk[..chunk.len().min(wanted)];
            fetched += chunk.len();
            conclusion = body.push(Bytes::copy_from_slice(chunk));
            while let Some(chunk) = body.release() {
                got.extend_from_slice(&chunk);
            }
            if conclusion.is_some() || body.hold_back().is_full() {
                break;
            }
        }
        let broke = matches!(source.manner, Manner::BreaksAt(_)) && !body.hold_back().is_full();
        if broke {
            body.breaks();
            continue;
        }
        match conclusion.unwrap_or_else(|| body.conclude(false)) {
            Conclusion::Proven(more) => {
                penalised.extend(more);
                while let Some(chunk) = body.release() {
                    got.extend_from_slice(&chunk);
                }
                return Played {
                    end: End::Clean,
                    got,
                    penalised,
                    fetched,
                };
            }
            Conclusion::Short => body.breaks(),
            Conclusion::Doubtful(more) => penalised.extend(more),
            Conclusion::Wrong(more) => {
                penalised.extend(more);
                return Played {
                    end: End::Reset,
                    got,
                    penalised,
                    fetched,
                };
            }
        }
    }
    let end = if body.is_in_doubt() {
        penalised.extend(body.unproven());
        End::Reset
    } else {
        End::Fin
    };
    Played {
        end,
        got,
        penalised,
        fetched,
    }
}

fn scripts(manners: &[Manner]) -> Vec<Script> {
    let of = |manner: &Manner| Script {
        manner: *manner,
        chunk: 8192,
    };
    manners.iter().map(of).collect()
}

fn blob(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| u8::try_from(at * 31 % 251).unwrap())
        .collect()
}

#[test]
fn a_wrong_tail_is_fixed_by_the_next_source_and_only_the_tail_is_fetched_twice() {
    let blob = blob(500_000);
    let sources = scripts(&[Manner::CorruptAt(499_000), Manner::Right]);
    let played = play(&blob, &sources, true);
    assert_eq!(
        (played.end, &played.penalised[..]),
        (End::Clean, &[who(0)][..])
    );
    assert!(played.got == blob);
    let twice = played.fetched - blob.len();
    assert!(
        twice < usize::try_from(HELD_BACK).unwrap() + 2 * 8192,
        "{twice}"
    );
}

#[test]
fn a_wrong_prefix_is_given_up_when_nobodys_rest_makes_it_right() {
    let blob = blob(500_000);
    let wrong = Manner::CorruptAt(100_000);
    let right = Manner::Right;
    for others in [&[][..], &[right], &[right; 3], &[right; 9]] {
        let manners = [&[wrong], others].concat();
        let played = play(&blob, &scripts(&manners), true);
        assert_eq!(
            (played.end, &played.penalised[..]),
            (End::Reset, &[who(0)][..])
        );
        let more = played.fetched - blob.len();
        assert!(more <= 3 * 50_000, "three rests at most: {more}");
    }
}

/// Two addresses of a tier with one wrong copy, say.
#[test]
fn the_same_wrong_end_twice_is_fixed_by_the_third() {
    let blob = blob(500_000);
    let wrong = Manner::CorruptAt(499_999);
    let played = play(&blob, &scripts(&[wrong, wrong, Manner::Right]), true);
    assert_eq!(played.end, End::Clean);
    assert!(played.got == blob);
    assert_eq!(played.penalised, [who(0), who(1)]);
}

#[test]
fn error_json_at_an_unknown_length_is_fixed_too() {
    let blob = blob(500_000);
    let broken = Manner::ErrorJsonAt(300_000);
    let sources = scripts(&[broken, broken, Manner::Right]);
    let played = play(&blob, &sources, false);
    assert_eq!(played.end, End::Clean);
    assert!(played.got == blob);
    assert!(played.penalised.is_empty(), "its own sources broke");
}

#[test]
fn the_first_of_two_wrong_tails_is_not_the_last() {
    let blob = blob(200_000);
    let manners = [199_999, 199_998, 199_997].map(Manner::CorruptAt);
    let mut sources = scripts(&manners);
    let played = play(&blob, &sources, true);
    assert_eq!(
        (played.end, &played.penalised[..]),
        (End::Reset, &[who(0)][..])
    );
    sources.push(Script {
        manner: Manner::Right,
        chunk: 1000,
    });
    let played = play(&blob, &sources, true);
    assert_eq!(played.end, End::Clean);
    assert_eq!(played.penalised, [who(0), who(1), who(2)]);
}

#[test]
fn who_only_went_on_where_another_broke_is_penalised_with_it() {
    let blob = blob(200_000);
    let sources = scripts(&[Manner::BreaksAt(100_000), Manner::CorruptAt(120_000)]);
    let played = play(&blob, &sources, true);
    assert_eq!(
        (played.end, &played.penalised[..]),
        (End::Reset, &[who(0), who(1)][..])
    );
}

#[test]
fn what_broke_and_was_never_wrong_ends_with_fin() {
    let blob = blob(200_000);
    let sources = scripts(&[Manner::BreaksAt(100_000), Manner::BreaksAt(150_000)]);
    let played = play(&blob, &sources, true);
    assert_eq!((played.end, played.penalised.len()), (End::Fin, 0));
    assert!(blob.starts_with(&played.got));
}

fn manner(size: usize) -> impl Strategy<Value = Manner> {
    let tail = size.saturating_sub(30_000);
    prop_oneof![
        2 => Just(Manner::Right),
        2 => (tail..size).prop_map(Manner::CorruptAt),
        2 => (0..size).prop_map(Manner::CorruptAt),
        1 => Just(Manner::Other),
        3 => (0..size).prop_map(Manner::BreaksAt),
        2 => (0..size).prop_map(Manner::ErrorJsonAt),
    ]
}

fn body() -> impl Strategy<Value = (usize, Vec<Script>)> {
    (1_usize..160_000).prop_flat_map(|size| {
        let script = (manner(size), 1_000_usize..40_000);
        let script = script.prop_map(|(manner, chunk)| Script { manner, chunk });
        (Just(size), proptest::collection::vec(script, 1..6))
    })
}

proptest! {
    /// Whatever the sources do, in any order, cut anywhere: exactly the right bytes, or an end that is none.
    #[test]
    fn exact_bytes_or_an_abort((size, sources) in body(), knows_length in any::<bool>()) {
        let blob = blob(size);
        let played = play(&blob, &sources, knows_length);
        let manners: Vec<Manner> = sources.iter().map(|source| source.manner).collect();
        let is_wrong = |manner: &Manner| matches!(manner, Manner::CorruptAt(_) | Manner::Other);
        match played.end {
            End::Clean => prop_assert!(played.got == blob),
            End::Fin if !manners.iter().any(is_wrong) => prop_assert!(blob.starts_with(&played.got)),
            End::Fin => {}
            End::Reset => prop_assert!(!played.penalised.is_empty(), "a reset is somebody's fault"),
        }
        // Where nothing was stitched, a penalty is proof.
        let breaks = |manner: &Manner| match manner {
            Manner::BreaksAt(_) => true,
            Manner::ErrorJsonAt(_) => knows_length,
            _ => false,
        };
        if !manners.iter().any(breaks) {
            let right = manners.iter().enumerate().filter(|(_, manner)| **manner == Manner::Right);
            for (number, _) in right {
                prop_assert!(!played.penalised.contains(&who(number)), "{number} is right");
            }
        }
        let mut once = played.penalised.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), played.penalised.len(), "nobody is penalised twice");
    }

    /// Wrong ends alone never fail a body as long as one of the first four has the right one.
    #[test]
    fn wrong_tails_are_always_fixed(
        size in 80_000_usize..200_000,
        wrong in proptest::collection::vec((0_usize..20_000, 1_000_usize..12_000), 0..3),
        at in any::<proptest::sample::Index>(),
    ) {
        let blob = blob(size);
        let corrupt = |(from_end, chunk): &(usize, usize)| Script {
            manner: Manner::CorruptAt(size - 1 - from_end),
            chunk: *chunk,
        };
        let mut sources: Vec<Script> = wrong.iter().map(corrupt).collect();
        let place = at.index(sources.len() + 1);
        sources.insert(place, Script { manner: Manner::Right, chunk: 4096 });
        let played = play(&blob, &sources, true);
        prop_assert_eq!(&played.end, &End::Clean);
        prop_assert!(played.got == blob);
        prop_assert_eq!(played.penalised, (0..place).map(who).collect::<Vec<_>>());
    }
}
