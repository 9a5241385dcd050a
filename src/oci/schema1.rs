//! Signed manifests of schema 1: what their digest names is the payload, without the signatures that stand in the same
//! document (distribution, "Image Manifest Version 2, Schema 1", "Signed Manifests").

use super::digest::Digest;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// base64url (RFC 7515, 2), with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
struct Signed {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

/// How the payload is made from the document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    /// Its first bytes are the document's.
    format_length: usize,
    /// Its last bytes, in base64url.
    format_tail: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignaturesAlone {
    #[serde(rename = "signatures")]
    _signatures: IgnoredAny,
}

/// Whether a manifest is what this digest names: its bytes, or the payload of a signed manifest of schema 1.
#[must_use]
pub fn manifest_fits(digest: &Digest, body: &[u8]) -> bool {
    digest.matches(body)
        || payload(body).is_some_and(|(begin, end)| {
            let mut hasher = digest.hasher();
            hasher.update(begin);
            hasher.update(&end);
            hasher.finish() == *digest
        })
}

/// The SHA-256 digest that names a manifest.
#[must_use]
pub fn manifest_digest(body: &[u8]) -> Digest {
    match payload(body) {
        Some((begin, end)) => Digest::sha256(&[begin, &end].concat()),
        None => Digest::sha256(body),
    }
}

/// The payload, in two parts. `None`: it is no signed manifest, or says in its place anything but signatures that is not in the
/// payload, which a reader of the whole document would take for proved.
fn payload(body: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    // Most manifests are not signed, and are not to be read for this.
    let key: &[u8] = b"\"signatures\"";
    if !body.windows(key.len()).any(|part| part == key) {
        return None;
    }
    let signed: Signed = serde_json::from_slice(body).ok()?;
    let protected = BASE64.decode(&signed.signatures.first()?.protected).ok()?;
    let protected: Protected = serde_json::from_slice(&protected).ok()?;
    let end = BASE64.decode(protected.format_tail).ok()?;
    let (begin, rest) = body.split_at_checked(protected.format_length)?;
    let rest = rest.trim_ascii_start().strip_prefix(b",")?;
    let rest = [b"{", rest].concat();
    let is_alone = serde_json::from_slice::<SignaturesAlone>(&rest).is_ok();
    (is_alone && end.trim_ascii() == b"}").then_some((begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str =
        "{\n   \"schemaVersion\": 1,\n   \"name\": \"team/app\",\n   \"fsLayers\": []\n}";

    /// Signed as docker does it.
    fn signed(payload: &str, length: usize, tail: &str, more: &str) -> String {
        let tail = BASE64.encode(tail);
        let protected = format!("{{\"formatLength\":{length},\"formatTail\":\"{tail}\"}}");
        let protected = BASE64.encode(protected);
        let begin = &payload[..length.min(payload.len())];
        format!("{begin},\n   \"signatures\": [{{\"protected\": \"{protected}\"}}]{more}\n}}")
    }

    #[test]
    fn the_digest_of_a_signed_manifest_is_that_of_its_payload() {
        let due = Digest::sha256(PAYLOAD.as_bytes());
        let length = PAYLOAD.len() - 2;
        let body = signed(PAYLOAD, length, "\n}", "");
        assert!(manifest_fits(&due, body.as_bytes()));
        assert_eq!(manifest_digest(body.as_bytes()), due);
        let padded = body.replace("\"}]", "==\"}]");
        assert!(padded.len() > body.len());
        let own = Digest::sha256(body.as_bytes());
        assert!(manifest_fits(&own, body.as_bytes()), "its bytes count too");
        assert!(manifest_fits(&due, PAYLOAD.as_bytes()), "unsigned");
        assert_eq!(manifest_digest(PAYLOAD.as_bytes()), due);
    }

    #[test]
    fn what_the_payload_does_not_hold_is_not_proved() {
        let due = Digest::sha256(PAYLOAD.as_bytes());
        let length = PAYLOAD.len() - 2;
        let cut = PAYLOAD.find(",\n   \"fsLayers\"").unwrap();
        let rows = [
            (
                "another key beside",
                signed(PAYLOAD, length, "\n}", ",\"fsLayers\":[1]"),
            ),
            (
                "signatures twice",
                signed(PAYLOAD, length, "\n}", ",\"signatures\":[]"),
            ),
            ("a longer tail", signed(PAYLOAD, cut, &PAYLOAD[cut..], "")),
            ("nothing of it", signed(PAYLOAD, 0, PAYLOAD, "")),
            (
                "a length behind the end",
                signed(PAYLOAD, usize::MAX, "\n}", ""),
            ),
            (
                "another payload",
                signed(&PAYLOAD.replace("app", "apq"), length, "\n}", ""),
            ),
            ("another tail", signed(PAYLOAD, length, "}", "")),
            (
                "no base64",
                signed(PAYLOAD, length, "\n}", "")
                    .replace("\"protected\": \"", "\"protected\": \"!"),
            ),
            (
                "no signatures",
                format!("{}, \"signatures\": []}}", &PAYLOAD[..length]),
            ),
            ("no JSON", "\"signatures\"".to_owned()),
        ];
        for (name, body) in rows {
            assert!(!manifest_fits(&due, body.as_bytes()), "{name}: {body}");
        }
    }
}
