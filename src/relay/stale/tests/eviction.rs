//! Who makes room for whom on the disk.

use super::super::eviction::{Free, Stored, evicted};
use super::*;

const BLOCK: u64 = 4096;

#[test]
fn what_is_evicted() {
    let now = SystemTime::now();
    let stored = |name: &str, days: u32, blocks: u64| Stored {
        trust: if name.starts_with('u') {
            Trust::Untrusted
        } else {
            Trust::Trusted
        },
        at: now - days * DAY,
        bytes: blocks * BLOCK,
        file: name.into(),
    };
    let limits = config::Stale {
        max_bytes: 16 * BLOCK,
        ..limits()
    };
    // 16 blocks at most, of untrusted clients 4; where it is more, 14 and 3.5 stay. (files, who goes, blocks that are free: in all,
    // of untrusted clients)
    type Row = (Vec<Stored>, &'static [&'static str], [u64; 2]);
    let table: [Row; 12] = [
        (vec![], &[], [16, 4]),
        (vec![stored("a", 6, 1), stored("b", 1, 2)], &[], [13, 4]),
        (vec![stored("a", 6, 1), stored("b", 1, 15)], &[], [0, 4]),
        (vec![stored("u", 1, 4), stored("b", 1, 2)], &[], [10, 0]),
        (
            vec![stored("a", 8, 1), stored("u", 8, 1), stored("b", 1, 1)],
            &["a", "u"],
            [15, 4],
        ),
        (
            vec![stored("b", 1, 8), stored("c", 3, 5), stored("a", 2, 4)],
            &["c"],
            [4, 4],
        ),
        (vec![stored("a", 6, 3), stored("b", 1, 14)], &["a"], [2, 4]),
        // A quarter at most, whatever room there is.
        (vec![stored("u1", 1, 1), stored("u2", 2, 2)], &[], [13, 1]),
        (
            vec![stored("u1", 1, 2), stored("u2", 2, 3)],
            &["u2"],
            [14, 2],
        ),
        (
            vec![stored("u1", 1, 3), stored("u2", 2, 2)],
            &["u2"],
            [13, 1],
        ),
        // Theirs go first, young as they are.
        (
            vec![
                stored("a", 6, 9),
                stored("b", 5, 5),
                stored("u1", 1, 2),
                stored("u2", 0, 1),
            ],
            &["u1", "u2"],
            [2, 4],
        ),
        (
            vec![stored("a", 6, 17), stored("b", 5, 1), stored("u1", 1, 1)],
            &["u1", "a"],
            [15, 4],
        ),
    ];
    for (all, due, [free, untrusted]) in table {
        let due: Vec<PathBuf> = due.iter().map(PathBuf::from).collect();
        let free = Free {
            all: free * BLOCK,
            untrusted: untrusted * BLOCK,
        };
        let found = evicted(all.clone(), 0, limits, now);
        assert_eq!(found, (due, free), "{all:?}");
    }
    let due: Vec<PathBuf> = vec!["a".into(), "b".into()];
    let all = vec![stored("a", 6, 1), stored("b", 1, 2)];
    let directories = 14 * BLOCK;
    let free = Free {
        all: 2 * BLOCK,
        untrusted: 4 * BLOCK,
    };
    assert_eq!(evicted(all, directories, limits, now), (due, free));
    assert_eq!(free.after(Trust::Trusted, 2 * BLOCK + 1), None);
    assert_eq!(
        free.after(Trust::Untrusted, BLOCK)
            .map(|free| free.untrusted),
        Some(3 * BLOCK)
    );
    assert_eq!(
        free.after(Trust::Trusted, BLOCK).map(|free| free.untrusted),
        Some(4 * BLOCK)
    );
}

/// What `du` says of the directory is what is bounded: small files and their folders take a block each.
#[test]
fn the_bound_is_one_of_the_disk() {
    use std::os::unix::fs::MetadataExt as _;
    fn blocks(path: &std::path::Path) -> u64 {
        let below = std::fs::read_dir(path).into_iter().flatten();
        let own = std::fs::metadata(path).unwrap().blocks() * 512;
        own + below
            .map(|entry| blocks(&entry.unwrap().path()))
            .sum::<u64>()
    }
    let mut kept = Kept::new();
    let limits = config::Stale {
        max_bytes: 256 * 1024,
        ..limits()
    };
    for index in 0..200_u32 {
        let body = Bytes::from(format!("{{\"n\":{index}}}"));
        let keep = Keep {
            of: Pulled {
                image: image_for(&format!("f{index}"), "1", ALL),
                trust: if index % 2 == 0 {
                    Trust::Trusted
                } else {
                    Trust::Untrusted
                },
            },
            digest: Digest::sha256(&body),
            whole: Some((body, MEDIA_TYPE.to_owned())),
            limits,
        };
        let command = Command::Keep(keep);
        let at = SystemTime::now() - Duration::from_secs(1_000 - u64::from(index));
        kept.writer.carry_out(command, Instant::now(), at);
    }
    let taken = blocks(kept.store.directory());
    assert!(taken <= limits.max_bytes, "{taken} bytes");
    assert!(taken >= limits.max_bytes / 2, "{taken} bytes: it is used");
}
