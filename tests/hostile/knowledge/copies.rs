//! What is kept for an outage: nobody's choice of kinds replaces or deletes it for others, and nobody's pulls displace it.

use super::{kept, until_kept};
use crate::node::{Node, REPOSITORY, Setup, target};
use crate::support::{FakeRegistry, Image, Manifest, OCI_INDEX, OCI_MANIFEST, Recorded, Reply};
use harbor_pilot::oci::Digest;

/// Outages are noticed soon.
const CLOCK: &str = "[timeouts]\nconnect_race = \"100ms\"\nfirst_byte = \"500ms\"\nupstream_joins = \"400ms\"\ntotal = \"5s\"\n";

/// A registry as distribution is: who takes no index gets one platform's manifest for a tag, and "not found" for the index itself.
async fn registry(image: &Image) -> FakeRegistry {
    let registry = FakeRegistry::builder().with_image(REPOSITORY, "1", image);
    let registry = registry.start().await;
    let (index, platform) = (image.top.clone(), image.children[0].clone());
    registry.script(move |request: &Recorded| {
        let takes_index = request
            .header("accept")
            .is_some_and(|it| it.contains(OCI_INDEX));
        if takes_index {
            return None;
        }
        if request.path.ends_with("/manifests/1") {
            return Some(manifest(&platform));
        }
        let none = || {
            Reply::error(
                404,
                "MANIFEST_UNKNOWN",
                "OCI index found, but accept header does not support OCI indexes",
            )
        };
        request.path.ends_with(index.digest.as_str()).then(none)
    });
    registry
}

fn manifest(of: &Manifest) -> Reply {
    let reply = Reply::new(200).header("Docker-Content-Digest", of.digest.to_string());
    reply.body(of.media_type, of.body.clone())
}

async fn narrow(node: &Node, what: &str, accept: &str, stranger: bool) -> u16 {
    let headers = [("Accept", accept)];
    let got = if stranger {
        node.ask_as_stranger(&target(what), &headers).await
    } else {
        node.ask("GET", &target(what), &headers).await
    };
    got.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_accept_neither_deletes_nor_replaces_what_is_kept_for_others() {
    let image = Image::multi_platform(71, 2, 1);
    let by_digest = format!("manifests/{}", image.top.digest);
    for (stranger, accept) in [
        (false, OCI_MANIFEST.to_owned()),
        (true, OCI_MANIFEST.to_owned()),
        (true, format!("{OCI_MANIFEST}, {OCI_INDEX};q=0")),
    ] {
        let mut upstream = registry(&image).await;
        let setup = Setup::of(&[], &upstream).and(CLOCK);
        let node = setup.start().await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        until_kept(&node, 2).await;
        assert_eq!(narrow(&node, "manifests/1", &accept, stranger).await, 200);
        until_kept(&node, 4).await;
        // Kept for 30 s it would be answered from there; after that the registry is asked.
        let other = format!("manifests/{}", Digest::sha256(b"nobody's"));
        assert_eq!(narrow(&node, &other, &accept, stranger).await, 404);
        let node = super::restarted(node, &setup).await;
        assert_eq!(narrow(&node, &by_digest, &accept, stranger).await, 404);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        upstream.refuse().await;
        for what in ["manifests/1", &*by_digest] {
            let got = node.pull(what).await;
            assert_eq!(got.status, 200, "{accept}: {what}: {:?}", kept(&node));
            assert_eq!(got.body, image.top.body, "{accept}: {what}");
            assert!(got.header("x-harbor-pilot-stale").is_some());
        }
        // Who takes no index is answered with what it would have got.
        let got = node
            .ask("GET", &target("manifests/1"), &[("Accept", &accept)])
            .await;
        assert_eq!((got.status, &got.body), (200, &image.children[0].body));
    }
}

/// Upstream says that a tag is gone: it is gone for everybody. That somebody's kinds are gone deletes nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_deletes_what_it_is_about_and_nothing_else() {
    let image = Image::multi_platform(72, 2, 1);
    // (status, code, what is asked, whether the copy of tag 1 stays)
    let table = [
        (404, "MANIFEST_UNKNOWN", "manifests/2", true),
        (404, "MANIFEST_UNKNOWN", "manifests/1", false),
        (403, "ARTIFACT_BLOCKED", "manifests/2", true),
        (403, "ARTIFACT_BLOCKED", "manifests/1", false),
        (412, "PROJECTPOLICYVIOLATION", "manifests/2", true),
        (403, "DENIED", "manifests/2", false),
    ];
    for (status, code, what, stays) in table {
        let mut upstream = registry(&image).await;
        let node = Setup::of(&[], &upstream).and(CLOCK).start().await;
        assert_eq!(node.pull("manifests/1").await.status, 200);
        until_kept(&node, 2).await;
        upstream.script(move |_| Some(Reply::error(status, code, "no")));
        assert_eq!(node.pull(what).await.status, 404);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        upstream.heal();
        upstream.refuse().await;
        let got = node.pull("manifests/1").await;
        let is_stale = got.header("x-harbor-pilot-stale").is_some();
        assert_eq!(is_stale, stays, "{status} {code} to {what}: {got:?}");
    }
}

/// The 9,000 manifests of repositories of the attacker's own: small, but a file, a tag and a folder each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_manifests_of_strangers_displace_no_copy_of_trusted_clients() {
    let (manifests, limit) = if crate::is_long() {
        (9_000, "64MiB")
    } else {
        (300, "1MiB")
    };
    let image = Image::multi_platform(73, 1, 1);
    let mut upstream = FakeRegistry::builder()
        .with_image(REPOSITORY, "1", &image)
        .start()
        .await;
    upstream.script(|request| {
        let repository = request.path.strip_prefix("/v2/evil/")?.split('/').next()?;
        let body = format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[],\"annotations\":{{\"n\":\"{repository}\"}}}}");
        let digest = Digest::sha256(body.as_bytes()).to_string();
        let reply = Reply::new(200).header("Docker-Content-Digest", digest);
        Some(reply.body(OCI_INDEX, body))
    });
    let setup = Setup::of(&[], &upstream).and(CLOCK);
    let setup = setup.and(&format!("[stale]\nmax_bytes = \"{limit}\"\n"));
    let node = setup.start().await;
    let by_digest = format!("manifests/{}", image.children[0].digest);
    for what in ["manifests/1", &*by_digest] {
        assert_eq!(node.pull(what).await.status, 200);
    }
    until_kept(&node, 3).await;
    for number in 0..manifests {
        let path = format!("/v2/evil/e{number}/manifests/1?ns=docker.io");
        assert_eq!(node.ask_as_stranger(&path, &[]).await.status, 200, "{path}");
    }
    until_kept(&node, 20).await;
    let of_strangers = kept(&node).len();
    assert!(
        of_strangers < 2 * manifests,
        "{of_strangers} files: nothing made room"
    );
    upstream.heal();
    upstream.refuse().await;
    let node = super::restarted(node, &setup).await;
    for (what, due) in [
        ("manifests/1", &image.top),
        (&*by_digest, &image.children[0]),
    ] {
        let got = node.pull(what).await;
        assert_eq!((got.status, &got.body), (200, &due.body), "{what}");
        assert!(got.header("x-harbor-pilot-stale").is_some());
    }
}

/// In a state directory that nobody made before, whatever the umask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_in_a_state_directory_of_ones_own_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    fn below(path: &std::path::Path, found: &mut Vec<(std::path::PathBuf, u32)>) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        found.push((path.to_owned(), mode & 0o777));
        for entry in std::fs::read_dir(path).into_iter().flatten() {
            below(&entry.unwrap().path(), found);
        }
    }
    let image = Image::multi_platform(74, 1, 1);
    let upstream = registry(&image).await;
    let setup = Setup::of(&[], &upstream);
    let node = setup.start().await;
    assert_eq!(node.pull("manifests/1").await.status, 200);
    let child = format!("manifests/{}", image.children[0].digest);
    assert_eq!(node.ask_as_stranger(&target(&child), &[]).await.status, 200);
    until_kept(&node, 3).await;
    let node = super::restarted(node, &setup).await;
    let mut found = Vec::new();
    below(&node.home.path().join("state"), &mut found);
    for name in ["manifests", "sizes", "accepted.toml"] {
        assert!(
            found.iter().any(|(path, _)| path.ends_with(name)),
            "{name}: {found:?}"
        );
    }
    for (path, mode) in found {
        let due = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, due, "{}", path.display());
    }
}
