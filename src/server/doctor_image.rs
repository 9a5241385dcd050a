//! The image that only the agent has: a pull of it that succeeds has passed through the agent, because no registry
//! can have a repository of its name. `harbor-pilot doctor` has containerd pull it, under a tag that is new each time.
//!
//! Small and bounded: three constant documents, and the last few tags that were asked for. Nobody is dialled.

use super::Answer;
use crate::oci::{Digest, ErrorCode, RawName, Reference, ResourceKind, error_body};
use crate::relay::{CONTENT_DIGEST, PullBody, header_value, marked};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Its repository, at every registry. The first part is a host name of a top-level domain that never resolves (RFC
/// 6761); Docker Hub's users have no dot in their names.
pub(crate) const REPOSITORY: &str = "harbor-pilot.invalid/doctor";

/// Before the random part of a tag.
pub(crate) const TAG_PREFIX: &str = "check-";

/// Tags that are remembered.
const SEEN: usize = 8;

/// A tag is the prefix and so many hexadecimal digits.
const DIGITS: usize = 16;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What was asked for lately: `tags/list` says it, so that doctor learns whether containerd came by.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<VecDeque<String>>>);

struct Document {
    media_type: &'static str,
    bytes: Vec<u8>,
    digest: Digest,
}

struct Documents {
    manifest: Document,
    config: Document,
    layer: Document,
}

// === impl Seen ===

impl Seen {
    fn note(&self, tag: &str) {
        let mut tags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tags.retain(|known| known != tag);
        tags.push_back(tag.to_owned());
        while tags.len() > SEEN {
            tags.pop_front();
        }
    }

    fn tags(&self) -> Vec<String> {
        let tags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tags.iter().cloned().collect()
    }
}

// === impl Document ===

impl Document {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            media_type,
            digest: Digest::sha256(&bytes),
            bytes,
        }
    }

    fn descriptor(&self) -> serde_json::Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.digest.to_string(),
            "size": self.bytes.len(),
        })
    }
}

/// Of the platform that this runs on: containerd takes no other.
fn documents() -> &'static Documents {
    static DOCUMENTS: OnceLock<Documents> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        // A tar archive without a file: two empty blocks.
        let layer = Document::new(LAYER, vec![0; 1024]);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [layer.digest.to_string()] },
        });
        let config = Document::new(CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        Documents {
            manifest: Document::new(MANIFEST, manifest.to_string().into_bytes()),
            config,
            layer,
        }
    })
}

/// This machine's processor as an image index names it: Go's GOARCH.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Whether a name is that of the test image.
pub(super) fn is_meant(name: &RawName) -> bool {
    name.as_str() == REPOSITORY
}

/// Answers for it. `request_id` is a fresh one.
pub(super) fn answer(kind: &ResourceKind, head: bool, seen: &Seen, request_id: &str) -> Answer {
    let all = documents();
    let by_digest = |digest: &Digest, of: &[&'static Document]| {
        of.iter()
            .find(|document| document.digest == *digest)
            .copied()
    };
    let found = match kind {
        ResourceKind::Manifest(Reference::Tag(tag)) if is_tag(tag) => {
            seen.note(tag);
            Some(&all.manifest)
        }
        ResourceKind::Manifest(Reference::Tag(_)) => None,
        ResourceKind::Manifest(Reference::Digest(digest)) => by_digest(digest, &[&all.manifest]),
        ResourceKind::Blob(digest) => by_digest(digest, &[&all.config, &all.layer]),
        ResourceKind::Tags => {
            let list = json!({ "name": REPOSITORY, "tags": seen.tags() }).to_string();
            return respond(
                StatusCode::OK,
                "application/json",
                None,
                list.into_bytes(),
                head,
                request_id,
            );
        }
        ResourceKind::Referrers(_) => None,
    };
    match found {
        Some(document) => respond(
            StatusCode::OK,
            document.media_type,
            Some(&document.digest),
            document.bytes.clone(),
            head,
            request_id,
        ),
        None => {
            let body = error_body(
                ErrorCode::ManifestUnknown,
                "doctor's test image has nothing of that name",
            );
            respond(
                StatusCode::NOT_FOUND,
                "application/json",
                None,
                body.into(),
                head,
                request_id,
            )
        }
    }
}

fn is_tag(tag: &str) -> bool {
    tag.strip_prefix(TAG_PREFIX).is_some_and(|rest| {
        rest.len() == DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn respond(
    status: StatusCode,
    media_type: &str,
    digest: Option<&Digest>,
    bytes: Vec<u8>,
    head: bool,
    request_id: &str,
) -> Answer {
    let mut answer = marked(status, header_value(request_id))
        .with(CONTENT_TYPE, header_value(media_type))
        .with(CONTENT_LENGTH, bytes.len());
    if let Some(digest) = digest {
        answer.set(CONTENT_DIGEST, header_value(digest.as_str()));
    }
    answer.and(PullBody::plain(if head { Vec::new() } else { bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Body as _;
    use bytes::Buf as _;
    use http::header::HeaderName;

    async fn ask(seen: &Seen, kind: ResourceKind, head: bool) -> (u16, Option<String>, Vec<u8>) {
        let mut answer = answer(&kind, head, seen, "0123456789abcdef");
        let header = |name| {
            let value = answer.head.get(&HeaderName::from_static(name))?;
            Some(value.to_str().unwrap().to_owned())
        };
        let digest = header("docker-content-digest");
        let length: usize = header("content-length").unwrap().parse().unwrap();
        assert!(header("x-harbor-pilot-request-id").is_some());
        let status = answer.head.status.as_u16();
        let mut body = Vec::new();
        while let Some(piece) = answer.body.next().await {
            let mut piece = piece.unwrap();
            body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
        }
        assert_eq!(body.len(), if head { 0 } else { length });
        (status, digest, body)
    }

    fn tag(text: &str) -> ResourceKind {
        ResourceKind::Manifest(text.parse().unwrap())
    }

    #[tokio::test]
    async fn a_pull_finds_everything_and_every_digest_fits() {
        let seen = Seen::default();
        let (status, head_digest, _) = ask(&seen, tag("check-0123456789abcdef"), true).await;
        let (_, digest, manifest) = ask(&seen, tag("check-0123456789abcdef"), false).await;
        assert_eq!((status, &head_digest), (200, &digest));
        let digest: Digest = digest.unwrap().parse().unwrap();
        assert!(digest.matches(&manifest));
        let by_digest = ResourceKind::Manifest(Reference::Digest(digest));
        assert_eq!(ask(&seen, by_digest, false).await.2, manifest);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        for descriptor in [&manifest["config"], &manifest["layers"][0]] {
            let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
            let (status, _, blob) = ask(&seen, ResourceKind::Blob(digest.clone()), false).await;
            assert_eq!(status, 200);
            assert!(digest.matches(&blob));
            assert_eq!(descriptor["size"], blob.len());
        }
    }

    #[tokio::test]
    async fn other_names_are_not_found_and_only_the_last_tags_are_kept() {
        let seen = Seen::default();
        for wrong in [
            "latest",
            "check-0123456789abcde",
            "check-0123456789abcdeg",
            "check-",
        ] {
            assert_eq!(ask(&seen, tag(wrong), false).await.0, 404, "{wrong}");
        }
        let stranger = ResourceKind::Blob(Digest::sha256(b"x"));
        assert_eq!(ask(&seen, stranger, false).await.0, 404);
        for number in 0..20 {
            ask(&seen, tag(&format!("check-{number:016x}")), true).await;
        }
        let (_, _, list) = ask(&seen, ResourceKind::Tags, false).await;
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        let tags = list["tags"].as_array().unwrap();
        assert_eq!(
            (tags.len(), &tags[7]),
            (SEEN, &json!("check-0000000000000013"))
        );
    }
}
