//! Every number that a source sends, at its limits and beyond: in every header and every JSON field, at every status, from the
//! source itself, from where its redirect leads, from its token service, in a list, in the middle of a resume. Nothing of the
//! agent panics, the next source serves the right bytes, and the record does not say that the client left.

use crate::client::{End, Got};
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeDns, FakeRegistry, Fault, Framing, Image, On, Recorded, Reply};
use harbor_pilot::lifecycle;
use harbor_pilot::oci::Digest;
use harbor_pilot::telemetry::RequestOutcome;
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};

/// Cases that are played at the same time.
const AT_ONCE: usize = 8;

/// The numbers; and 400 digits.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "2147483647",
    "2147483648",
    "4294967296",
    "9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "NaN",
    "",
    "+1",
    "0x7fffffffffffffff",
    "253402300800",
];

/// Headers in which registries, their proxies and their CDNs send numbers or dates. What tells the end of a body has cases of its
/// own.
const HEADERS: [&str; 18] = [
    "Retry-After",
    "Age",
    "Date",
    "Expires",
    "Last-Modified",
    "Cache-Control",
    "Keep-Alive",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-RateLimit-Reset",
    "Docker-RateLimit-Source",
    "Docker-Distribution-Api-Version",
    "OCI-Chunk-Min-Length",
    "X-Accel-Expires",
    "Upload-Offset",
    "Content-Disposition",
    "X-Request-Id",
];

/// In what a status is sent with them.
const STATUSES: [u16; 11] = [200, 206, 304, 403, 404, 408, 416, 429, 500, 502, 503];

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The first tier, with this status.
    Tier(u16),
    /// Where the first tier's redirect leads, with this status.
    Redirect(u16),
    /// The first tier's token service, with this status.
    Token(u16),
    /// A tier that is asked for the rest of a blob, with this status.
    Resume(u16),
    /// What tells the end of the first tier's body, and which part it is.
    Framing,
    /// The sizes of chunks.
    Chunks,
    /// What the first tier's manifest for the tag says of its own shape.
    Manifest,
    /// What it says of the sizes of what it names. Such a manifest is believed, where the size is one.
    Sizes,
    /// The same, of a manifest that fits no digest.
    WrongManifest,
    /// What the registry's HEAD says of a manifest's length; no tier is asked before it.
    Head,
}

fn numbers() -> Vec<String> {
    let mut all: Vec<String> = NUMBERS.map(ToOwned::to_owned).into();
    all.push("9".repeat(400));
    all
}

/// The reply with a number in every header that tells nothing of its body.
fn with_number(reply: Reply, number: &str) -> Reply {
    HEADERS.iter().fold(reply, |reply, name| {
        let value = match *name {
            "Cache-Control" => format!("max-age={number}"),
            "Keep-Alive" => format!("timeout={number}, max={number}"),
            "RateLimit-Limit" | "RateLimit-Remaining" => format!("{number};w={number}"),
            _ => number.to_owned(),
        };
        reply.header(name, value)
    })
}

/// A JSON value that is the number, or a text where JSON has no such number.
fn json_number(number: &str) -> Value {
    serde_json::from_str(number).unwrap_or_else(|_| Value::from(number))
}

/// Another source must serve: a tier with those answers comes first.
struct Case {
    place: Place,
    number: String,
    status: u16,
}

impl Case {
    async fn play(self) {
        let Self { place, number, .. } = &self;
        let said = format!("{place:?} {number}");
        let image = Image::with_layers(3, &[100_000]);
        let hostile = FakeRegistry::builder();
        let hostile = match place {
            Place::Token(_) => hostile.harbor(),
            _ => hostile,
        };
        let hostile = hostile.with_image(TIERED, "1", &image).start().await;
        let good = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let good = good.start().await;
        let cdn = FakeRegistry::builder().cdn().start().await;
        let broken = FakeRegistry::builder().with_image(TIERED, "1", &image);
        let broken = broken.start().await;
        let setup = match place {
            Place::Resume(_) => {
                broken.set_fault_on(On::Blobs, Fault::CloseAt(70_000));
                Setup::of(&[&broken, &hostile], &good)
            }
            Place::Head => Setup::of(&[], &good),
            _ => Setup::of(&[&hostile], &good),
        };
        let speaks = if *place == Place::Head {
            &good
        } else {
            &hostile
        };
        self.arm(speaks, &cdn, &image);
        let node = setup.start().await;
        if *place == Place::Head {
            let got = node.head("manifests/1").await;
            let due = image.top.body.len().to_string();
            let length = got.header("content-length");
            assert_eq!(length, Some(due.as_str()), "{said}: {got:?}");
        }
        let layer = format!("blobs/{}", image.layer().digest);
        let blob = &image.layer().body;
        for (what, due) in [("manifests/1", &image.top.body), (&layer, blob)] {
            let got = node.pull(what).await;
            assert_ne!(got.status, 0, "{said} {what}: {got:?}");
            // What the digest in its head proves is passed on, whatever it says.
            let is_passed_on = matches!(place, Place::Manifest | Place::Sizes);
            if !(is_passed_on && what == "manifests/1") {
                self.assert_right(&got, due, what);
            }
            let outcome = node.record(&got).await.outcome;
            assert_ne!(outcome, RequestOutcome::ClientClosed, "{said} {what}");
        }
        let got = node.pull("tags/list").await;
        assert_eq!(got.status, 200, "{said}: {got:?}");
    }

    fn assert_right(&self, got: &Got, due: &[u8], what: &str) {
        let said = format!("{:?} {} {what}: {got:?}", self.place, self.number);
        assert_eq!(got.status, 200, "{said}");
        assert_eq!(got.end, End::Clean, "{said}");
        assert!(got.body == due, "wrong bytes: {said}");
    }

    /// Has the sources send the number.
    fn arm(&self, hostile: &FakeRegistry, cdn: &FakeRegistry, image: &Image) {
        let (place, status) = (self.place, self.status);
        let number = self.number.clone();
        match place {
            Place::Tier(_) | Place::Resume(_) => {
                hostile.script(move |_| Some(refusal(status, &number)));
            }
            Place::Redirect(_) => {
                let to = format!("{}/cdn/x?X-Signature=1", cdn.base_url());
                hostile.script(move |_| Some(Reply::to(307, to.clone())));
                cdn.script(move |_| Some(refusal(status, &number)));
            }
            Place::Token(_) => hostile.script(move |asked| {
                let is_token = asked.path == "/service/token";
                is_token.then(|| match status {
                    200 => with_number(token(&number), &number),
                    _ => refusal(status, &number),
                })
            }),
            Place::Framing => {
                let total = image.layer().body.len();
                hostile.script(move |asked| Some(framed(asked, &number, total)));
            }
            Place::Chunks => hostile.script(move |_| {
                let body = format!("{number}\r\n0123456789\r\n0\r\n\r\n");
                let reply = Reply::new(200).body("application/octet-stream", body);
                let reply = reply.header("Transfer-Encoding", "chunked");
                Some(reply.framing(Framing::Close))
            }),
            Place::Head => {
                let media_type = image.top.media_type;
                let digest = image.top.digest.to_string();
                hostile.script(move |asked| {
                    let head = Reply::new(200)
                        .header("Content-Type", media_type)
                        .header("Content-Length", number.clone())
                        .header("Docker-Content-Digest", digest.clone());
                    (asked.method == "HEAD").then(|| head.framing(Framing::Close))
                });
            }
            Place::Manifest | Place::Sizes | Place::WrongManifest => {
                let (media_type, body) = manifest(image, &number, place);
                let is_right = place != Place::WrongManifest;
                hostile.script(move |asked| {
                    let is_manifest = asked.path.contains("/manifests/");
                    is_manifest.then(|| {
                        let digest = match is_right {
                            true => Digest::sha256(&body),
                            false => Digest::sha256(b"something else"),
                        };
                        Reply::new(200)
                            .header("Docker-Content-Digest", digest.to_string())
                            .body(media_type, body.clone())
                    })
                });
            }
        }
    }
}

/// An answer that is of no use whatever its status, with the number in all its headers.
fn refusal(status: u16, number: &str) -> Reply {
    let reply = match status {
        // Nobody asked for that part; and an empty one is no blob and no manifest.
        206 => Reply::new(206)
            .header("Content-Range", format!("bytes {number}-{number}/{number}"))
            .body("application/octet-stream", ""),
        200 => Reply::new(200).body("application/octet-stream", ""),
        416 => Reply::new(416).header("Content-Range", format!("bytes */{number}")),
        _ => Reply::error(status, "UNKNOWN", number),
    };
    with_number(reply, number)
}

/// A token's document with the number in every field that holds one.
fn token(number: &str) -> Reply {
    let value = json_number(number);
    let document = json!({
        "token": "t", "access_token": "", "expires_in": value, "issued_at": value, "refresh_expires_in": value,
        "nbf": value, "exp": value,
    });
    Reply::json(200, document.to_string())
}

/// A body of ten bytes whose head says something else of it.
fn framed(asked: &Recorded, number: &str, total: usize) -> Reply {
    let reply = if asked.header("range").is_some() {
        Reply::new(206).header("Content-Range", format!("bytes 0-{number}/{total}"))
    } else {
        Reply::new(200)
    };
    reply
        .header("Content-Length", number)
        .body("application/octet-stream", "0123456789")
        .framing(Framing::Close)
}

/// A manifest of the image with the number in every field that holds one.
fn manifest(image: &Image, number: &str, place: Place) -> (&'static str, Vec<u8>) {
    let mut top: Value = serde_json::from_slice(&image.top.body).unwrap();
    let value = json_number(number);
    if place == Place::Manifest {
        top["schemaVersion"] = value.clone();
    }
    top["config"]["size"] = value.clone();
    top["layers"][0]["size"] = value.clone();
    top["layers"][0]["annotations"] = json!({ "size": value });
    (image.top.media_type, top.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_a_source_keeps_the_next_from_serving() {
    let before = lifecycle::panics();
    // The sample has every number in a quarter of the places, and every place with a quarter of the numbers.
    let every = if crate::is_long() { 1 } else { 4 };
    let (mut running, mut failed) = (JoinSet::new(), Vec::new());
    let numbers = numbers();
    let places = places();
    let all = numbers.iter().enumerate().flat_map(|number| {
        let places = places.iter().enumerate();
        places.map(move |place| (number, place))
    });
    for ((nth, number), (at, (place, status))) in all {
        if (nth + at) % every != 0 {
            continue;
        }
        while running.len() >= AT_ONCE {
            failed.extend(ended(running.join_next().await));
        }
        let case = Case {
            place: *place,
            number: number.clone(),
            status: *status,
        };
        running.spawn(async move {
            let said = format!("{:?} {}", case.place, case.number);
            let played = tokio::spawn(case.play()).await;
            played.map_err(|error| format!("{said}: {error}"))
        });
    }
    while let Some(last) = running.join_next().await {
        failed.extend(ended(Some(last)));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(lifecycle::panics(), before, "something panicked");
}

fn ended(played: Option<Result<Result<(), String>, JoinError>>) -> Option<String> {
    played?.unwrap().err()
}

fn places() -> Vec<(Place, u16)> {
    let with = |place: fn(u16) -> Place, statuses: &'static [u16]| {
        statuses.iter().map(move |status| (place(*status), *status))
    };
    let mut all = Vec::new();
    all.extend(with(Place::Tier, &STATUSES));
    all.extend(with(Place::Redirect, &[200, 206, 403, 416, 429, 503]));
    all.extend(with(Place::Token, &[200, 401, 429, 500]));
    all.extend(with(Place::Resume, &[200, 206, 416, 429, 503]));
    let others = [
        Place::Framing,
        Place::Chunks,
        Place::Manifest,
        Place::Sizes,
        Place::WrongManifest,
        Place::Head,
    ];
    all.extend(others.map(|place| (place, 200)));
    all
}

/// A list has one source: its answer is used or is none, and the client is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_with_any_number_is_answered() {
    let before = lifecycle::panics();
    for number in numbers() {
        for status in [200, 404, 429, 503] {
            let upstream = FakeRegistry::builder().start().await;
            let told = number.clone();
            upstream.script(move |_| {
                let list = json!({ "name": "x", "tags": [json_number(&told)] });
                Some(with_number(Reply::json(status, list.to_string()), &told))
            });
            let node = Setup::of(&[], &upstream).start().await;
            let got = node.pull("tags/list").await;
            let due = if status == 429 { 503 } else { status };
            assert_eq!(got.status, due, "{status} {number}: {got:?}");
            let outcome = node.record(&got).await.outcome;
            assert_ne!(outcome, RequestOutcome::ClientClosed, "{status} {number}");
        }
    }
    assert_eq!(lifecycle::panics(), before, "something panicked");
}

/// A client's range is of what it asks for, or none, or 416.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_range_of_any_numbers_is_answered() {
    let before = lifecycle::panics();
    let image = Image::with_layers(4, &[3000]);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    let node = Setup::of(&[], &upstream).start().await;
    let layer = format!("blobs/{}", image.layer().digest);
    for (what, whole) in [
        ("manifests/1", &image.top.body),
        (&layer, &image.layer().body),
    ] {
        for first in numbers() {
            for last in numbers() {
                let range = format!("bytes={first}-{last}");
                let got = node.range(what, &range).await;
                let said = format!("{what} {range}: {got:?}");
                assert!(matches!(got.status, 200 | 206 | 416), "{said}");
                if got.status != 416 {
                    assert_eq!(got.end, End::Clean, "{said}");
                    let from = match got.status {
                        206 if first.is_empty() => {
                            // So many from the end, or all of it.
                            let from_end = last.parse().unwrap_or(usize::MAX);
                            whole.len().saturating_sub(from_end)
                        }
                        206 => first.parse().unwrap(),
                        _ => 0,
                    };
                    assert!(whole[from..].starts_with(&got.body), "{said}");
                }
            }
        }
    }
    assert_eq!(lifecycle::panics(), before, "something panicked");
}

/// What an earlier run left behind may have been damaged since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_in_files_of_the_state_directory_harm_nobody() {
    let before = lifecycle::panics();
    let image = Image::with_layers(5, &[3000]);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    let layer = format!("blobs/{}", image.layer().digest);
    for number in numbers() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let size = format!("{} {number}\n", image.layer().digest);
        std::fs::write(state.join("sizes"), size).unwrap();
        let value = json_number(&number);
        let names = json!({ "tiers": { "t1": { "host": value, "addresses": [value] } } });
        std::fs::write(state.join("dns.json"), names.to_string()).unwrap();
        let node = Node::start(&Setup::of(&[], &upstream), home).await;
        for range in [
            "bytes=0-",
            "bytes=2999-",
            "bytes=18446744073709551614-",
            "bytes=0-18446744073709551615",
        ] {
            let got = node.range(&layer, range).await;
            assert!(
                matches!(got.status, 200 | 206 | 416 | 503),
                "{number} {range}: {got:?}"
            );
            let outcome = node.record(&got).await.outcome;
            assert_ne!(outcome, RequestOutcome::ClientClosed, "{number} {range}");
        }
        assert_eq!(node.head(&layer).await.status, 200, "{number}");
        // A manifest puts the size right.
        assert_eq!(
            node.pull("manifests/1").await.body,
            image.top.body,
            "{number}"
        );
        let got = node.pull(&layer).await;
        assert!(got.body == image.layer().body, "{number}: {got:?}");
    }
    assert_eq!(lifecycle::panics(), before, "something panicked");
}

/// The life of a DNS record is a number of 32 bits (RFC 2181, section 8: from 2^31 on it means 0). A name is looked up again when
/// the configuration says at the soonest, and addresses are known at once whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_life_of_a_dns_record_harms_anybody() {
    let before = lifecycle::panics();
    let image = Image::with_layers(6, &[3000]);
    for ttl in [0, 1, (1 << 31) - 1, 1 << 31, u32::MAX - 1, u32::MAX] {
        let dns = FakeDns::start().await;
        dns.set_ttl(ttl);
        // Neither may be dialled, so that what comes behind them serves.
        dns.set("tier.example.com", &["127.0.0.1"]);
        dns.set("cdn.example.com", &["127.0.0.1"]);
        let elsewhere = FakeRegistry::builder().start().await;
        elsewhere.script(|_| Some(Reply::to(307, "http://cdn.example.com:9/x".to_owned())));
        let good = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let good = good.start().await;
        let setup = Setup::default()
            .tier("http://tier.example.com:9", "")
            .tier(&elsewhere.base_url(), "")
            .registry(&good.base_url(), "")
            .and(&format!("[dns]\nnameservers = [\"{}\"]\n", dns.addr));
        let node = setup.start().await;
        let layer = format!("blobs/{}", image.layer().digest);
        for _ in 0..3 {
            let got = node.pull(&layer).await;
            assert_eq!((got.status, got.end), (200, End::Clean), "{ttl}: {got:?}");
            assert!(got.body == image.layer().body, "{ttl}");
            let outcome = node.record(&got).await.outcome;
            assert_ne!(outcome, RequestOutcome::ClientClosed, "{ttl}");
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        // Both names, both families; the least life in force is 5 s.
        assert!((2..=8).contains(&dns.asked()), "{ttl}: {}", dns.asked());
    }
    assert_eq!(lifecycle::panics(), before, "something panicked");
}
