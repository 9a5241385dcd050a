//! `[server.gateway]`: clients on other machines, over TLS.

use crate::client::Client;
use crate::node::{Node, Setup, write};
use crate::support::{FakeRegistry, Image, TestCa};
use harbor_pilot::lifecycle::RawSignal;
use harbor_pilot::telemetry::EventName;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const NAME: &str = "registry.example.com";
const ROUTER: &str = "[router]\nnames = [\"registry.example.com\"]\n[direct]\nenabled = false\n";

struct Lab {
    ca: TestCa,
    hub: FakeRegistry,
    image: Image,
    home: TempDir,
}

impl Lab {
    async fn new() -> Self {
        let image = Image::with_layers(171, &[3_000_000]);
        let hub = FakeRegistry::builder().harbor();
        let hub = hub.with_image("proxy-docker-io/org/app", "1", &image);
        let lab = Self {
            ca: TestCa::new(),
            hub: hub.start().await,
            image,
            home: tempfile::tempdir().unwrap(),
        };
        lab.renew();
        lab
    }

    /// Writes a fresh pair.
    fn renew(&self) {
        let (cert, key) = self.ca.pair(&[NAME]);
        write(&self.file("gateway.crt"), &cert);
        write(&self.file("gateway.key"), &key);
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn setup(&self) -> Setup {
        Setup::default().and(ROUTER).and(&format!(
            "[server.gateway]\nlisten = [\"127.0.0.1:0\"]\ncert_file = {:?}\nkey_file = {:?}\n",
            self.file("gateway.crt"),
            self.file("gateway.key"),
        ))
    }

    /// With a tier that has the image.
    async fn start(&self) -> Node {
        let setup = self.setup().tier(&self.hub.base_url(), "");
        setup.start().await
    }

    async fn connect(&self, node: &Node) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.ca.pem().as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = Arc::new(config.with_no_client_auth());
        let tcp = TcpStream::connect(node.gateway.unwrap()).await?;
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(config).connect(name, tcp).await
    }

    /// What a client of that name is answered: the status and the body.
    async fn get(&self, node: &Node, path: &str) -> (u16, Vec<u8>) {
        let mut tls = self.connect(node).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {NAME}:8443\r\nConnection: close\r\n\r\n");
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Truncation is an error here: the answer ends with close_notify.
        tls.read_to_end(&mut answer).await.unwrap();
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = answer.split_off(head.unwrap() + 4);
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, body)
    }

    /// The certificate that is shown.
    async fn shown(&self, node: &Node) -> Vec<u8> {
        let tls = self.connect(node).await.unwrap();
        tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

async fn admin(node: &Node, path: &str) -> u16 {
    let mut client = Client::connect(node.admin).await;
    client.ask("GET", path, &[]).await;
    client.answer(false).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_by_the_name_that_was_dialled() {
    let lab = Lab::new().await;
    let node = lab.start().await;
    assert_eq!(lab.get(&node, "/v2/").await, (200, b"{}".to_vec()));
    let manifest = lab.get(&node, "/v2/proxy/org/app/manifests/1").await;
    assert_eq!(manifest, (200, lab.image.top.body.clone()));
    let layer = lab.image.layer();
    let blob = format!("/v2/proxy/org/app/blobs/{}", layer.digest);
    assert_eq!(lab.get(&node, &blob).await, (200, layer.body.clone()));
    // containerd says the name itself.
    let named = format!("/v2/proxy/org/app/manifests/1?ns={NAME}");
    assert_eq!(lab.get(&node, &named).await.0, 200);
    // Containerd's own listener goes by no Host.
    let plain = node.get("/v2/proxy/org/app/manifests/1").await;
    assert_eq!(plain.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_several_requests() {
    let lab = Lab::new().await;
    let node = lab.start().await;
    let mut tls = lab.connect(&node).await.unwrap();
    for _ in 0..3 {
        let request =
            format!("HEAD /v2/proxy/org/app/manifests/1 HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tls.read_u8().await.unwrap());
        }
        assert!(
            head.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&head)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_without_a_restart_and_a_broken_pair_changes_nothing() {
    let lab = Lab::new().await;
    let node = lab.start().await;
    let mut open = lab.connect(&node).await.unwrap();
    let first = lab.shown(&node).await;

    lab.renew();
    node.signal(RawSignal::Hangup).await;
    node.event(EventName::ConfigReloaded).await;
    let second = lab.shown(&node).await;
    assert_ne!(first, second);

    // Another certificate's key: by its file alone, without a signal.
    let (_, other) = lab.ca.pair(&[NAME]);
    write(&lab.file("gateway.key"), &other);
    let said = node.event(EventName::ConfigRejected).await;
    assert!(said.reason.contains("does not belong"), "{said:?}");
    assert_eq!(lab.shown(&node).await, second);
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    open.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_healthy_with_projects_and_ready_as_the_admin_endpoint_says() {
    let lab = Lab::new().await;
    let node = lab.setup().start().await;
    assert_eq!(lab.get(&node, "/healthz").await.0, 503, "no project");
    assert_eq!(
        lab.get(&node, "/readyz").await.0,
        admin(&node, "/readyz").await
    );

    let node = lab.start().await;
    assert_eq!(lab.get(&node, "/healthz").await, (200, b"ok\n".to_vec()));
    let (ready, _) = lab.get(&node, "/readyz").await;
    assert_eq!((ready, admin(&node, "/readyz").await), (200, 200));
    // Nothing of the node is told to other machines, and containerd's listener has no such pages.
    for path in ["/status", "/metrics", "/livez", "/"] {
        assert_eq!(lab.get(&node, path).await.0, 404, "{path}");
    }
    assert_eq!(node.get("/healthz").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_no_key_pulls_nothing_but_may_ask_for_its_health() {
    let lab = Lab::new().await;
    write(&lab.file("key"), "open sesame");
    let setup = lab.setup().tier(&lab.hub.base_url(), "");
    let setup = setup.server(&format!("require_header_file = {:?}", lab.file("key")));
    let node = setup.start().await;
    assert_eq!(lab.get(&node, "/v2/proxy/org/app/manifests/1").await.0, 404);
    assert_eq!(lab.get(&node, "/healthz").await.0, 200);
    assert!(lab.hub.requests().is_empty());
}

/// Neither one that speaks no TLS nor one that says nothing holds anybody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_shake_no_hands_hold_nobody_up() {
    let lab = Lab::new().await;
    let node = lab.start().await;
    let gateway = node.gateway.unwrap();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(gateway).await.unwrap());
    }
    let mut plain = TcpStream::connect(gateway).await.unwrap();
    plain
        .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = plain.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(15), read)
        .await
        .unwrap();
    assert!(
        !answer.starts_with(b"HTTP"),
        "it is told nothing in plain text"
    );
    assert_eq!(lab.get(&node, "/v2/proxy/org/app/manifests/1").await.0, 200);
}
