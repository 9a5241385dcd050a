//! Parts of a blob: the last bytes of it, and several ranges in one answer, as stargz and zstd:chunked ask for them.

use crate::client::{End, Got};
use crate::node::{Node, REPOSITORY, Setup, TIERED};
use crate::support::{FakeRegistry, Fault, Image, On, Recorded};
use harbor_pilot::telemetry::RequestOutcome;

const SIZE: usize = 1_000_000;

struct Lab {
    first: FakeRegistry,
    second: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new() -> Self {
        let image = Image::with_layers(21, &[SIZE]);
        let tier = || {
            FakeRegistry::builder()
                .harbor()
                .with_image(TIERED, "1", &image)
                .start()
        };
        let (first, second) = (tier().await, tier().await);
        let upstream = FakeRegistry::builder().start().await;
        let node = Setup::of(&[&first, &second], &upstream).start().await;
        Self {
            first,
            second,
            image,
            node,
        }
    }

    /// The size of the layer is known from its manifest.
    async fn knowing() -> Self {
        let lab = Self::new().await;
        assert_eq!(lab.node.pull("manifests/1").await.status, 200);
        lab
    }

    async fn range(&self, range: &str) -> Got {
        let path = format!("blobs/{}", self.image.layer().digest);
        self.node.range(&path, range).await
    }

    fn layer(&self) -> &[u8] {
        &self.image.layer().body
    }

    /// What is in the answer: each part's range and bytes.
    #[track_caller]
    fn assert_parts(&self, got: &Got, due: &[(usize, usize)]) {
        assert_eq!((got.status, got.end), (206, End::Clean), "{got:?}");
        let length = got.body.len().to_string();
        assert_eq!(got.header("content-length"), Some(length.as_str()));
        assert_eq!(got.header("content-range"), None);
        let parts = parts(got);
        let ranges = parts.iter().map(|(range, _)| range.clone());
        let total = self.layer().len();
        let expected = due.iter();
        let expected = expected.map(|(first, last)| format!("bytes {first}-{last}/{total}"));
        assert_eq!(ranges.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        for ((_, bytes), (first, last)) in parts.iter().zip(due) {
            assert!(*bytes == self.layer()[*first..=*last], "{first}-{last}");
        }
    }
}

/// The parts of a `multipart/byteranges` body (RFC 9110, 14.6; RFC 2046, 5.1).
fn parts(got: &Got) -> Vec<(String, Vec<u8>)> {
    let kind = got.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
    let delimiter = format!("--{}", boundary.expect(kind));
    let find = |from: usize, what: &[u8]| {
        let mut windows = got.body[from..].windows(what.len());
        from + windows.position(|window| window == what).unwrap()
    };
    assert!(got.body.starts_with(delimiter.as_bytes()));
    let mut at = delimiter.len();
    let mut found = Vec::new();
    loop {
        if &got.body[at..] == b"--\r\n" {
            return found;
        }
        let head_end = find(at, b"\r\n\r\n");
        let head = String::from_utf8(got.body[at..head_end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let range = lines.find_map(|line| line.strip_prefix("Content-Range: "));
        let end = find(head_end + 4, format!("\r\n{delimiter}").as_bytes());
        let bytes = got.body[head_end + 4..end].to_vec();
        found.push((range.unwrap().to_owned(), bytes));
        at = end + 2 + delimiter.len();
    }
}

/// What a source was asked for of blobs, the first 401 left out.
fn asked(source: &FakeRegistry) -> Vec<Option<String>> {
    let of_blobs =
        |it: &Recorded| it.path.contains("/blobs/") && it.header("authorization").is_some();
    let requests = source.requests();
    let requests = requests.iter().filter(|it| of_blobs(it));
    requests
        .map(|it| it.header("range").map(ToOwned::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_bytes_are_one_request() {
    for (lab, header) in [
        (Lab::knowing().await, "bytes=999900-999999"),
        (Lab::new().await, "bytes=-100"),
    ] {
        let got = lab.range("bytes=-100").await;
        assert_eq!((got.status, got.end), (206, End::Clean), "{got:?}");
        let range = "bytes 999900-999999/1000000";
        assert_eq!(got.header("content-range"), Some(range));
        assert!(got.body == lab.layer()[SIZE - 100..]);
        assert_eq!(asked(&lab.first), [Some(header.to_owned())]);
        assert!(asked(&lab.second).is_empty());
        // More than there is: all of it.
        let got = lab.range("bytes=-2000000").await;
        let range = "bytes 0-999999/1000000";
        assert_eq!(
            (got.status, got.header("content-range")),
            (206, Some(range))
        );
        assert!(got.body == lab.layer());
    }
    let lab = Lab::knowing().await;
    let got = lab.range("bytes=-0").await;
    let range = Some("bytes */1000000");
    assert_eq!((got.status, got.header("content-range")), (416, range));
}

/// A source that ignores such a range, or breaks in it, costs nothing but time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_bytes_come_from_whoever_has_them() {
    let lab = Lab::new().await;
    let whole = lab.layer().to_vec();
    lab.first.script(move |request| {
        let is_blob = request.path.contains("/blobs/");
        let reply = crate::support::Reply::new(200);
        is_blob.then(|| reply.body("application/octet-stream", whole.clone()))
    });
    let got = lab.range("bytes=-300000").await;
    assert!(got.status == 206 && got.body == lab.layer()[SIZE - 300_000..]);
    assert_eq!(&*lab.node.record(&got).await.tier, "t1");
    for fault in [Fault::CloseAt(100_000), Fault::WrongContentRange] {
        let lab = Lab::new().await;
        lab.first.set_fault_on(On::Blobs, fault.clone());
        let got = lab.range("bytes=-300000").await;
        assert_eq!((got.status, got.end), (206, End::Clean), "{fault:?}");
        assert!(got.body == lab.layer()[SIZE - 300_000..], "{fault:?}");
        assert_eq!(&*lab.node.record(&got).await.tier, "t2", "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_are_one_answer() {
    /// A header, the parts of the answer, and what the source is asked for.
    type Row = (
        &'static str,
        &'static [(usize, usize)],
        &'static [&'static str],
    );
    let table: &[Row] = &[
        (
            "bytes=0-99,1000-1099, 5000-5000",
            &[(0, 99), (1000, 1099), (5000, 5000)],
            &["bytes=0-5000"],
        ),
        (
            "bytes=0-99,-100",
            &[(0, 99), (999_900, 999_999)],
            &["bytes=0-99", "bytes=999900-999999"],
        ),
        (
            "bytes=500000-699999,100-199,300000-",
            &[(500_000, 699_999), (100, 199), (300_000, 999_999)],
            &[
                "bytes=500000-699999",
                "bytes=100-199",
                "bytes=300000-999999",
            ],
        ),
        // What begins behind the end is left out.
        (
            "bytes=7-8,1000000-,10-10",
            &[(7, 8), (10, 10)],
            &["bytes=7-10"],
        ),
    ];
    for (range, due, at_source) in table {
        let lab = Lab::knowing().await;
        let got = lab.range(range).await;
        lab.assert_parts(&got, due);
        let asked: Vec<_> = asked(&lab.first).into_iter().flatten().collect();
        assert_eq!(asked, *at_source, "{range}");
        let record = lab.node.record(&got).await;
        assert_eq!(record.outcome, RequestOutcome::Served, "{range}");
        assert_eq!((&*record.tier, record.resumes), ("t1", 0), "{range}");
    }
    let lab = Lab::knowing().await;
    // One of them is left: no need for parts.
    let got = lab.range("bytes=1000000-,5-9").await;
    let range = Some("bytes 5-9/1000000");
    assert_eq!((got.status, got.header("content-range")), (206, range));
    assert!(got.body == lab.layer()[5..10]);
    let got = lab.range("bytes=1000000-,2000000-").await;
    let range = Some("bytes */1000000");
    assert_eq!((got.status, got.header("content-range")), (416, range));
    // Together more than the whole, which is the better answer then; and it is proved.
    let got = lab.range("bytes=0-,1-").await;
    assert!(got.status == 200 && got.body == lab.layer());
}

/// Without a manifest the first byte tells the size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_of_an_unknown_size() {
    let lab = Lab::new().await;
    for _ in 0..2 {
        let got = lab.range("bytes=0-99,1000-1099").await;
        lab.assert_parts(&got, &[(0, 99), (1000, 1099)]);
    }
    let asked: Vec<_> = asked(&lab.first).into_iter().flatten().collect();
    assert_eq!(asked, ["bytes=0-0", "bytes=0-1099", "bytes=0-1099"]);
}

/// Each part is held to as a range of its own is (design P8, P13): offset, total and length, and it goes on from elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_breaks_goes_on_from_the_next_source() {
    let range = "bytes=0-399999,700000-999999";
    let due = [(0, 399_999), (700_000, 999_999)];
    for fault in [
        Fault::CloseAt(200_000),
        Fault::ResetAt(200_000),
        Fault::WrongContentRange,
        Fault::SilentAt(200_000),
    ] {
        let lab = Lab::knowing().await;
        lab.first.set_fault_on(On::Blobs, fault.clone());
        let got = lab.range(range).await;
        lab.assert_parts(&got, &due);
        assert_eq!(&*lab.node.record(&got).await.tier, "t2", "{fault:?}");
    }
    // Where nobody can go on it is cut: never a body that ends cleanly and is not whole.
    let lab = Lab::knowing().await;
    lab.first.set_fault_on(On::Blobs, Fault::CloseAt(300_000));
    lab.second
        .set_fault_on(On::Blobs, Fault::CloseInsteadOfAnswer);
    let got = lab.range(range).await;
    assert_eq!((got.status, got.end), (206, End::Fin));
    assert_eq!(lab.node.record(&got).await.outcome, RequestOutcome::Failed);
    // The same where the second part finds nobody.
    let lab = Lab::knowing().await;
    let digest = lab.image.layer().digest.to_string();
    for source in [&lab.first, &lab.second] {
        let digest = digest.clone();
        source.script(move |request| {
            let is_second = request.path.ends_with(&digest)
                && request.header("range") == Some("bytes=700000-999999");
            is_second.then(|| crate::support::Reply::new(404))
        });
    }
    let got = lab.range(range).await;
    assert_eq!((got.status, got.end), (206, End::Fin));
    let record = lab.node.record(&got).await;
    assert_eq!(record.outcome, RequestOutcome::Failed);
    assert!(record.error.contains("not_found"), "{record:?}");
}

/// What a client cannot have: no more requests, no more bytes than others get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_list_of_ranges_is_not_read() {
    let lab = Lab::knowing().await;
    let many = (0..1025).map(|n| format!("{n}-{n}"));
    let many = format!("bytes={}", many.collect::<Vec<_>>().join(","));
    for range in [many.as_str(), "bytes=0-1,x", "bytes=,", "items=0-1,3-4"] {
        let got = lab.range(range).await;
        assert_eq!((got.status, got.body.len()), (200, SIZE), "{range:.40}");
    }
    let some = (0..1024).map(|n| format!("{}-{}", n * 2, n * 2));
    let some = format!("bytes={}", some.collect::<Vec<_>>().join(","));
    let got = lab.range(&some).await;
    let due: Vec<_> = (0..1024).map(|n| (n * 2, n * 2)).collect();
    lab.assert_parts(&got, &due);
    // HEAD has no ranges, and a manifest none but one.
    let path = format!("/v2/{REPOSITORY}/blobs/{}", lab.image.layer().digest);
    let headers = [("Range", "bytes=0-1,5-9")];
    let got = lab.node.ask("HEAD", &path, &headers).await;
    let length = got.header("content-length");
    assert_eq!((got.status, length), (200, Some("1000000")));
    let got = lab.node.range("manifests/1", "bytes=0-1,5-9").await;
    assert!(got.status == 200 && got.body == lab.image.top.body);
}
