//! Tests of admin/answer.

use super::*;

#[test]
fn only_loopback_names_are_admitted() {
    let asked = |hosts: &[&str], uri: &str| {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append("host", host.parse().unwrap());
        }
        admit(Surface::Admin, &headers, &uri.parse::<Uri>().unwrap()).is_ok()
    };
    for host in [
        "localhost",
        "LocalHost:291",
        "127.0.0.1",
        "127.0.0.1:291",
        "127.1.2.3:80",
        "[::1]",
        "[::1]:291",
    ] {
        assert!(asked(&[host], "/"), "{host}");
    }
    for host in [
        "",
        "rebound.example",
        "rebound.example:291",
        "localhost.example",
        "127.0.0.1.example",
        "127.0.0.1:",
        "127.0.0.1:99999",
        "127.0.0.1:291:1",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::1",
        "[::1]x",
        "[127.0.0.1]",
        "[localhost]",
        "::1",
        "user@localhost",
        " localhost",
        "2130706433",
    ] {
        assert!(!asked(&[host], "/"), "{host}");
    }
    assert!(!asked(&[], "/"), "no Host");
    assert!(!asked(&["localhost", "evil.example"], "/"), "two Hosts");
    assert!(!asked(&["localhost"], "http://evil.example/status"));
    assert!(asked(&["localhost"], "http://localhost:291/status"));
    let nobody = HeaderMap::new();
    admit(Surface::MetricsOnly, &nobody, &Uri::from_static("/")).unwrap();
}

#[test]
fn routes() {
    const NOT_FOUND: Result<Page, StatusCode> = Err(StatusCode::NOT_FOUND);
    const WRONG_METHOD: Result<Page, StatusCode> = Err(StatusCode::METHOD_NOT_ALLOWED);
    for (method, path, admin, metrics) in [
        (Method::GET, "/", Ok(Page::Home), NOT_FOUND),
        (Method::GET, "/livez", Ok(Page::Live), NOT_FOUND),
        (Method::GET, "/readyz", Ok(Page::Ready), NOT_FOUND),
        (Method::GET, "/status", Ok(Page::Status), NOT_FOUND),
        (
            Method::GET,
            "/metrics",
            Ok(Page::Metrics),
            Ok(Page::Metrics),
        ),
        (Method::GET, "/metrics/", NOT_FOUND, NOT_FOUND),
        (Method::GET, "/v2/", NOT_FOUND, NOT_FOUND),
        (Method::POST, "/metrics", WRONG_METHOD, WRONG_METHOD),
        (Method::HEAD, "/livez", WRONG_METHOD, NOT_FOUND),
        (Method::DELETE, "/status", WRONG_METHOD, NOT_FOUND),
    ] {
        assert_eq!(route(Surface::Admin, &method, path), admin, "{path}");
        assert_eq!(
            route(Surface::MetricsOnly, &method, path),
            metrics,
            "{path}"
        );
    }
}
