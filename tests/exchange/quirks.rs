//! The manners and faults of the fake registry itself, seen through the client that they are made for: a quirk that is
//! not played proves nothing in any other test.

use super::support::{Cold, FakeRegistry, Fault, Image, On, RateLimit, Reply};
use super::{Lab, NGINX, blob, get, image, manifest};
use harbor_pilot::exchange::SourceRequest;
use harbor_pilot::oci::{Digest, ManifestKind, inspect_manifest};
use http::header::HeaderName;
use http::{HeaderMap, Method};
use std::time::{Duration, Instant};

struct Seen {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The body ended as it should, by its framing.
    clean: bool,
}

async fn see(lab: &Lab, ask: &SourceRequest) -> Seen {
    let mut answer = lab.ask(ask).await.unwrap();
    let mut body = Vec::new();
    let mut clean = true;
    while let Some(piece) = answer.body.next().await {
        match piece {
            Ok(piece) => body.extend_from_slice(&piece),
            Err(_) => {
                clean = false;
                break;
            }
        }
    }
    Seen {
        status: answer.status.as_u16(),
        headers: answer
            .fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name).unwrap(),
                    value.try_into().unwrap(),
                )
            })
            .collect(),
        body,
        clean,
    }
}

async fn harbor(image: &Image) -> (FakeRegistry, Lab) {
    let builder = FakeRegistry::builder().harbor();
    let harbor = builder.with_image(NGINX, "1", image).start().await;
    let lab = Lab::harbor(&harbor);
    (harbor, lab)
}

fn layer(image: &Image) -> SourceRequest {
    blob(NGINX, image.layer().digest.as_str())
}

#[test]
fn images_come_from_their_seed() {
    let (one, two) = (
        Image::multi_platform(7, 2, 2),
        Image::multi_platform(7, 2, 2),
    );
    assert_eq!(one.top.digest, two.top.digest);
    assert_ne!(one.top.digest, Image::multi_platform(8, 2, 2).top.digest);
    for manifest in one.manifests() {
        assert!(manifest.digest.matches(&manifest.body));
        let ManifestKind::Manifest { descriptors, .. } = inspect_manifest(&manifest.body) else {
            panic!("no manifest");
        };
        for found in descriptors {
            let mut blobs = one.blobs.iter().map(|blob| (&blob.digest, blob.body.len()));
            let mut children = one.children.iter().map(|m| (&m.digest, m.body.len()));
            let size = if found.is_manifest {
                children.find(|(digest, _)| **digest == found.digest)
            } else {
                blobs.find(|(digest, _)| **digest == found.digest)
            };
            assert_eq!(size.unwrap().1 as u64, found.size);
        }
    }
}

#[tokio::test]
async fn cold_blobs() {
    let image = image();
    let bytes = &image.layer().body;
    let (harbor, lab) = harbor(&image).await;
    let mut head = layer(&image);
    head.method = Method::HEAD;
    let mut range = layer(&image);
    range.range = Some("bytes=5-".to_owned());

    harbor.change(|it| (it.cold, it.warms_up) = (Cold::Chunked, true));
    assert_eq!(see(&lab, &head).await.status, 404);
    let cold = see(&lab, &range).await;
    assert_eq!((cold.status, &cold.body), (200, bytes));
    assert_eq!(cold.headers.get("content-length"), None);
    let warm = see(&lab, &range).await;
    assert_eq!((warm.status, warm.body), (206, bytes[5..].to_vec()));
    let total = format!("bytes 5-{}/{}", bytes.len() - 1, bytes.len());
    assert_eq!(warm.headers["content-range"], total);
    assert_eq!(
        see(&lab, &head).await.headers["content-length"],
        bytes.len().to_string()
    );

    harbor.change(|it| (it.cold, it.warms_up) = (Cold::EmptyCascade, false));
    let empty = see(&lab, &layer(&image)).await;
    assert_eq!(
        (empty.status, empty.body.len(), empty.clean),
        (200, 0, true)
    );
    assert_eq!(empty.headers["content-length"], "0");

    harbor.change(|it| it.cold = Cold::ErrorJsonAt(100));
    let broken = see(&lab, &layer(&image)).await;
    assert!(broken.clean && broken.status == 200);
    assert_eq!(broken.body[..100], bytes[..100]);
    assert!(broken.body[100..].starts_with(br#"{"errors":[{"code":"UNKNOWN""#));
}

#[tokio::test]
async fn manifests_health_and_limits() {
    let image = Image::multi_platform(3, 2, 1);
    let (harbor, lab) = harbor(&image).await;
    let by_tag = see(&lab, &manifest(NGINX, "1")).await;
    assert_eq!(by_tag.headers["docker-content-digest"], "");
    assert!(
        by_tag.headers["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with("sid=")
    );
    let digest = image.top.digest.as_str();
    let by_digest = see(&lab, &manifest(NGINX, digest)).await;
    assert_eq!(by_digest.headers["docker-content-digest"], digest);
    assert_eq!(by_digest.body, image.top.body);

    harbor.change(|it| it.trimmed_index = true);
    let trimmed = see(&lab, &manifest(NGINX, "1")).await;
    assert_eq!(Digest::sha256(&trimmed.body), image.trimmed().digest);
    assert_ne!(image.trimmed().digest, image.top.digest);

    let health = get("api", "health");
    let health = SourceRequest {
        target: "/api/v2.0/health".to_owned(),
        ..health
    };
    assert!(
        !String::from_utf8(see(&lab, &health).await.body)
            .unwrap()
            .contains("unhealthy")
    );
    harbor.change(|it| it.unhealthy = vec!["redis"]);
    let sick = see(&lab, &health).await;
    assert_eq!(sick.status, 200);
    let sick: serde_json::Value = serde_json::from_slice(&sick.body).unwrap();
    assert_eq!(sick["status"], "unhealthy");
    assert_eq!(sick["components"][4]["name"], "redis");
    assert_eq!(sick["components"][4]["status"], "unhealthy");

    for limit in [
        RateLimit::HarborUpstream,
        RateLimit::HubQuota,
        RateLimit::HubAbuse,
        RateLimit::Ghcr,
    ] {
        harbor.change(|it| it.rate_limit = Some(limit));
        assert_eq!(see(&lab, &manifest(NGINX, "1")).await.status, 429);
    }
    harbor.set_fault(Fault::Reply(Reply::html_502()));
    let html = see(&lab, &manifest(NGINX, "1")).await;
    assert_eq!(
        (html.status, html.headers["content-type"].to_str().unwrap()),
        (502, "text/html")
    );
}

#[tokio::test]
async fn faults_in_the_body() {
    let image = image();
    let bytes = image.layer().body.clone();
    let (harbor, lab) = harbor(&image).await;
    // A token first, so that the faults meet the blob alone.
    see(&lab, &manifest(NGINX, "1")).await;
    let ask = layer(&image);

    for fault in [Fault::CloseAt(100), Fault::ResetAt(100)] {
        harbor.heal();
        harbor.set_fault_on(On::Blobs, fault.clone());
        let cut = see(&lab, &ask).await;
        assert_eq!(
            (cut.body, cut.clean),
            (bytes[..100].to_vec(), false),
            "{fault:?}"
        );
    }
    harbor.heal();
    harbor.set_fault_on(On::Blobs, Fault::CorruptAt(100));
    let wrong = see(&lab, &ask).await;
    let differing = wrong
        .body
        .iter()
        .zip(&bytes)
        .filter(|(a, b)| a != b)
        .count();
    assert_eq!(
        (wrong.body.len(), differing, wrong.clean),
        (bytes.len(), 1, true)
    );
    assert_ne!(wrong.body[100], bytes[100]);

    harbor.heal();
    harbor.set_fault_on(On::Blobs, Fault::WrongContentRange);
    let mut range = ask.clone();
    range.range = Some("bytes=5-".to_owned());
    let shifted = see(&lab, &range).await;
    assert_eq!(shifted.body, bytes[5..]);
    let total = format!("bytes 6-{}/{}", bytes.len() - 1, bytes.len());
    assert_eq!(shifted.headers["content-range"], total);

    harbor.heal();
    let slow = Duration::from_millis(200);
    harbor.set_fault_on(On::Blobs, Fault::SlowFirstByte(slow));
    let started = Instant::now();
    assert_eq!(see(&lab, &ask).await.body, bytes);
    assert!(started.elapsed() >= slow);

    harbor.heal();
    let (bytes_each, every) = (5000, Duration::from_millis(50));
    harbor.set_fault_on(
        On::Blobs,
        Fault::Drip {
            bytes: bytes_each,
            every,
        },
    );
    let started = Instant::now();
    assert_eq!(see(&lab, &ask).await.body, bytes);
    assert!(started.elapsed() >= every * 4);
}

/// Silence is only seen by somebody who gives up.
#[tokio::test]
async fn faults_of_silence() {
    let image = image();
    let wait = Duration::from_millis(300);
    for fault in [
        Fault::AcceptAndSilent,
        Fault::NoAnswer,
        Fault::SilentAfterHead,
        Fault::SilentAt(100),
    ] {
        let (harbor, lab) = harbor(&image).await;
        // A token first: a 401 is an answer about a blob too.
        see(&lab, &manifest(NGINX, "1")).await;
        harbor.set_fault_on(On::Blobs, fault.clone());
        let ask = layer(&image);
        let mut got = 0;
        let all = async {
            let mut answer = lab.ask(&ask).await.unwrap();
            while let Some(piece) = answer.body.next().await {
                got += piece.unwrap().len();
            }
        };
        assert!(tokio::time::timeout(wait, all).await.is_err(), "{fault:?}");
        let expected = if matches!(fault, Fault::SilentAt(_)) {
            100
        } else {
            0
        };
        assert_eq!(got, expected, "{fault:?}");
    }
}
