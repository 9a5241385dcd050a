//! containerd 1.6 by its own `ctr`, which Debian 12 has: whom it asks for an image, with which path, headers and TLS. It is
//! given a proxy, which is every host to it: each answers that it has not got the image, so that the next one is asked. Only
//! hosts of this machine are asked without the proxy, and nobody listens there.

use super::states::{authority, identities, parameters};
use rcgen::KeyPair;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// One request, or a handshake that `ctr` broke off because it does not trust the first identity's authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    host: String,
    request: String,
    headers: BTreeMap<String, String>,
    tls: Tls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tls {
    Plain,
    Refused,
    Trusted { client: Option<Vec<u8>> },
}

/// Every host that is no host of this machine.
pub(crate) struct Network {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            // One after the other, as `ctr` asks: so the log is in its order.
            for stream in listener.incoming() {
                let asked = answer(stream.unwrap());
                log.lock().unwrap().extend(asked);
            }
        });
        Self { address, asked }
    }

    /// Whom `ctr` asks for an image of the registry by its tag and by its digest.
    pub(crate) fn asks(&self, certs_d: &Path, registry: &str) -> Vec<Asked> {
        let digest = format!("sha256:{:064}", 7);
        for reference in [":1".to_owned(), format!("@{digest}")] {
            let image = format!("{registry}/some/image{reference}");
            let proxy = format!("http://{}", self.address);
            let status = Command::new("ctr")
                .args(["content", "fetch-object", "--hosts-dir"])
                .arg(certs_d)
                .args([&image, &digest])
                .env("HTTP_PROXY", &proxy)
                .env("HTTPS_PROXY", &proxy)
                // The authorities are those of the files alone.
                .env("SSL_CERT_FILE", "/dev/null")
                .env("SSL_CERT_DIR", "/nonexistent")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .expect("there is no ctr; `make deps` brings containerd");
            assert!(!status.success(), "nobody has {image}");
        }
        // Once this one is answered all of `ctr`'s are in the log.
        let mut last = TcpStream::connect(self.address).unwrap();
        last.write_all(b"LAST / HTTP/1.1\r\n\r\n").unwrap();
        last.read_to_end(&mut Vec::new()).unwrap();
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// What kinds of requests there were.
pub(crate) fn kinds(asked: &[Asked]) -> BTreeSet<&'static str> {
    let kind = |asked: &Asked| match &asked.tls {
        Tls::Plain => "without TLS",
        Tls::Refused => "refused for its certificate",
        Tls::Trusted { client: None } => "over TLS",
        Tls::Trusted { client: Some(_) } => "with a client certificate",
    };
    let headers = asked
        .iter()
        .filter(|one| one.headers.contains_key("x-of-host"));
    asked
        .iter()
        .map(kind)
        .chain(headers.map(|_| "with a header"))
        .collect()
}

/// Takes one connection, to its end.
fn answer(mut stream: TcpStream) -> Option<Asked> {
    let (request, headers) = head(&mut stream)?;
    if request.starts_with("LAST") {
        return None;
    }
    let Some(host) = request.strip_prefix("CONNECT ") else {
        let host = headers.get("host").cloned().unwrap_or_default();
        not_found(&mut stream);
        return Some(Asked {
            host,
            request,
            headers,
            tls: Tls::Plain,
        });
    };
    let host = host.split(' ').next().unwrap_or_default().to_owned();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
    let connection = ServerConnection::new(server(name)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let Some((request, headers)) = head(&mut stream) else {
        return Some(Asked {
            host,
            request: String::new(),
            headers: BTreeMap::new(),
            tls: Tls::Refused,
        });
    };
    not_found(&mut stream);
    stream.conn.send_close_notify();
    let _ = stream.flush();
    let client = stream.conn.peer_certificates();
    let client = client.and_then(|chain| Some(chain.first()?.to_vec()));
    Some(Asked {
        host,
        request,
        headers,
        tls: Tls::Trusted { client },
    })
}

fn not_found(stream: &mut impl Write) {
    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    // Whoever has gone has been heard.
    let _ = stream.write_all(answer);
}

/// The first line and the headers of a request; `None`: there is none.
fn head(stream: &mut impl Read) -> Option<(String, BTreeMap<String, String>)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next()?;
    let lines = lines.take_while(|line| !line.is_empty());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    });
    Some((request, headers.collect()))
}

/// A server of that name with a certificate of the first identity's authority, which asks for the identities as clients.
fn server(name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters(name).signed_by(&key, &authority()).unwrap();
    let mut clients = RootCertStore::empty();
    for (pem, _) in identities() {
        clients
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider.clone());
    let clients = clients.allow_unauthenticated().build().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Arc::new(config)
}
