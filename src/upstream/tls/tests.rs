//! What is offered, and names.

use super::{SourceTls, server_name};
use crate::config::Tls;
use rustls_pki_types::ServerName;

#[test]
fn tls_1_3_with_aes_is_offered_first_and_http_1_1_alone() {
    let tls = SourceTls::new(&Tls::default(), None).unwrap();
    let config = tls.own();
    let suites: Vec<String> = config
        .crypto_provider()
        .cipher_suites
        .iter()
        .map(|suite| format!("{:?}", suite.suite()))
        .collect();
    let first_chacha = suites.iter().position(|name| name.contains("CHACHA"));
    let last_aes = suites.iter().rposition(|name| name.contains("AES"));
    assert!(last_aes < first_chacha, "{suites:?}");
    assert!(
        suites.first().unwrap().starts_with("TLS13_AES"),
        "{suites:?}"
    );
    assert!(
        suites.iter().any(|name| name.starts_with("TLS_ECDHE_RSA")),
        "{suites:?}"
    );
    assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn hosts_become_names() {
    let rows = [
        ("replica.example.com", Some("replica.example.com")),
        ("replica.example.com.", Some("replica.example.com")),
        ("203.0.113.7", Some("203.0.113.7")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("[2001:db8::1]", Some("2001:db8::1")),
        ("", None),
        ("a b", None),
        ("..", None),
    ];
    for (host, expected) in rows {
        let name = server_name(host).ok();
        let name = name.as_ref().map(ServerName::to_str);
        assert_eq!(name.as_deref(), expected, "{host:?}");
    }
}
