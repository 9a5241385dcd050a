//! Whatever sources answer, in whatever chunks: a full GET ends cleanly only with exactly the right bytes, a range has
//! the right offset, total and length, and who has one good source gets the blob (design P4, P8, P13).
//!
//! Cases are made from one seed, which is printed; `HARBOR_PILOT_SEED` sets it, `HARBOR_PILOT_CASES` their number.

#[path = "property/source.rs"]
mod source;

use crate::client::{End, Got};
use crate::node::{Node, REPOSITORY, Setup, TIERED, target};
use crate::support::{FakeRegistry, Image};
use source::{Dice, Source};
use tokio::task::JoinSet;

const SEED: u64 = 20_261_121;
const CASES: u64 = 1000;
/// Most of a case is waiting for sources that say nothing.
const AT_ONCE: usize = 24;

/// Short, so that silence costs little; their order is the design's.
const CLOCK: &str = "[timeouts]\nconnect_race = \"100ms\"\nfirst_byte = \"1s\"\nstall = \"700ms\"\n\
                     upstream_joins = \"2s\"\n";

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Whole,
    Range { first: usize, last: Option<usize> },
    Head,
}

#[derive(Clone, Debug)]
struct Case {
    size: usize,
    size_is_known: bool,
    kind: Kind,
    /// Tiers in order, upstream last.
    sources: Vec<Source>,
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let size = match dice.below(10) {
            0 => 0,
            1 => dice.below(200),
            2 => 32 * 1024 + dice.below(3) - 1,
            3 => 64 * 1024 + dice.below(3) - 1,
            4..=6 => dice.below(80_000),
            _ => dice.below(300 * 1024),
        };
        let tiers = 1 + dice.below(3);
        let mut sources: Vec<Source> = (0..=tiers).map(|_| Source::of(&mut dice, size)).collect();
        // A source that falls silent is waited for where nobody else can go on (design P6): no case of its own.
        if !sources
            .iter()
            .any(|source| source.is_good_for_ranges(false))
        {
            sources.retain(|source| !source.stalls());
        }
        let good = sources.iter().any(Source::is_good);
        if sources.is_empty() || !good && dice.below(2) == 0 {
            sources.push(Source::good(&mut dice));
        }
        let kind = match dice.below(10) {
            0 => Kind::Head,
            1..=3 if size > 0 => {
                let first = dice.below(size);
                let last = (dice.below(2) == 0).then(|| first + dice.below(size - first));
                Kind::Range { first, last }
            }
            _ => Kind::Whole,
        };
        Self {
            size,
            size_is_known: dice.below(3) > 0,
            kind,
            sources,
        }
    }

    /// Who must get what he asks for, at the latest when everybody who sent him wrong bytes is known.
    fn must_succeed(&self) -> bool {
        self.sources.iter().any(|source| match self.kind {
            Kind::Whole => source.is_good(),
            Kind::Range { .. } => source.is_good_for_ranges(self.size_is_known),
            Kind::Head => source.is_good_for_ranges(self.size_is_known) || self.size_is_known,
        })
    }

    fn retries(&self) -> usize {
        let wrong = self.sources.iter();
        wrong.filter(|source| source.sends_wrong_bytes()).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_end_means_the_right_bytes() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = number("HARBOR_PILOT_SEED").unwrap_or(SEED);
    let cases = number("HARBOR_PILOT_CASES").unwrap_or(CASES);
    println!("HARBOR_PILOT_SEED={seed} HARBOR_PILOT_CASES={cases}");
    let (mut running, mut next) = (JoinSet::new(), 0);
    let (mut served, mut unserved, mut failed) = (0, 0, Vec::new());
    while next < cases || !running.is_empty() {
        if next < cases && running.len() < AT_ONCE {
            let seed = seed.wrapping_add(next);
            running.spawn(async move {
                let case = Case::of(seed);
                let checked = tokio::spawn(check(seed, case.clone())).await;
                checked.map_err(|error| format!("HARBOR_PILOT_SEED={seed}: {case:?}: {error}"))
            });
            next += 1;
            continue;
        }
        match running.join_next().await.unwrap().unwrap() {
            Ok(true) => served += 1,
            Ok(false) => unserved += 1,
            Err(failure) => failed.push(failure),
        }
    }
    println!("{served} were served, {unserved} could not be");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(
        cases == 1 || served > unserved && unserved > 0,
        "the cases say something"
    );
}

/// Plays a case; whether it was served in the end.
async fn check(seed: u64, case: Case) -> bool {
    let image = Image::with_layers(seed, &[case.size]);
    let mut registries = Vec::new();
    for (index, source) in case.sources.iter().enumerate() {
        let is_upstream = index + 1 == case.sources.len();
        let builder = FakeRegistry::builder();
        let repository = if is_upstream { REPOSITORY } else { TIERED };
        let registry = builder.with_image(repository, "1", &image).start().await;
        registry.script(source.script(image.layer()));
        registries.push(registry);
    }
    let (upstream, tiers) = registries.split_last().unwrap();
    let tiers: Vec<&FakeRegistry> = tiers.iter().collect();
    let node = Setup::of(&tiers, upstream).and(CLOCK).start().await;
    if case.size_is_known {
        assert_eq!(node.pull("manifests/1").await.body, image.top.body);
    }
    let mut got = ask(&node, &case, &image).await;
    for _ in 0..case.retries() {
        if got.end == End::Clean && matches!(got.status, 200 | 206) {
            break;
        }
        got = ask(&node, &case, &image).await;
    }
    let served = got.end == End::Clean && matches!(got.status, 200 | 206);
    let wrong = case.sources.iter().any(Source::sends_wrong_bytes);
    assert!(wrong || got.end != End::Reset, "{got:?}");
    // What is proved before the status line is refused by a status (design P8).
    let small = case.size <= 64 * 1024;
    assert!(!small || got.status != 0, "{got:?}");
    assert!(served || !case.must_succeed(), "{got:?}");
    served
}

async fn ask(node: &Node, case: &Case, image: &Image) -> Got {
    let target = target(&format!("blobs/{}", image.layer().digest));
    let due = &image.layer().body;
    match case.kind {
        Kind::Whole => {
            let got = node.ask("GET", &target, &[]).await;
            if got.status == 200 && got.end == End::Clean {
                assert!(got.body == *due, "wrong bytes that end cleanly");
            }
            if got.status == 200 && got.end == End::Fin {
                assert!(
                    due.starts_with(&got.body),
                    "a wrong prefix that ends by FIN"
                );
            }
            assert_ne!(got.status, 206, "nobody asked for a part");
            got
        }
        Kind::Range { first, last } => {
            let text = last.map_or(String::new(), |last| last.to_string());
            let range = format!("bytes={first}-{text}");
            let got = node.ask("GET", &target, &[("Range", &range)]).await;
            let last = last.unwrap_or(due.len() - 1).min(due.len() - 1);
            if matches!(got.status, 200 | 206) {
                // Without the manifest nobody can know better than the source how long the blob is.
                let lies = case.sources.iter().any(Source::lies_about_the_length);
                if case.size_is_known || !lies {
                    let total = due.len();
                    let header = format!("bytes {first}-{last}/{total}");
                    assert_eq!(got.status, 206, "a range of a blob is answered by a part");
                    assert_eq!(got.header("content-range"), Some(header.as_str()));
                    if got.end == End::Clean {
                        assert_eq!(got.body.len(), last + 1 - first);
                    }
                }
                if !case.sources.iter().any(Source::sends_wrong_bytes) {
                    assert!(due[first..].starts_with(&got.body), "wrong bytes of a part");
                }
            }
            got
        }
        Kind::Head => {
            let got = node.ask("HEAD", &target, &[]).await;
            if got.status == 200 && case.size_is_known {
                let length = got.header("content-length").unwrap();
                assert_eq!(length, due.len().to_string());
            }
            got
        }
    }
}
