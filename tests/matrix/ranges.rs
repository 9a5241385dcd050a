//! containerd 2.1's parallel ranges (`concurrent_layer_fetch_buffer`): each chunk of a layer is a request of its own,
//! open-ended, and closed when the chunk has been read (design P7, P12; containerd-k3s-facts 3.3).

use crate::Tests;
use crate::note;
use crate::plan::{Fault, Source};
use crate::scripted::{Held, REPLICA, Scripted, first_byte};
use crate::sources::{Asked, Order};
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) const TESTS: Tests<Scripted> = &[
    (
        "each_chunk_is_a_range_of_its_own",
        each_chunk_is_a_range_of_its_own,
    ),
    ("early_ends_are_passed_on", early_ends_are_passed_on),
    ("early_ends_at_full_speed", early_ends_at_full_speed),
    (
        "each_range_goes_on_when_its_source_dies",
        each_range_goes_on_when_its_source_dies,
    ),
    (
        "each_range_goes_on_after_a_reset",
        each_range_goes_on_after_a_reset,
    ),
    ("wrong_bytes_in_ranges", wrong_bytes_in_ranges),
    (
        "agent_killed_in_parallel_ranges",
        agent_killed_in_parallel_ranges,
    ),
];

const CHUNK: usize = 512 * 1024;
const LAYER: usize = 4_000_000;
/// Longer than what the buffers on the way hold.
const LONG_LAYER: usize = 24_000_000;
const PARALLEL: usize = 4;
/// What the agent holds back of a body.
const WINDOW: usize = 32 * 1024;

fn in_parallel(it: &mut Scripted) {
    it.lab.restart_containerd(&format!(
        "[plugins.'io.containerd.transfer.v1.local']\nmax_concurrent_downloads = {PARALLEL}\n\
         concurrent_layer_fetch_buffer = {CHUNK}\n"
    ));
}

/// Where the chunks of the layer begin.
fn chunks(held: &Held) -> BTreeSet<usize> {
    (0..held.length()).step_by(CHUNK).collect()
}

fn starts(asked: &[Asked]) -> BTreeSet<usize> {
    asked.iter().map(first_byte).collect()
}

fn sent(asked: &[Asked]) -> usize {
    asked.iter().map(|asked| asked.sent).sum()
}

fn each_chunk_is_a_range_of_its_own(it: &mut Scripted) {
    in_parallel(it);
    let held = it.hold(&[LAYER]);
    let (pull, asked) = it.pull(&held);
    it.assert_well(&pull, &held);
    assert_eq!(starts(&asked), chunks(&held), "{asked:#?}");
    for asked in &asked {
        assert!(!asked.user_agent.starts_with("containerd/"), "{asked:?}");
        assert!(
            asked.source.is_some_and(|source| REPLICA.contains(&source)),
            "{asked:?}"
        );
    }
    note(format!(
        "{} ranges; the sources sent {:.2} of the layer's bytes",
        asked.len(),
        sent(&asked) as f64 / held.length() as f64
    ));
}

/// At a pace at which the buffers on the way hold little, a source stops soon after containerd has closed.
fn early_ends_are_passed_on(it: &mut Scripted) {
    in_parallel(it);
    let held = it.hold(&[LAYER]);
    it.strike(&held, &Source::ALL, None, 0, false);
    let (pull, asked) = it.pull(&held);
    it.assert_well(&pull, &held);
    assert_eq!(starts(&asked), chunks(&held), "{asked:#?}");
    // Whole rests would be 4.5 times the layer.
    let twice = 2 * held.length();
    note(format!(
        "the sources sent {:.2} of the layer's bytes: {:?}",
        sent(&asked) as f64 / held.length() as f64,
        asked
            .iter()
            .map(|asked| (first_byte(asked), asked.sent))
            .collect::<Vec<_>>()
    ));
    assert!(sent(&asked) < twice, "{asked:#?}");
}

/// At full speed every buffer on the way fills up before containerd closes, so that much is sent for nothing, without an
/// agent in between as well. The kernel's, which grow to megabytes each, are kept small here: what is left is the agent's.
fn early_ends_at_full_speed(it: &mut Scripted) {
    in_parallel(it);
    let small =
        "echo 4096 65536 262144 | tee /proc/sys/net/ipv4/tcp_rmem /proc/sys/net/ipv4/tcp_wmem";
    let set = it.lab.command("sh").args(["-c", small]).output();
    assert!(set.is_ok_and(|output| output.status.success()), "{small}");
    let held = it.hold(&[LONG_LAYER]);
    let (pull, asked) = it.pull(&held);
    it.assert_well(&pull, &held);
    let through_agent = sent(&asked);
    it.lab.stop_agent();
    it.lab.containerd().forget_images();
    it.lab.hosts_without_agent();
    let (pull, asked) = it.pull(&held);
    it.lab.hosts_through_agent();
    it.assert_well(&pull, &held);
    let alone = sent(&asked);
    let times = |bytes: usize| bytes as f64 / held.length() as f64;
    note(format!(
        "of {} ranges of {CHUNK} bytes the sources sent {:.2} of the layer's bytes; by containerd alone {:.2}",
        chunks(&held).len(),
        times(through_agent),
        times(alone)
    ));
    // Whole rests would be 23 times the layer. The agent has buffers of its own on the way, not more.
    assert!(
        through_agent < 2 * alone,
        "{through_agent} and {alone} bytes"
    );
}

/// Ranges that were broken: they begin where no chunk does.
fn resumed_at(asked: &[Asked], held: &Held, source: Source) -> BTreeSet<usize> {
    let chunks = chunks(held);
    let of_source = asked.iter().filter(|asked| asked.source == Some(source));
    of_source
        .map(first_byte)
        .filter(|first| !chunks.contains(first))
        .collect()
}

fn each_range_goes_on_when_its_source_dies(it: &mut Scripted) {
    in_parallel(it);
    let held = it.hold(&[LAYER]);
    it.strike(&held, &Source::ALL, None, 0, false);
    let pull = it.pull_and(&held, Duration::ZERO, |it| {
        // At this pace a range runs for 160 ms. One of which nothing has been let go yet would begin again where its chunk
        // begins, which is no sign of anything.
        let begun = |asked: &&Asked| asked.sent >= 3 * WINDOW;
        for _ in 0..500 {
            if it.asked(&held).iter().filter(begun).count() >= PARALLEL / 2 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for source in REPLICA {
            it.control.tell(&Order::Kill(source));
        }
    });
    it.assert_well(&pull, &held);
    let asked = it.asked(&held);
    let resumed = resumed_at(&asked, &held, Source::Core);
    note(format!("ranges that went on at CORE: {resumed:?}"));
    assert!(resumed.len() >= 2, "{asked:#?}");
    assert!(
        it.said(&[" resumed "]).len() >= resumed.len(),
        "{}",
        it.lab.agent().log()
    );
}

fn each_range_goes_on_after_a_reset(it: &mut Scripted) {
    in_parallel(it);
    let held = it.hold(&[LAYER]);
    // Every body of REPLICA's breaks after this many bytes, whatever range it is.
    it.strike(&held, &REPLICA, Some(Fault::Reset), CHUNK / 2, false);
    let (pull, asked) = it.pull(&held);
    it.assert_well(&pull, &held);
    let all = asked
        .iter()
        .filter(|asked| !asked.user_agent.starts_with("containerd/"));
    assert_eq!(
        all.count(),
        asked.len(),
        "containerd went round the agent: {asked:#?}"
    );
    let resumed = it.said(&[" resumed "]).len();
    note(format!("{resumed} ranges were resumed"));
    assert!(resumed >= 2, "{}", it.lab.agent().log());
}

fn agent_killed_in_parallel_ranges(it: &mut Scripted) {
    in_parallel(it);
    let held = it.hold(&[LAYER]);
    it.strike(&held, &Source::ALL, None, 0, false);
    let pull = it.pull_and(&held, Duration::from_millis(80), |it| {
        it.lab.signal_agent("KILL")
    });
    note(format!(
        "the pull in which the agent was killed succeeded: {}",
        pull.succeeded
    ));
    if pull.succeeded {
        it.assert_whole(&held);
        return;
    }
    // All chunks belong to the host that answered first: the pull may fail once (P13).
    let (pull, _) = it.pull(&held);
    it.assert_well(&pull, &held);
}

/// A range cannot be proved: containerd finds the wrong byte at its commit. It asks again, and must not be served the same
/// again and again (P13).
fn wrong_bytes_in_ranges(it: &mut Scripted) {
    in_parallel(it);
    let held = it.hold(&[LAYER]);
    it.strike(&held, &REPLICA, Some(Fault::CorruptByte), CHUNK / 2, false);
    let mut failures = 0;
    loop {
        let (pull, _) = it.pull(&held);
        if pull.succeeded {
            it.assert_well(&pull, &held);
            break;
        }
        failures += 1;
        let log = it.lab.agent().log();
        assert!(failures <= REPLICA.len(), "{}\n{log}", pull.output);
        std::thread::sleep(Duration::from_secs(2));
    }
    assert!(failures > 0, "the wrong byte was not met");
    note(format!(
        "wrong bytes at both REPLICA addresses: {failures} pulls failed"
    ));
}
