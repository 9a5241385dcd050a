//! The site as clients see it, through Debian's nginx.

use crate::host::{Host, field};

const ORIGIN: &str = "https://replica.lab.example";

/// What Harbor gets for what a client asks.
pub(crate) fn rewrites(host: &Host) {
    let digest = format!("sha256:{}", "a".repeat(64));
    let blob = format!("/v2/proxy-quay-io/org/app/blobs/{digest}");
    let doubled = format!("/v2/proxy-quay-io/proxy-quay-io/org/app/blobs/{digest}");
    let token = "/service/token?service=harbor-registry&scope=repository:proxy-docker-io/library/nginx:pull";
    for (asked, status, seen) in [
        ("/v2/", "401", "/v2/"),
        ("/v2/_catalog", "401", "/v2/_catalog"),
        (&blob, "200", &doubled),
        (
            "/v2/proxy-docker-io/library/nginx/manifests/1.27",
            "200",
            "/v2/proxy-docker-io/proxy-docker-io/library/nginx/manifests/1.27",
        ),
        // As it came: nothing is decoded, and the query stays.
        (
            "/v2/proxy-docker-io/a%2Fb/manifests/1?ns=docker.io&x=%20y",
            "200",
            "/v2/proxy-docker-io/proxy-docker-io/a%2Fb/manifests/1?ns=docker.io&x=%20y",
        ),
        // Once and not "unless it is doubled": a repository may have the project's name.
        (
            "/v2/proxy-docker-io/proxy-docker-io/x/manifests/1",
            "200",
            "/v2/proxy-docker-io/proxy-docker-io/proxy-docker-io/x/manifests/1",
        ),
        // Projects that are no proxy cache of ours.
        (
            "/v2/library/nginx/manifests/1",
            "200",
            "/v2/library/nginx/manifests/1",
        ),
        (
            "/v2/proxy-docker-io2/x/manifests/1",
            "200",
            "/v2/proxy-docker-io2/x/manifests/1",
        ),
        ("/v2/proxy-docker-io", "200", "/v2/proxy-docker-io"),
        (token, "200", token),
    ] {
        let (code, head, _) = host.curl(&[&format!("{ORIGIN}{asked}")]);
        assert_eq!(code, Some(0), "{asked}");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{asked}: {head}"
        );
        assert_eq!(field(&head, "x-seen"), seen, "{asked}");
        assert_eq!(field(&head, "x-seen-host"), "replica.lab.example");
        assert_eq!(field(&head, "x-seen-proto"), "https");
        if asked == "/v2/" {
            let challenge = field(&head, "www-authenticate");
            assert!(
                challenge.contains("realm=\"https://replica.lab.example/service/token\""),
                "{challenge}"
            );
        }
    }
    let (_, head, body) = host.curl(&["--head", &format!("{ORIGIN}{blob}")]);
    assert_eq!(
        (field(&head, "x-seen"), body.as_str()),
        (doubled.as_str(), "")
    );
    let (_, head, body) = host.curl(&[&format!("{ORIGIN}/api/v2.0/health")]);
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body.contains("components"),
        "{head}"
    );
}

/// Answers, uploads, broken sources, and the other doors.
pub(crate) fn passes_on(host: &Host) {
    // Harbor's own paths are halved again.
    let (_, head, _) = host.curl(&[&format!(
        "{ORIGIN}/v2/proxy-docker-io/library/nginx/tags/list?n=1"
    )]);
    assert_eq!(
        field(&head, "link"),
        "</v2/proxy-docker-io/library/nginx/tags/list?last=a&n=1>; rel=\"next\""
    );
    let (_, head, _) = host.curl(&[&format!("{ORIGIN}/v2/proxy-docker-io/moved")]);
    assert!(head.starts_with("HTTP/1.1 301 "), "{head}");
    assert_eq!(
        field(&head, "location"),
        format!("{ORIGIN}/v2/proxy-docker-io/library/moved")
    );
    let (_, head, _) = host.curl(&[&format!("{ORIGIN}/v2/library/nginx/tags/list")]);
    assert!(
        field(&head, "link").starts_with("</v2/library/nginx/tags/list?"),
        "{head}"
    );

    upload(host);

    // A source that breaks off must not look like a whole answer.
    let broken = format!("{ORIGIN}/v2/proxy-docker-io/library/nginx/blobs/broken");
    assert_eq!(host.curl(&[&broken]).0, Some(18));

    let (_, head, _) = host.curl(&["http://replica.lab.example/v2/x/y?a=b"]);
    assert!(head.starts_with("HTTP/1.1 308 "), "{head}");
    assert_eq!(
        field(&head, "location"),
        "https://replica.lab.example/v2/x/y?a=b"
    );
    wants_tls_1_3(host);
}

/// A push to a project of the REPLICA's own goes through, of any size; one to a proxy cache is Harbor's to refuse.
fn upload(host: &Host) {
    let start = format!("{ORIGIN}/v2/library/app/blobs/uploads/");
    let (_, head, _) = host.curl(&["-X", "POST", &start]);
    assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
    let place = field(&head, "location").to_owned();
    assert_eq!(place, format!("{start}1b4db7eb"));
    host.machine.shell("head -c 3145728 /dev/zero >/tmp/layer");
    let chunked = [
        "-X",
        "PATCH",
        "-T",
        "/tmp/layer",
        "-H",
        "Transfer-Encoding: chunked",
    ];
    let (_, head, _) = host.curl(&[&chunked[..], &[&place]].concat());
    assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
    assert_eq!(field(&head, "x-length"), "3145728");
    let (_, head, _) = host.curl(&["-X", "PUT", &format!("{place}?digest=sha256:0")]);
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");

    let refused = format!("{ORIGIN}/v2/proxy-docker-io/app/blobs/uploads/");
    let (_, head, body) = host.curl(&["-X", "POST", &refused]);
    assert!(
        head.starts_with("HTTP/1.1 403 ") && body.contains("DENIED"),
        "{head}"
    );
}

/// No older version is spoken.
pub(crate) fn wants_tls_1_3(host: &Host) {
    let url = format!("{ORIGIN}/v2/");
    assert_eq!(host.curl(&["--tls-max", "1.2", &url]).0, Some(35));
    assert_eq!(host.curl(&["--tlsv1.3", &url]).0, Some(0));
}
