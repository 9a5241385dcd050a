//! What proves a manifest, and what is made of one that cannot be read. Pure.
//!
//! Where a digest proves a body nothing else is asked of it: whoever pushed the image chose what stands in it, and its readers
//! judge that. Where none does, a body that says nothing or contradicts itself is not passed on; that is held against nobody.

use crate::oci::{
    Digest, ManifestKind, Reference, inspect_manifest, is_consistent, manifest_digest,
    manifest_fits, media_type_as_told, media_type_of,
};
use crate::relay::fetched::Told;
use bytes::Bytes;

/// Why a body is not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// A manifest, and not that of this digest.
    Wrong(Digest),
    /// It is not that of the digest, and no manifest at all: an error document, say.
    NoManifest,
    /// Nothing proves it, or can prove it.
    Unproved(&'static str),
}

/// Proves a body, by the digest that was asked for or else by the one in its head, `told`.
pub(super) fn prove(
    reference: &Reference,
    told: Option<&Digest>,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<Told, Misfit> {
    let due = reference.digest().or(told);
    let kind = inspect_manifest(&body);
    let digest = match due {
        Some(due) if manifest_fits(due, &body) => match reference {
            // Clients know a tag's content by SHA-256, whatever its source says.
            Reference::Tag(_) if !due.is_sha256() => manifest_digest(&body),
            _ => due.clone(),
        },
        Some(due) => return Err(misfit(reference, due, &kind)),
        None if is_consistent(&body, content_type) && is_schema1(&kind) => manifest_digest(&body),
        None if is_consistent(&body, content_type) => Digest::sha256(&body),
        None => {
            return Err(Misfit::Unproved(
                "the manifest is none or contradicts itself",
            ));
        }
    };
    let (descriptors, stated) = match kind {
        ManifestKind::Manifest {
            descriptors,
            media_type,
        } => (descriptors, media_type),
        ManifestKind::NotAManifest => (Vec::new(), None),
    };
    // Header and body mostly agree; only where they do not is it worth reading the body once more.
    let agreed = stated.filter(|stated| content_type == Some(stated));
    let media_type = agreed
        .or_else(|| media_type_of(&body, content_type))
        .unwrap_or_else(|| media_type_as_told(&body, content_type));
    Ok(Told {
        digest,
        media_type,
        length: body.len() as u64,
        body: Some(body),
        descriptors,
    })
}

fn misfit(reference: &Reference, due: &Digest, kind: &ManifestKind) -> Misfit {
    match kind {
        // Only its own source says what a tag is: header or body, one of them is wrong, and it may be so for this image alone.
        _ if matches!(reference, Reference::Tag(_)) => {
            Misfit::Unproved("the manifest does not fit the digest in its own header")
        }
        ManifestKind::NotAManifest => Misfit::NoManifest,
        kind if is_schema1(kind) => {
            Misfit::Unproved("a manifest of schema 1 whose payload does not fit the digest")
        }
        ManifestKind::Manifest { .. } => Misfit::Wrong(due.clone()),
    }
}

fn is_schema1(kind: &ManifestKind) -> bool {
    let ManifestKind::Manifest { media_type, .. } = kind else {
        return false;
    };
    let media_type = media_type.as_deref().unwrap_or_default();
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    /// What a client may have pushed, and this agent does not understand.
    fn unreadable() -> Vec<String> {
        let digest = Digest::sha256(b"x");
        let (image, digest) = (format!("\"mediaType\":\"{IMAGE}\""), digest.as_str());
        vec![
            format!("{{\"schemaVersion\":2,{image},\"layers\":[],\"config\":{{}},\"errors\":[]}}"),
            format!("{{\"schemaVersion\":2,\"schemaVersion\":2,{image},\"layers\":[]}}"),
            format!("{{\"schemaVersion\":2,{image},{image},\"layers\":[]}}"),
            format!(
                "{{\"schemaVersion\":2,{image},\"config\":{{\"digest\":\"{digest}\",\"size\":2e5}}}}"
            ),
            format!("{{\"schemaVersion\":2,{image},\"config\":{{\"digest\":7,\"size\":2}}}}"),
            format!("{{\"schemaVersion\":\"2\",{image},\"layers\":[]}}"),
            format!("{{{image},\"layers\":[{{\"digest\":\"{digest}\",\"size\":1}}]}}"),
            "{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\",\"blobs\":[]}"
                .to_owned(),
            "{\"schemaVersion\":2,\"manifests\":[{\"size\":1}],\"config\":{\"size\":1}}".to_owned(),
            format!("{{\"schemaVersion\":2,{image},\"\\ud800\":1}}"),
            format!("{{\"schemaVersion\":2,{image},\"config\":{{\"size\":1e999}}}}"),
            "{}".to_owned(),
            "no JSON at all".to_owned(),
        ]
    }

    fn prove(
        reference: &Reference,
        claims: (Option<&Digest>, Option<&str>),
        body: &str,
    ) -> Result<Told, Misfit> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        super::prove(reference, claims.0, claims.1, body)
    }

    fn tag() -> Reference {
        "1".parse().unwrap()
    }

    #[test]
    fn what_a_digest_proves_is_passed_on_whatever_it_says() {
        for body in unreadable() {
            let due = Digest::sha256(body.as_bytes());
            let by_digest = Reference::Digest(due.clone());
            let plain = (None, Some("application/vnd.example+json; charset=utf-8"));
            let proven = prove(&by_digest, plain, &body).unwrap();
            assert_eq!(
                (&proven.digest, proven.descriptors.len()),
                (&due, 0),
                "{body}"
            );
            let stated = proven.media_type;
            let says = body.contains("mediaType") && body.matches("mediaType").count() == 1;
            assert_eq!(
                stated == "application/vnd.example+json",
                !says || body.contains("ud800"),
                "{body}: {stated}"
            );
            let told = (Some(&due), None);
            let proven = prove(&tag(), told, &body).unwrap();
            assert_eq!(proven.digest, due, "by tag: {body}");
        }
    }

    #[test]
    fn what_nothing_proves_is_held_against_nobody() {
        for body in unreadable() {
            for content_type in [None, Some(IMAGE), Some("application/json")] {
                let misfit = prove(&tag(), (None, content_type), &body);
                assert!(
                    matches!(misfit, Err(Misfit::Unproved(_))),
                    "{body}: {misfit:?}"
                );
            }
        }
    }

    #[test]
    fn other_bytes_than_a_digest_names_are_wrong() {
        let due = Digest::sha256(b"something else");
        let by_digest = Reference::Digest(due.clone());
        let image =
            json!({"schemaVersion": 2, "mediaType": IMAGE, "layers": [{"size": 1}]}).to_string();
        let error = r#"{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}"#;
        let old = json!({"schemaVersion": 1, "fsLayers": [], "signatures": []}).to_string();
        let wrong = |body: &str| prove(&by_digest, (None, None), body).unwrap_err();
        assert_eq!(wrong(&image), Misfit::Wrong(due.clone()));
        assert_eq!(wrong(error), Misfit::NoManifest);
        assert!(matches!(wrong(&old), Misfit::Unproved(_)));
        // Nobody but its source says what a tag is.
        for body in [&*image, error, &*old] {
            let misfit = prove(&tag(), (Some(&due), None), body).unwrap_err();
            assert!(matches!(misfit, Misfit::Unproved(_)), "{body}: {misfit:?}");
        }
    }
}
