//! The files that a configuration names: secrets, whose modes are checked (design S2), and certificates,
//! which are parsed so that a broken one is reported here and not by the first pull.

use super::model::Secret;
use super::problem::Wrong;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// More than any password or robot token.
const MOST_SECRET: u64 = 64 << 10;
/// More than a whole system store.
const MOST_PEM: u64 = 4 << 20;
/// `O_NONBLOCK`: opening a FIFO that stands where a file should must not wait for a writer.
const NONBLOCK: i32 = 0o4000;

/// Reads a file of one line whose content is secret.
pub(super) fn read_secret(path: &Path) -> Result<Secret, Wrong> {
    let bytes = read(path, MOST_SECRET, true)?;
    let text = String::from_utf8(bytes).ok();
    let text = text.as_deref().map(str::trim).unwrap_or_default();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("{} is not one line of text", path.display()),
            "write the password alone into it",
        ));
    }
    Ok(Secret::new(text))
}

/// Reads a PEM file that holds at least one certificate.
pub(super) fn read_certificates(path: &Path) -> Result<Arc<[u8]>, Wrong> {
    let bytes = read(path, MOST_PEM, false)?;
    certificates(path, &bytes)?;
    Ok(bytes.into())
}

/// Reads a certificate's key and checks that it belongs to `chain`, which the file of the key `cert` holds.
pub(super) fn read_key(path: &Path, chain: &[u8], cert: &str) -> Result<Secret, Wrong> {
    let wrong =
        |what: &str, instead: &str| Wrong::new(format!("{} {what}", path.display()), instead);
    let bytes = read(path, MOST_PEM, true)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        PemError::NoItemsFound => wrong(
            "holds no private key",
            "name a PEM file that begins with -----BEGIN PRIVATE KEY-----, without a passphrase",
        ),
        error => wrong(&format!("is broken PEM: {error}"), "copy the key again"),
    })?;
    let signing = any_supported_type(&key).map_err(|_| {
        wrong(
            "holds a key of an unknown kind",
            "use an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key",
        )
    })?;
    let chain = certificates(path, chain)?;
    let pair = CertifiedKey::new(chain, signing).keys_match();
    if let Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) = pair {
        return Err(wrong(
            &format!("does not belong to the certificate in {cert}"),
            "name the key that the certificate was made for",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is no text", "name a PEM file"))?;
    Ok(Secret::new(&text))
}

/// Refuses a file that others may read, as far as it can be looked at (design S2).
pub(super) fn refuse_readable_by_others(path: &Path, what: &str) -> Result<(), Wrong> {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
    refuse_mode(path, mode, what)
}

fn refuse_mode(path: &Path, mode: u32, what: &str) -> Result<(), Wrong> {
    if mode & 0o007 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(Wrong::new(
        format!(
            "{path} has mode {:04o}: every user of this machine can get at {what}",
            mode & 0o7777
        ),
        format!("run: chmod o-rwx {path} (and change the password if others use this machine)"),
    ))
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let path = path.display();
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let number = found.len() + 1;
        let certificate = certificate.map_err(|error| {
            Wrong::new(
                format!("{path}, certificate {number}, is broken PEM: {error}"),
                "copy the file again, with its BEGIN and END lines",
            )
        })?;
        if x509_parser::parse_x509_certificate(&certificate).is_err() {
            return Err(Wrong::new(
                format!("{path}, certificate {number}, is no X.509 certificate"),
                format!("see what it is with: openssl x509 -in {path} -noout -text"),
            ));
        }
        found.push(certificate);
    }
    if found.is_empty() {
        // A DER certificate is an ASN.1 sequence with a long length.
        let instead = if bytes.starts_with(&[0x30, 0x82]) {
            format!("convert it: openssl x509 -inform der -in {path} -out CA.crt")
        } else {
            "name a file with -----BEGIN CERTIFICATE----- in it".to_owned()
        };
        return Err(Wrong::new(
            format!("{path} holds no PEM certificate"),
            instead,
        ));
    }
    Ok(found)
}

/// Whether the unit's `ProtectHome=` hides it.
#[must_use]
pub fn is_home(path: &Path) -> bool {
    ["/root", "/home", "/run/user"]
        .iter()
        .any(|home| path.starts_with(home))
}

fn read(path: &Path, most: u64, secret: bool) -> Result<Vec<u8>, Wrong> {
    let shown = path.display();
    let cannot = |error: &std::io::Error| {
        let instead = match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied if is_home(path) => {
                "put the file into /etc/harbor-pilot: the unit sees nothing of /root, /home and /run/user (ProtectHome=)".to_owned()
            }
            ErrorKind::NotFound => "create the file, or correct the path".to_owned(),
            ErrorKind::PermissionDenied => "run as root, or correct the file's owner".to_owned(),
            _ => "see that the file can be read".to_owned(),
        };
        Wrong::new(format!("cannot read {shown}: {error}"), instead)
    };
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(NONBLOCK)
        .open(path)
        .map_err(|error| cannot(&error))?;
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    if !metadata.is_file() || metadata.len() > most {
        return Err(Wrong::new(
            format!("{shown} is no regular file of at most {most} bytes"),
            "name the file itself",
        ));
    }
    if secret {
        refuse_mode(path, metadata.mode(), "the secret")?;
    }
    let mut bytes = Vec::new();
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot(&error))?;
    Ok(bytes)
}
