//! Which certificates are accepted, shown by real servers with certificates made on the spot.

use super::support::{Server, endpoint, fetch, tier, timeouts, upstream};
use crate::topology::{Failure, Source};
use crate::upstream::{Client, Error};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::time::SystemTime;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A certificate with its key, PEM.
pub(super) struct Issued {
    pub(super) pem: String,
    pub(super) key: String,
}

pub(super) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

pub(super) fn self_signed(params: &CertificateParams) -> Issued {
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    Issued { pem, key }
}

/// Self-signed, as `openssl req -x509` makes them: an authority and a server at once.
pub(super) fn certificate(names: &[&str]) -> Issued {
    let mut params = params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    self_signed(&params)
}

pub(super) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(&[]);
    params
        .distinguished_name
        .push(DnType::CommonName, "test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn issue(
    authority: &CertifiedIssuer<'_, KeyPair>,
    params: &CertificateParams,
) -> Issued {
    let key = KeyPair::generate().unwrap();
    let pem = params.signed_by(&key, authority).unwrap().pem();
    let key = key.serialize_pem();
    Issued { pem, key }
}

pub(super) fn chain(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

pub(super) fn serving(issued: &Issued) -> Arc<ServerConfig> {
    let (chain, key) = chain(issued);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

/// A source at 127.0.0.1 whose certificate must fit that address.
pub(super) fn source_at(server: &Server, ca: Option<&str>) -> Source {
    let mut source = upstream(&format!("https://{}", server.address));
    source.tls.ca = ca.map(|pem| pem.as_bytes().into());
    source
}

async fn outcome(issued: &Issued, ca: Option<&str>) -> Result<(), Error> {
    let server = Server::answering(Some(serving(issued)), OK).await;
    let source = Arc::new(source_at(&server, ca));
    let client = Client::new(timeouts());
    let response = fetch(&client, &source, server.address).await?;
    assert_eq!(response.body.read_to(2).await.unwrap(), "ok");
    assert_eq!(client.idle_connections(), 1);
    Ok(())
}

#[tokio::test]
async fn certificates_are_accepted_or_refused() {
    let authority = authority();
    let ca = authority.pem();
    let mut expired = params(&["127.0.0.1"]);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut future = params(&["127.0.0.1"]);
    future.not_before = date_time_ymd(2200, 1, 1);
    let mut common_name = params(&[]);
    common_name
        .distinguished_name
        .push(DnType::CommonName, "127.0.0.1");
    let mut both = params(&["elsewhere.example.com"]);
    both.distinguished_name
        .push(DnType::CommonName, "127.0.0.1");
    let pin = certificate(&["127.0.0.1"]);
    let plain_pin = self_signed(&params(&["127.0.0.1"]));
    let other_pin = certificate(&["127.0.0.1"]);
    let old_pin = self_signed(&expired);
    let young_pin = self_signed(&future);
    let wrong_pin = certificate(&["127.0.0.2"]);
    let name_pin = self_signed(&common_name);
    let both_pin = self_signed(&both);
    let two = format!("{}{}", other_pin.pem, pin.pem);
    let rows = [
        (
            "signed by the CA",
            issue(&authority, &params(&["127.0.0.1"])),
            Some(&ca),
            None,
        ),
        (
            "expired",
            issue(&authority, &expired),
            Some(&ca),
            Some("xpired"),
        ),
        (
            "not yet",
            issue(&authority, &future),
            Some(&ca),
            Some("not valid yet"),
        ),
        (
            "other name",
            issue(&authority, &params(&["127.0.0.2"])),
            Some(&ca),
            Some("not valid for"),
        ),
        (
            "CN alone, signed",
            issue(&authority, &common_name),
            Some(&ca),
            Some("not valid for"),
        ),
        (
            "no CA",
            issue(&authority, &params(&["127.0.0.1"])),
            None,
            Some("UnknownIssuer"),
        ),
        (
            "other CA",
            issue(&authority, &params(&["127.0.0.1"])),
            Some(&pin.pem),
            Some("UnknownIssuer"),
        ),
        (
            "self-signed, unknown",
            certificate(&["127.0.0.1"]),
            None,
            Some("CaUsedAsEndEntity"),
        ),
        (
            "self-signed, another's",
            certificate(&["127.0.0.1"]),
            Some(&other_pin.pem),
            Some(""),
        ),
    ];
    for (what, issued, ca, refusal) in rows {
        judge(what, &issued, ca.map(String::as_str), refusal).await;
    }
    let pinned = [
        ("pinned", &pin, &pin.pem, None),
        ("pinned, no authority", &plain_pin, &plain_pin.pem, None),
        ("pinned among others", &pin, &two, None),
        ("pinned, common name alone", &name_pin, &name_pin.pem, None),
        ("pinned, expired", &old_pin, &old_pin.pem, Some("xpired")),
        (
            "pinned, not yet",
            &young_pin,
            &young_pin.pem,
            Some("not valid yet"),
        ),
        (
            "pinned, other name",
            &wrong_pin,
            &wrong_pin.pem,
            Some("not valid for"),
        ),
        (
            "pinned, alternatives win",
            &both_pin,
            &both_pin.pem,
            Some("not valid for"),
        ),
    ];
    for (what, issued, ca, refusal) in pinned {
        judge(what, issued, Some(ca), refusal).await;
    }
}

async fn judge(what: &str, issued: &Issued, ca: Option<&str>, refusal: Option<&str>) {
    match (outcome(issued, ca).await, refusal) {
        (Ok(()), None) => {}
        (Ok(()), Some(_)) => panic!("{what}: accepted"),
        (Err(error), None) => panic!("{what}: {error}"),
        (Err(error), Some(words)) => {
            assert_eq!(error.failure, Failure::Tls, "{what}: {error}");
            assert!(error.detail().contains(words), "{what}: {error}");
        }
    }
}

#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_refused() {
    // The certificate is public: whoever shows it must sign with its key.
    let pin = certificate(&["127.0.0.1"]);
    let thief = Issued {
        pem: pin.pem.clone(),
        key: KeyPair::generate().unwrap().serialize_pem(),
    };
    let (chain, _) = chain(&pin);
    let key = PrivateKeyDer::from_pem_slice(thief.key.as_bytes()).unwrap();
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(chain, signing);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = Server::answering(Some(Arc::new(config)), OK).await;
    for insecure in [false, true] {
        let mut source = source_at(&server, Some(&pin.pem));
        source.tls.insecure_skip_verify = insecure;
        let client = Client::new(timeouts());
        let error = fetch(&client, &Arc::new(source), server.address)
            .await
            .unwrap_err();
        assert_eq!(error.failure, Failure::Tls, "{error}");
    }
}

/// `upstream = "https://ADDRESS"`: the registry is who has a certificate for its name. Of a tier, and of hosts that a registry
/// names, no other name is known.
#[tokio::test]
async fn at_an_address_a_registrys_certificate_may_be_for_its_name() {
    let authority = authority();
    for (name, fits) in [("docker.io", true), ("other.example.com", false)] {
        let issued = issue(&authority, &params(&[name]));
        let pinned = certificate(&[name]);
        for (issued, ca) in [(&issued, authority.pem()), (&pinned, pinned.pem.clone())] {
            let server = Server::answering(Some(serving(issued)), OK).await;
            let source = Arc::new(source_at(&server, Some(&ca)));
            let client = Client::new(timeouts());
            let fetched = fetch(&client, &source, server.address).await;
            assert_eq!(fetched.is_ok(), fits, "{name}: {:?}", fetched.err());
            let to = endpoint(&source, server.address);
            let shown = client.inspect(&source, &to, SystemTime::now).await.unwrap();
            let fault = shown.certificate.unwrap().fault;
            assert_eq!(fault.is_none(), fits, "{name}: {fault:?}");

            let mut by_name = source_at(&server, Some(&ca));
            by_name.url.host = "registry.example.com".to_owned();
            let mut tier = tier(&format!("https://{}", server.address));
            tier.tls.ca = Some(ca.as_bytes().into());
            for other in [by_name, tier] {
                let other = Arc::new(other);
                let error = fetch(&client, &other, server.address).await.unwrap_err();
                assert_eq!(error.failure, Failure::Tls, "{name}: {error}");
            }
        }
    }
}
