//! Every number that a source sends, at its limits and beyond: in every header and every JSON field, at every status, from the
//! source itself, from where its redirect leads, from its token service, in a list, in the middle of a resume. Nothing of the
//! agent panics, the next source serves the right bytes, and the record does not say that the client left.

use crate::client::{End, Got};
use crate::node::{REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Framing, Image, Recorded, Reply};
use harbor_pilot::lifecycle;
use harbor_pilot::oci::Digest;
use harbor_pilot::telemetry::RequestOutcome;
use serde_json::{Value, json};
use tokio::task::JoinSet;

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
    /// The fields of the manifest that the first tier sends for the tag.
    Manifest,
    /// Of a manifest that fits no digest.
    WrongManifest,
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
                broken.set_fault_on(crate::support::On::Blobs, Fault::CloseAt(70_000));
                Setup::of(&[&broken, &hostile], &good)
            }
            _ => Setup::of(&[&hostile], &good),
        };
        self.arm(&hostile, &cdn, &image);
        let node = setup.start().await;
        for what in ["manifests/1", "blobs"] {
            let is_blob = what == "blobs";
            // What the manifest of a tag says is that source's own; its layer is what counts.
            let layer = format!("blobs/{}", image.layer().digest);
            let due = if is_blob {
                &image.layer().body
            } else {
                &image.top.body
            };
            let got = node.pull(if is_blob { &layer } else { what }).await;
            let is_believed = *place == Place::Manifest && !is_blob;
            assert_ne!(got.status, 0, "{said} {what}: {got:?}");
            if !is_believed {
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
            Place::Manifest | Place::WrongManifest => {
                let (media_type, body) = manifest(image, &number);
                let is_right = place == Place::Manifest;
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
fn manifest(image: &Image, number: &str) -> (&'static str, Vec<u8>) {
    let mut top: Value = serde_json::from_slice(&image.top.body).unwrap();
    let value = json_number(number);
    top["schemaVersion"] = value.clone();
    top["config"]["size"] = value.clone();
    top["layers"][0]["size"] = value.clone();
    top["layers"][0]["annotations"] = json!({ "size": value });
    (image.top.media_type, top.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_a_source_keeps_the_next_from_serving() {
    let before = lifecycle::panics();
    let mut cases = Vec::new();
    for number in numbers() {
        let mut add = |place: fn(u16) -> Place, statuses: &[u16]| {
            for status in statuses {
                cases.push(Case {
                    place: place(*status),
                    number: number.clone(),
                    status: *status,
                });
            }
        };
        add(Place::Tier, &STATUSES);
        add(Place::Redirect, &[200, 206, 403, 416, 429, 503]);
        add(Place::Token, &[200, 401, 429, 500]);
        add(Place::Resume, &[200, 206, 416, 429, 503]);
        add(|_| Place::Framing, &[200]);
        add(|_| Place::Chunks, &[200]);
        add(|_| Place::Manifest, &[200]);
        add(|_| Place::WrongManifest, &[200]);
    }
    play(cases).await;
    assert_eq!(lifecycle::panics(), before, "something panicked");
}

async fn play(cases: Vec<Case>) {
    // A sample has every number and every place, if not each with each: there are 29 places.
    let every = if crate::is_long() { 1 } else { 4 };
    let mut cases = cases.into_iter().step_by(every);
    let (mut running, mut failed) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(case) = cases.next()
        {
            let said = format!("{:?} {}", case.place, case.number);
            running.spawn(async move {
                let played = tokio::spawn(case.play()).await;
                played.map_err(|error| format!("{said}: {error}"))
            });
        }
        match running.join_next().await {
            Some(ended) => failed.extend(ended.unwrap().err()),
            None => break,
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
