//! The scripted Harbor says what a real one says (harbor-facts 13), seen without the agent's client, which learns of none of it
//! but the outcome.

use super::NGINX;
use super::support::{Cold, FakeRegistry, Image};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer: its status, its fields in lower case, and its body.
struct Got {
    status: u16,
    head: String,
    body: String,
}

/// One request on a connection of its own.
async fn ask(harbor: &FakeRegistry, method: &str, path: &str, authorization: &str) -> Got {
    let address = harbor.base_url();
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let shown = match authorization {
        "" => String::new(),
        some => format!("Authorization: {some}\r\n"),
    };
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: harbor\r\nConnection: close\r\n{shown}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let all = String::from_utf8(all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    Got {
        status: head[9..12].parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    fn message(&self) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap();
        json["errors"][0]["message"].as_str().unwrap().to_owned()
    }
}

/// A token that anybody gets.
async fn token(harbor: &FakeRegistry) -> String {
    let scope = format!("repository:{NGINX}:pull");
    let path = format!("/service/token?service=harbor-registry&scope={scope}");
    let got = ask(harbor, "GET", &path, "").await;
    let json: Value = serde_json::from_str(&got.body).unwrap();
    format!("Bearer {}", json["token"].as_str().unwrap())
}

async fn harbor(image: &Image) -> FakeRegistry {
    let harbor = FakeRegistry::builder().harbor();
    harbor.with_image(NGINX, "1", image).start().await
}

/// 13.1
#[tokio::test]
async fn a_tag_is_attached_by_head_by_tag_and_then_get_by_digest_alone() {
    for image in [Image::random(71, 1), Image::multi_platform(72, 2, 1)] {
        let by_tag = format!("/v2/{NGINX}/manifests/1");
        let by_digest = format!("/v2/{NGINX}/manifests/{}", image.top.digest);
        let (head, get) = (("HEAD", &by_tag), ("GET", &by_tag));
        let content = ("GET", &by_digest);
        for (pull, is_attached) in [
            (&[head, content][..], true),
            (&[head][..], false),
            (&[get][..], false),
            (&[head, get][..], false),
            (&[content][..], false),
            (&[content, head][..], false),
        ] {
            let harbor = harbor(&image).await;
            let token = token(&harbor).await;
            for (method, path) in pull {
                assert_eq!(ask(&harbor, method, path, &token).await.status, 200);
            }
            harbor.change(|it| it.upstream_out = true);
            let got = ask(&harbor, "GET", &by_tag, &token).await;
            assert_eq!(got.status == 200, is_attached, "{pull:?}: {}", got.body);
        }
    }
}

/// 13.6
#[tokio::test]
async fn cold_content_by_tag_has_no_digest_and_warm_content_has() {
    let image = Image::random(73, 1);
    let harbor = harbor(&image).await;
    let token = token(&harbor).await;
    let path = format!("/v2/{NGINX}/manifests/1");
    let cold = ask(&harbor, "GET", &path, &token).await;
    assert_eq!(cold.status, 200);
    assert_eq!(cold.field("docker-content-digest"), Some(""));
    assert_eq!(cold.field("etag"), Some(""));
    let warm = ask(&harbor, "GET", &path, &token).await;
    let digest = image.top.digest.as_str();
    assert_eq!(warm.field("docker-content-digest"), Some(digest));
    assert_eq!(warm.field("etag"), Some(format!("\"{digest}\"").as_str()));
}

/// 13.8
#[tokio::test]
async fn a_cold_blob_whose_upstream_fails_is_502_in_json() {
    let image = Image::random(74, 1);
    let harbor = harbor(&image).await;
    let token = token(&harbor).await;
    harbor.change(|it| it.cold = Cold::UpstreamFails);
    let path = format!("/v2/{NGINX}/blobs/{}", image.layer().digest);
    for _ in 0..2 {
        let got = ask(&harbor, "GET", &path, &token).await;
        assert_eq!(got.status, 502);
        assert_eq!(got.field("content-type"), Some("application/json"));
        assert!(got.body.contains("UNKNOWN"), "{}", got.body);
    }
}

/// 13.4: who shows nothing hears the same whatever is wrong; who shows a token hears of one of three things.
#[tokio::test]
async fn a_401_is_one_of_three() {
    let image = Image::random(75, 1);
    let path = format!("/v2/{NGINX}/manifests/1");
    for (what, challenge, message) in [
        ("database", "", "failed to run sql"),
        ("project", "", "project proxy-docker-io not found"),
        (
            "right",
            "basic realm=\"harbor\"",
            "unauthorized to access repository",
        ),
    ] {
        let harbor = harbor(&image).await;
        harbor.change(|it| match what {
            "database" => it.database_down = true,
            "project" => it.project_missing = true,
            _ => it.private = true,
        });
        let bare = ask(&harbor, "GET", &path, "").await;
        let asked_for = bare.field("www-authenticate").unwrap();
        assert_eq!(bare.status, 401, "{what}");
        assert!(
            asked_for.starts_with("bearer realm="),
            "{what}: {asked_for}"
        );
        let got = ask(&harbor, "GET", &path, &token(&harbor).await).await;
        assert_eq!(got.status, 401, "{what}");
        assert_eq!(got.field("www-authenticate"), Some(challenge), "{what}");
        let said = got.message().to_ascii_lowercase();
        assert!(said.contains(message), "{what}: {said}");
    }
}
