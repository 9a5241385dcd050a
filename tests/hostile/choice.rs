//! What a client chooses, and what this node lacks, has no address ejected: not by three requests, and not by any number.

use crate::client::{Client, Got};
use crate::node::{Node, REPOSITORY, Setup, TIERED, write};
use crate::support::{FakeRegistry, Fault, Framing, Image, OCI_MANIFEST, Realm, Recorded, Reply};
use harbor_pilot::oci::Digest;
use harbor_pilot::telemetry::EventName;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// More than three in a row, and more than the 20 of which half must go well.
const REQUESTS: usize = 30;

/// A tier and the registry itself, which answer what is scripted, and else have the image.
struct Lab {
    tier: FakeRegistry,
    upstream: FakeRegistry,
    image: Image,
    node: Node,
}

impl Lab {
    async fn new(script: impl Fn(&Recorded) -> Option<Reply> + Clone + Send + 'static) -> Self {
        let image = Image::random(61, 1);
        let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
        let tier = tier.start().await;
        let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
        let upstream = upstream.start().await;
        for source in [&tier, &upstream] {
            let script = script.clone();
            source.script(move |request| script(request));
        }
        let node = Setup::of(&[&tier], &upstream).start().await;
        Self {
            tier,
            upstream,
            image,
            node,
        }
    }

    /// Asks so often, and then for the image, which the tier serves as before.
    async fn nobody_is_ejected(&self, name: &str, mut ask: impl AsyncFnMut(&Node, usize)) {
        for nth in 0..REQUESTS {
            ask(&self.node, nth).await;
        }
        let got = self.node.pull("manifests/1").await;
        assert_eq!(got.status, 200, "{name}: {got:?}");
        let by = got.header("x-harbor-pilot-served-by").unwrap();
        assert!(by.starts_with("t1/"), "{name}: served by {by}");
        let layer = self
            .node
            .pull(&format!("blobs/{}", self.image.layer().digest))
            .await;
        assert_eq!(layer.body, self.image.layer().body, "{name}");
        let events = self.node.journal.events();
        let ejected = self.node.count(EventName::EndpointEjected);
        assert_eq!(ejected, 0, "{name}: {events:?}");
        println!("{name}: no address ejected by {REQUESTS} requests");
    }
}

fn manifest(body: &str, told: Option<&Digest>) -> Reply {
    let reply = Reply::new(200).body(OCI_MANIFEST, body);
    match told {
        Some(digest) => reply.header("Docker-Content-Digest", digest.as_str()),
        None => reply,
    }
}

/// Manifests as a client may have pushed them, which the agent does not understand.
fn unreadable() -> Vec<String> {
    let image = format!("\"mediaType\":\"{OCI_MANIFEST}\"");
    let digest = Digest::sha256(b"x");
    vec![
        format!("{{\"schemaVersion\":2,{image},\"config\":{{}},\"layers\":[],\"errors\":[]}}"),
        format!("{{\"schemaVersion\":2,\"schemaVersion\":2,{image},\"layers\":[{{}}]}}"),
        format!("{{\"schemaVersion\":2,{image},{image},\"layers\":[{{}}]}}"),
        format!(
            "{{\"schemaVersion\":2,{image},\"config\":{{\"digest\":\"{digest}\",\"size\":2e5}}}}"
        ),
        format!("{{\"schemaVersion\":2,{image},\"config\":{{\"digest\":7,\"size\":2}}}}"),
        format!("{{{image},\"layers\":[{{\"digest\":\"{digest}\",\"size\":1}}]}}"),
        "{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\",\"blobs\":[]}".to_owned(),
        "{\"schemaVersion\":2,\"manifests\":[{\"size\":1}],\"config\":{\"size\":1}}".to_owned(),
    ]
}

/// By digest the digest is the proof: each is passed on as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_its_digest_proves_is_passed_on_whatever_it_says() {
    let lab = Lab::new(|request| {
        let bodies = unreadable();
        let mut bodies = bodies
            .iter()
            .map(|body| (Digest::sha256(body.as_bytes()), body));
        let (digest, body) = bodies.find(|(digest, _)| request.path.ends_with(digest.as_str()))?;
        Some(manifest(body, Some(&digest)))
    })
    .await;
    let bodies = unreadable();
    let ask = async |node: &Node, nth: usize| {
        let body = &bodies[nth % bodies.len()];
        let got = node
            .pull(&format!("manifests/{}", Digest::sha256(body.as_bytes())))
            .await;
        assert_eq!((got.status, got.text()), (200, body.clone()), "{got:?}");
        let by = got.header("x-harbor-pilot-served-by").unwrap();
        assert!(by.starts_with("t1/"), "{by}");
    };
    lab.nobody_is_ejected("unreadable manifests by digest", ask)
        .await;
}

/// By tag without a digest in the head nothing proves them: nobody passes them on, and nobody is penalised.
/// A signed manifest of schema 1, and the digest of its payload, by which registries name it.
fn signed() -> (String, Digest) {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let (begin, tail) = ("{\n   \"schemaVersion\": 1,\n   \"fsLayers\": []", "\n}");
    let (length, end) = (begin.len(), encode(tail));
    let protected = encode(&format!(
        "{{\"formatLength\":{length},\"formatTail\":\"{end}\"}}"
    ));
    let body = format!("{begin},\n   \"signatures\": [{{\"protected\": \"{protected}\"}}]\n}}");
    (body, Digest::sha256(format!("{begin}{tail}").as_bytes()))
}

/// Its digest is another than that of its bytes, and no source is wrong for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_manifest_of_schema_1_is_proved_by_its_payload() {
    let lab = Lab::new(|request| {
        let (body, digest) = signed();
        let is_meant = ["/manifests/old", digest.as_str()]
            .iter()
            .any(|end| request.path.ends_with(end));
        is_meant.then(|| {
            let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
            Reply::new(200)
                .body(kind, body)
                .header("Docker-Content-Digest", digest.as_str())
        })
    })
    .await;
    let (body, digest) = signed();
    let ask = async |node: &Node, nth: usize| {
        let what = ["manifests/old".to_owned(), format!("manifests/{digest}")];
        let got = node.pull(&what[nth % 2]).await;
        assert_eq!((got.status, got.text()), (200, body.clone()), "{got:?}");
        assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()));
        let by = got.header("x-harbor-pilot-served-by").unwrap();
        assert!(by.starts_with("t1/"), "{by}");
    };
    lab.nobody_is_ejected("signed manifests of schema 1", ask)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_nothing_proves_is_held_against_nobody() {
    let lab = Lab::new(|request| {
        let nth: usize = request
            .path
            .rsplit_once("/manifests/odd-")?
            .1
            .parse()
            .ok()?;
        let bodies = unreadable();
        Some(manifest(&bodies[nth % bodies.len()], None))
    })
    .await;
    let ask = async |node: &Node, nth: usize| {
        let got = node.pull(&format!("manifests/odd-{nth}")).await;
        assert_eq!(got.status, 503, "{got:?}");
        let record = node.record(&got).await;
        assert!(record.error.contains("wrong_content"), "{record:?}");
    };
    lab.nobody_is_ejected("unreadable manifests by tag", ask)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_longer_than_is_taken_is_held_against_nobody() {
    let lab = Lab::new(|request| {
        let long = request.path.ends_with("/manifests/long");
        long.then(|| manifest(&" ".repeat((4 << 20) + 1), None))
    })
    .await;
    let ask = async |node: &Node, _| {
        let got = node.pull("manifests/long").await;
        assert_eq!(got.status, 503, "{got:?}");
        assert!(
            got.message().contains("t1/") && got.message().contains("too_large"),
            "{got:?}"
        );
    };
    lab.nobody_is_ejected("manifests of more than 4 MiB", ask)
        .await;
}

/// Sources that cut a connection over a long head, or over what a filter before them takes for an attack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_accepts_reaches_no_source() {
    let lab = Lab::new(|request| {
        let accept = request.header("accept").unwrap_or_default();
        let takes_offence = accept.len() > 4096 || accept.contains("() {");
        takes_offence.then(|| Reply::new(200).fault(Fault::ResetInsteadOfAnswer))
    })
    .await;
    let long = vec!["application/vnd.oci.image.manifest.v1+json"; 1300].join(",");
    assert!(long.len() > 55_000);
    let ask = async |node: &Node, nth: usize| {
        let accept = match nth % 2 {
            0 => &long,
            _ => "application/vnd.oci.image.manifest.v1+json, () { :; }",
        };
        let (what, status) = match nth % 4 {
            0 | 1 => (format!("manifests/unknown-{nth}"), 404),
            _ => ("tags/list".to_owned(), 200),
        };
        let target = format!("/v2/{REPOSITORY}/{what}?ns=docker.io");
        let got = node.ask("GET", &target, &[("Accept", accept)]).await;
        assert_eq!(got.status, status, "{got:?}");
    };
    lab.nobody_is_ejected("Accept of 55 KB", ask).await;
    for source in [&lab.tier, &lab.upstream] {
        let requests = source.requests();
        let mut accepts = requests
            .iter()
            .filter_map(|request| request.header("accept"));
        assert!(accepts.all(|accept| accept.len() <= 1024 && !accept.contains('(')));
    }
}

/// A Harbor whose own upstream is out says so in JSON, for every blob that it has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_blob_that_a_tier_cannot_fetch_is_held_against_nobody() {
    let lab = Lab::new(|request| {
        let cold = request.path.contains("/blobs/") && request.path.ends_with('0');
        cold.then(|| Reply::error(502, "UNKNOWN", "unknown: 502 Bad Gateway"))
    })
    .await;
    assert!(!lab.image.layer().digest.as_str().ends_with('0'));
    let ask = async |node: &Node, nth: usize| {
        let digest = format!("sha256:{nth:063x}0");
        assert_eq!(node.pull(&format!("blobs/{digest}")).await.status, 503);
    };
    lab.nobody_is_ejected("blobs that are 502 in JSON", ask)
        .await;
}

/// A token service that does not take the scope of a repository that the client made up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_for_a_name_is_held_against_nobody() {
    let image = Image::random(62, 1);
    let hub = FakeRegistry::builder()
        .docker_hub()
        .with_image(REPOSITORY, "1", &image);
    let hub = hub.with(|it| it.realm = Realm::Own).start().await;
    hub.script(|request| {
        let scope = request.parameter("scope").unwrap_or_default();
        scope
            .contains("made-up")
            .then(|| Reply::error(400, "UNKNOWN", "what is that"))
    });
    let node = Setup::of(&[], &hub).start().await;
    for nth in 0..REQUESTS {
        let got = node
            .get(&format!("/v2/made-up/{nth}/manifests/1?ns=docker.io"))
            .await;
        assert_eq!(got.status, 503, "{got:?}");
        let record = node.record(&got).await;
        assert!(record.error.contains("token_refused"), "{record:?}");
    }
    assert_eq!(node.pull("manifests/1").await.status, 200);
    assert_eq!(node.count(EventName::EndpointEjected), 0);
    println!("names that no token is given for: no address ejected by {REQUESTS} requests");
}

/// The real program with few descriptors, all of which idle connections of a client hold. A connection that was open before goes
/// on asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_descriptors_ejects_nobody() {
    let image = Image::random(63, 1);
    let tier = FakeRegistry::builder().with_image(TIERED, "1", &image);
    let tier = tier.start().await;
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    for source in [&tier, &upstream] {
        // No connection is kept: each request dials.
        source.script(|_| Some(Reply::error(404, "UNKNOWN", "no").framing(Framing::Close)));
    }
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    write(&file, &Setup::of(&[&tier], &upstream).text(home.path()));
    let mut agent = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" run --config \"$1\""])
        .arg(env!("CARGO_BIN_EXE_harbor-pilot"))
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(agent.stderr.take().unwrap());
    let mut line = String::new();
    let serving: SocketAddr = loop {
        line.clear();
        assert_ne!(
            log.read_line(&mut line).unwrap(),
            0,
            "it says where it serves"
        );
        if let Some((_, at)) = line.split_once("serving on ") {
            break at.split_whitespace().next().unwrap().parse().unwrap();
        }
    };
    let mut asker = Client::connect(serving).await;
    assert_eq!(ask(&mut asker).await.status, 404);
    let idle: Vec<_> = (0..80)
        .map(|_| TcpStream::connect(serving).unwrap())
        .collect();
    // What the start still holds (probes, lookups) is freed meanwhile, and accepting, which pauses where it finds no descriptor,
    // takes it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut failed = 0;
    for _ in 0..REQUESTS {
        let got = ask(&mut asker).await;
        failed += usize::from(got.status == 503 && got.message().contains("local"));
    }
    assert!(failed >= REQUESTS - 5, "only {failed} met a full table");
    drop(idle);
    let well = async {
        while ask(&mut asker).await.status != 404 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), well)
        .await
        .expect("it serves again");
    let told = Command::new("kill").arg(agent.id().to_string()).status();
    assert!(told.unwrap().success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    agent.wait().unwrap();
    assert!(!rest.contains("eject"), "{rest}");
    println!("no descriptors left: no address ejected by {failed} requests");
}

async fn ask(client: &mut Client) -> Got {
    client
        .ask("GET", &crate::node::target("manifests/1"), &[])
        .await;
    client.answer(false).await
}
