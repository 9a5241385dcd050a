//! The files that a configuration names: modes, certificates, keys, systemd credentials.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

/// A tier with more lines, in which `{key}` becomes the path.
fn tier(lines: &str) -> String {
    format!("{TIER}{lines}")
}

fn only(text: &str) -> Problem {
    let mut found = problems(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn a_password_comes_from_its_file_and_is_never_shown() {
    let files = Files::new();
    let secret = files.write("robot", "pa55word\n", 0o600);
    let text = tier(&format!(
        "username = \"robot$node\"\npassword_file = {secret:?}"
    ));
    let loaded = good(&text);
    let credential = loaded.config.tiers[0].credential.as_ref().unwrap();
    assert_eq!(credential.username, "robot$node");
    assert_eq!(credential.password.reveal(), "pa55word");
    assert_eq!(loaded.config.watched_files, [secret]);
    assert!(!format!("{loaded:?}").contains("pa55word"));
    assert!(!loaded.provenance.to_string().contains("pa55word"));
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
    let files = Files::new();
    for (mode, refused) in [
        (0o600, false),
        (0o640, false),
        (0o400, false),
        (0o644, true),
        (0o604, true),
        (0o602, true),
        (0o666, true),
    ] {
        let secret = files.write("robot", "pa55word", mode);
        let text = tier(&format!("username = \"u\"\npassword_file = {secret:?}"));
        if refused {
            let problem = only(&text);
            assert_eq!(problem.key, "tier.t.password_file");
            let remedy = format!("chmod o-rwx {}", secret.display());
            assert!(problem.instead.contains(&remedy), "{problem}");
        } else {
            good(&text);
        }
        std::fs::remove_file(secret).unwrap();
    }
}

#[test]
fn broken_secrets_are_refused() {
    let files = Files::new();
    let cases: [(&str, &[u8]); 4] = [
        ("empty", b""),
        ("blank", b" \n"),
        ("two-lines", b"one\ntwo\n"),
        ("binary", b"\xff\xfe\x00"),
    ];
    for (name, content) in cases {
        let secret = files.write(name, content, 0o600);
        let text = tier(&format!("username = \"u\"\npassword_file = {secret:?}"));
        assert!(only(&text).what.contains("one line"), "{name}");
    }
    let huge = files.write("huge", vec![b'x'; 100_000], 0o600);
    let text = tier(&format!("username = \"u\"\npassword_file = {huge:?}"));
    assert!(only(&text).what.contains("at most"));
    for (path, said) in [
        (files.0.path().join("absent"), "cannot read"),
        (files.0.path().to_owned(), "regular file"),
    ] {
        let text = tier(&format!("username = \"u\"\npassword_file = {path:?}"));
        assert!(only(&text).what.contains(said), "{}", path.display());
    }
}

#[test]
fn what_is_written_where_a_path_belongs_is_not_shown() {
    let problem = only(&tier("username = \"u\"\npassword_file = \"pa55word\""));
    assert!(!problem.to_string().contains("pa55word"), "{problem}");
}

#[test]
fn the_required_header_comes_from_a_file_too() {
    let files = Files::new();
    let secret = files.write("header", "let-me-in\n", 0o640);
    let loaded = good(&format!("[server]\nrequire_header_file = {secret:?}"));
    assert_eq!(
        loaded.config.server.require_header.unwrap().reveal(),
        "let-me-in"
    );
    let open = files.write("open", "let-me-in\n", 0o644);
    let problem = only(&format!("[server]\nrequire_header_file = {open:?}"));
    assert_eq!(problem.key, "server.require_header_file");
}

#[test]
fn the_token_of_the_page_is_long_and_secret() {
    let files = Files::new();
    let token = files.write("token", "0123456789abcdef\n", 0o640);
    let loaded = good(&format!("[server]\nadmin_token_file = {token:?}"));
    let server = loaded.config.server;
    assert_eq!(server.admin_token.unwrap().reveal(), "0123456789abcdef");
    assert_eq!(loaded.config.watched_files, [token]);
    for (text, mode, said) in [
        ("0123456789abcde\n", 0o600, "fewer than 16 bytes"),
        ("0123456789abcdef\n", 0o644, "chmod o-rwx"),
    ] {
        let wrong = files.write("wrong", text, mode);
        let problem = only(&format!("[server]\nadmin_token_file = {wrong:?}"));
        assert_eq!(problem.key, "server.admin_token_file");
        assert!(problem.to_string().contains(said), "{problem}");
    }
}

#[test]
fn a_systemd_credential_is_read_from_its_directory() {
    let files = Files::new();
    files.write("robot", "pa55word\n", 0o400);
    let directory = files.0.path().to_str().unwrap();
    let text = tier("username = \"u\"\ncredential = \"robot\"");
    let loaded = with_environment(&text, &[("CREDENTIALS_DIRECTORY", directory)]).unwrap();
    let credential = loaded.config.tiers[0].credential.clone().unwrap();
    assert_eq!(credential.password.reveal(), "pa55word");
    assert_eq!(loaded.config.watched_files, [files.0.path().join("robot")]);

    let missing = text.replace("robot", "robotnik");
    let found = with_environment(&missing, &[("CREDENTIALS_DIRECTORY", directory)]).unwrap_err();
    assert_eq!(found[0].key, "tier.t.credential");
    let outside = text.replace("\"robot\"", "\"../robot\"");
    let found = with_environment(&outside, &[("CREDENTIALS_DIRECTORY", directory)]).unwrap_err();
    assert!(found[0].what.contains("no name of a credential"));
}

#[test]
fn a_credential_outside_the_unit_is_an_error_for_the_daemon_and_a_warning_for_reports() {
    let text = tier("username = \"u\"\ncredential = \"robot\"");
    assert!(only(&text).what.contains("$CREDENTIALS_DIRECTORY"));
    let files = Files::new();
    let loader = Loader {
        config_file: files.write("config.toml", &text, 0o644),
        explicit: true,
        config_dir: None,
        environment: BTreeMap::new(),
        outside_the_unit: true,
    };
    // As in ExecStopPost=: the variable is still there, the file is not.
    let emptied = (
        "CREDENTIALS_DIRECTORY".to_owned(),
        "/nonexistent".to_owned(),
    );
    for environment in [BTreeMap::new(), BTreeMap::from([emptied])] {
        let loader = Loader {
            environment,
            ..loader.clone()
        };
        let loaded = loader.load().unwrap();
        assert_eq!(loaded.warnings[0].key, "tier.t.credential");
        assert_eq!(loaded.config.tiers[0].credential, None);
    }
}

fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec!["t.example.com".to_owned()]).unwrap()
}

#[test]
fn a_ca_file_must_hold_certificates() {
    let files = Files::new();
    let one = certificate();
    let two = certificate();
    let bundle = format!("# comment\n{}\n{}", one.cert.pem(), two.cert.pem());
    let good_file = files.write("ca.crt", &bundle, 0o644);
    let loaded = good(&tier(&format!("ca_file = {good_file:?}")));
    assert_eq!(
        loaded.config.tiers[0].tls.ca.as_deref(),
        Some(bundle.as_bytes())
    );
    assert_eq!(loaded.config.watched_files, [good_file]);

    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let cut = one.cert.pem().replace("-----END CERTIFICATE-----", "");
    let rows: [(&str, Vec<u8>, &str); 5] = [
        ("empty.crt", Vec::new(), "holds no PEM certificate"),
        (
            "der.crt",
            one.cert.der().to_vec(),
            "openssl x509 -inform der",
        ),
        (
            "key.crt",
            one.signing_key.serialize_pem().into_bytes(),
            "holds no PEM certificate",
        ),
        (
            "garbage.crt",
            format!("{}{garbage}", one.cert.pem()).into_bytes(),
            "certificate 2, is no X.509",
        ),
        ("cut.crt", cut.into_bytes(), "broken PEM"),
    ];
    for (name, content, said) in rows {
        let file = files.write(name, content, 0o644);
        let problem = only(&tier(&format!("ca_file = {file:?}")));
        assert_eq!(problem.key, "tier.t.ca_file");
        assert!(problem.to_string().contains(said), "{problem}");
    }
}

#[test]
fn a_client_certificate_needs_its_own_key() {
    let files = Files::new();
    let (one, two) = (certificate(), certificate());
    let cert = files.write("client.crt", one.cert.pem(), 0o644);
    let key = files.write("client.key", one.signing_key.serialize_pem(), 0o600);
    let other = files.write("other.key", two.signing_key.serialize_pem(), 0o600);
    let open = files.write("open.key", one.signing_key.serialize_pem(), 0o644);
    let none = files.write("none.key", one.cert.pem(), 0o600);
    let with = |key: &Path| {
        tier(&format!(
            "client_cert_file = {cert:?}\nclient_key_file = {key:?}"
        ))
    };
    let loaded = good(&with(&key));
    let (chain, secret) = loaded.config.tiers[0].tls.client.clone().unwrap();
    assert_eq!(&*chain, one.cert.pem().as_bytes());
    assert_eq!(secret.reveal(), one.signing_key.serialize_pem().trim());
    assert_eq!(loaded.config.watched_files, [cert.clone(), key.clone()]);
    assert!(only(&with(&other)).what.contains("does not belong"));
    assert!(only(&with(&open)).instead.contains("chmod o-rwx"));
    assert!(only(&with(&none)).what.contains("no private key"));
    let alone = only(&tier(&format!("client_cert_file = {cert:?}")));
    assert_eq!(alone.key, "tier.t.client_key_file");
    let alone = only(&tier(&format!("client_key_file = {key:?}")));
    assert_eq!(alone.key, "tier.t.client_cert_file");
}

#[test]
fn a_gateway_needs_a_certificate_with_its_own_key_and_a_port_of_its_own() {
    let files = Files::new();
    let (one, two) = (certificate(), certificate());
    let cert = files.write("gateway.crt", one.cert.pem(), 0o644);
    let key = files.write("gateway.key", one.signing_key.serialize_pem(), 0o600);
    let other = files.write("other.key", two.signing_key.serialize_pem(), 0o600);
    let with = |listen: &str, key: &Path| {
        format!("[server.gateway]\nlisten = [{listen:?}]\ncert_file = {cert:?}\nkey_file = {key:?}")
    };
    let loaded = good(&with("0.0.0.0:443", &key));
    let gateway = loaded.config.server.gateway.clone().unwrap();
    assert_eq!(gateway.listen, ["0.0.0.0:443".parse().unwrap()]);
    assert_eq!(loaded.config.watched_files, [cert.clone(), key.clone()]);
    assert_eq!(loaded.warnings.len(), 1, "anybody may pull");
    assert!(loaded.warnings[0].instead.contains("firewall"));
    let mismatch = only(&with("0.0.0.0:443", &other));
    assert_eq!(mismatch.key, "server.gateway.key_file");
    assert!(
        mismatch.what.contains("certificate in cert_file"),
        "{mismatch}"
    );
    let clash = only(&with("127.0.0.1:290", &key));
    assert_eq!(clash.key, "server.gateway");
    assert!(clash.what.contains("taken by listen"), "{clash}");
}

#[test]
fn files_that_have_no_meaning_for_plain_http_are_refused() {
    let files = Files::new();
    let file = files.write("ca.crt", certificate().cert.pem(), 0o644);
    let text = TIER.replace("https://", "http://");
    let problem = only(&format!("{text}ca_file = {file:?}"));
    assert!(problem.what.contains("http://"), "{problem}");
}

#[test]
fn a_password_over_plain_http_is_a_warning() {
    let files = Files::new();
    let secret = files.write("robot", "x", 0o600);
    let text = TIER.replace("https://", "http://");
    let text = format!("{text}username = \"u\"\npassword_file = {secret:?}");
    assert_eq!(good(&text).warnings[0].key, "tier.t.username");
}
