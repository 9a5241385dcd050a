//! What sources say of their bodies and do not do, or do and do not say: codings that nobody asked for, TLS that ends without a
//! word, and HEAD that is forbidden where GET is not. containerd can use them all.

use crate::node::{Node, REPOSITORY, Setup, TIERED, write};
use crate::support::{
    Blob, FakeRegistry, Fault, Framing, Image, OCI_MANIFEST, Recorded, Reply, TestCa, random_bytes,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use harbor_pilot::telemetry::{EventName, RequestOutcome};
use std::io::Write as _;

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::fast());
    packing.write_all(plain).unwrap();
    packing.finish().unwrap()
}

/// A registry with the image, and what its answers are made of.
async fn registry(
    repository: &str,
    image: &Image,
    script: impl Fn(&Recorded, &Image) -> Option<Reply> + Send + 'static,
) -> FakeRegistry {
    let registry = FakeRegistry::builder().with_image(repository, "1", image);
    let registry = registry.start().await;
    let image = image.clone();
    registry.script(move |request| script(request, &image));
    registry
}

fn blob_of<'a>(request: &Recorded, image: &'a Image) -> Option<&'a Blob> {
    let mut blobs = image.blobs.iter();
    blobs.find(|blob| request.path.ends_with(blob.digest.as_str()))
}

async fn assert_pulls(node: &Node, image: &Image, said: &str) {
    let by_digest = format!("manifests/{}", image.top.digest);
    for what in ["manifests/1", &by_digest] {
        let got = node.pull(what).await;
        assert_eq!(
            (got.status, &got.body),
            (200, &image.top.body),
            "{said}: {what}: {got:?}"
        );
    }
    for blob in &image.blobs {
        let got = node.pull(&format!("blobs/{}", blob.digest)).await;
        assert_eq!(got.status, 200, "{said}: {got:?}");
        assert!(got.body == blob.body, "{said}: {got:?}");
    }
    assert_eq!(node.count(EventName::DigestMismatch), 0, "{said}");
}

/// The label lies, as object stores' do: the digest decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_what_its_digest_says_whatever_its_label() {
    let image = Image::with_layers(71, &[30_000, 300_000]);
    for label in ["x-gzip", "aws-chunked", "gzip", "br"] {
        let upstream = registry(REPOSITORY, &image, move |request, image| {
            let blob = blob_of(request, image)?;
            let whole = Reply::new(200).body("application/octet-stream", blob.body.clone());
            Some(whole.header("Content-Encoding", label))
        })
        .await;
        let node = Setup::of(&[], &upstream).start().await;
        assert_pulls(&node, &image, label).await;
        // And without any manifest before.
        let node = Setup::of(&[], &upstream).start().await;
        let got = node.pull(&format!("blobs/{}", image.layer().digest)).await;
        assert!(got.body == image.layer().body, "{label}: {got:?}");
    }
}

/// The label is true: those are other bytes, and the next source's are used. Nobody has sent wrong ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_packed_on_its_way_comes_from_elsewhere() {
    let image = Image::with_layers(72, &[30_000, 300_000]);
    for framing in [Framing::Length, Framing::Chunked] {
        let tier = registry(TIERED, &image, move |request, image| {
            let blob = blob_of(request, image)?;
            let whole = Reply::new(200).body("application/octet-stream", packed(&blob.body));
            Some(whole.header("Content-Encoding", "gzip").framing(framing))
        })
        .await;
        let upstream = registry(REPOSITORY, &image, |_, _| None).await;
        let node = Setup::of(&[&tier], &upstream).start().await;
        assert_pulls(&node, &image, &format!("{framing:?}")).await;
        assert_eq!(node.count(EventName::EndpointEjected), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_packed_is_unpacked() {
    let image = Image::random(73, 1);
    for (told, label) in [
        (true, "gzip"),
        (false, "gzip"),
        (true, "x-gzip"),
        (true, "br"),
    ] {
        let upstream = registry(REPOSITORY, &image, move |request, image| {
            let is_manifest = request.path.contains("/manifests/");
            let body = match label {
                // It lies.
                "br" => image.top.body.clone(),
                _ => packed(&image.top.body),
            };
            let mut reply = Reply::new(200).header("Content-Encoding", label);
            if told {
                reply = reply.header("Docker-Content-Digest", image.top.digest.as_str());
            }
            is_manifest.then(|| reply.body(OCI_MANIFEST, body))
        })
        .await;
        let node = Setup::of(&[], &upstream).start().await;
        let said = format!("{label}, {told}");
        let head = node.head("manifests/1").await;
        let length = head.header("content-length").map(ToOwned::to_owned);
        assert_eq!(
            length,
            Some(image.top.body.len().to_string()),
            "{said}: {head:?}"
        );
        assert_pulls(&node, &image, &said).await;
    }
}

/// A manifest in a coding that cannot be undone, and one that would be too long: the next source, and nobody is penalised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_in_another_coding_comes_from_elsewhere() {
    let image = Image::random(74, 1);
    type Body = fn(&Image) -> Vec<u8>;
    let codings: [(&str, Body); 3] = [
        ("br", |image| random_bytes(9, image.top.body.len())),
        ("gzip", |image| packed(&image.top.body)[..30].to_vec()),
        ("gzip", |_| packed(&vec![b' '; 64 << 20])),
    ];
    for (label, coded) in codings {
        let tier = registry(TIERED, &image, move |request, image| {
            let is_manifest = request.path.contains("/manifests/");
            let reply = || Reply::new(200).header("Content-Encoding", label);
            is_manifest.then(|| reply().body(OCI_MANIFEST, coded(image)))
        })
        .await;
        let upstream = registry(REPOSITORY, &image, |_, _| None).await;
        let node = Setup::of(&[&tier], &upstream).start().await;
        for _ in 0..4 {
            assert_pulls(&node, &image, label).await;
        }
        assert_eq!(node.count(EventName::EndpointEjected), 0, "{label}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_unpacked_and_must_be_whole() {
    let image = Image::random(75, 1);
    let tags = r#"{"name":"library/app","tags":["1"]}"#;
    let cases = [
        (packed(tags.as_bytes()), Some("gzip"), 200),
        (tags.into(), Some("aws-chunked"), 200),
        (tags[..20].into(), None, 503),
        (packed(tags.as_bytes()), None, 503),
    ];
    for (body, label, status) in cases {
        let upstream = registry(REPOSITORY, &image, move |request, _| {
            let mut reply = Reply::json(200, body.clone());
            if let Some(label) = label {
                reply = reply.header("Content-Encoding", label);
            }
            request.path.ends_with("/tags/list").then_some(reply)
        })
        .await;
        let node = Setup::of(&[], &upstream).start().await;
        let got = node.pull("tags/list").await;
        assert_eq!(got.status, status, "{label:?}: {got:?}");
        assert!(status != 200 || got.text() == tags, "{label:?}: {got:?}");
    }
}

/// There are registries, and filters before them, that take GET alone. Nothing is remembered of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_403_to_head_alone_is_asked_again_by_get() {
    let image = Image::random(76, 1);
    for content_type in ["application/json", "text/html"] {
        let upstream = registry(REPOSITORY, &image, move |request, _| {
            let forbidden = Reply::new(403).body(content_type, "no");
            (request.method == "HEAD").then_some(forbidden)
        })
        .await;
        let node = Setup::of(&[], &upstream).start().await;
        let layer = format!("blobs/{}", image.layer().digest);
        for (what, length) in [
            (layer.as_str(), image.layer().body.len()),
            ("manifests/1", image.top.body.len()),
        ] {
            let head = node.head(what).await;
            assert_eq!(head.status, 200, "{what}: {head:?}");
            let told = head.header("content-length");
            assert_eq!(told, Some(length.to_string().as_str()), "{what}");
        }
        assert_pulls(&node, &image, content_type).await;
        // GET is forbidden as well: that is the registry's word, unless it is in HTML.
        upstream.script(move |_| Some(Reply::new(403).body(content_type, "no")));
        let head = node.head("manifests/2").await;
        let status = if content_type == "text/html" {
            503
        } else {
            404
        };
        assert_eq!(head.status, status, "{head:?}");
    }
}

/// An upstream with TLS that ends its connections without close_notify, where bodies end with the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_ends_without_a_word_is_good_where_a_digest_proves_the_body() {
    let (ca, home) = (TestCa::new(), tempfile::tempdir().unwrap());
    let file = home.path().join("ca.pem");
    write(&file, ca.pem());
    let image = Image::with_layers(77, &[30_000, 300_000]);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.tls(&ca, &["127.0.0.1"]).start().await;
    let copy = image.clone();
    let unannounced = |reply: Reply| reply.framing(Framing::Close).fault(Fault::NoCloseNotify);
    upstream.script(move |request| {
        let reply = if request.path.contains("/manifests/") {
            Reply::new(200).body(OCI_MANIFEST, copy.top.body.clone())
        } else if request.path.ends_with("/tags/list") {
            Reply::json(200, r#"{"name":"library/app","tags":["1"]}"#)
        } else {
            let blob = blob_of(request, &copy)?;
            Reply::new(200).body("application/octet-stream", blob.body.clone())
        };
        Some(unannounced(reply))
    });
    let keys = format!("ca_file = \"{}\"", file.display());
    let setup = Setup::default().registry(&upstream.base_url(), &keys);
    for verify in ["always", "suspect"] {
        let setup = setup
            .clone()
            .and(&format!("[relay]\nverify = \"{verify}\"\n"));
        let node = setup.start().await;
        // Blobs of unknown size first.
        for blob in &image.blobs {
            let got = node.pull(&format!("blobs/{}", blob.digest)).await;
            assert!(got.body == blob.body, "{verify}: {got:?}");
        }
        assert_pulls(&node, &image, verify).await;
        assert_eq!(node.pull("tags/list").await.status, 200);
        assert_eq!(node.count(EventName::EndpointEjected), 0);
    }
}

/// The same in the middle of a blob of unknown length is no end, and nobody's wrong bytes: another source goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_breaks_without_a_word_is_no_end() {
    let (ca, home) = (TestCa::new(), tempfile::tempdir().unwrap());
    let file = home.path().join("ca.pem");
    write(&file, ca.pem());
    let image = Image::with_layers(78, &[300_000, 30_000]);
    let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
    let tier = tier.tls(&ca, &["127.0.0.1"]).start().await;
    let copy = image.clone();
    tier.script(move |request| {
        let body = &blob_of(request, &copy)?.body;
        let part = Reply::new(200).body("application/octet-stream", &body[..body.len() / 2]);
        Some(part.framing(Framing::Close).fault(Fault::NoCloseNotify))
    });
    let upstream = registry(REPOSITORY, &image, |_, _| None).await;
    let keys = format!("ca_file = \"{}\"", file.display());
    let setup = Setup::default().tier(&tier.base_url(), &keys);
    let node = setup.registry(&upstream.base_url(), "").start().await;
    for (blob, outcome) in [
        (&image.blobs[0], RequestOutcome::Resumed),
        (&image.blobs[1], RequestOutcome::Failover),
    ] {
        let got = node.pull(&format!("blobs/{}", blob.digest)).await;
        assert!(got.body == blob.body, "{got:?}");
        let record = node.record(&got).await;
        assert_eq!(record.outcome, outcome, "{record:?}");
        assert!(record.error.contains("reset"), "{record:?}");
    }
    assert_eq!(node.count(EventName::DigestMismatch), 0);
}
