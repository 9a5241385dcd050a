//! The keys that tiers and registries share: certificates, credentials, proxy.

use super::document::{Node, Value};
use super::files::{read_certificates, read_key, read_secret, refuse_readable_by_others};
use super::model::{BaseUrl, Credential, Proxy, Secret, Tls};
use super::problem::{Origin, Wrong};
use super::proxy::ProxySetting;
use super::section::{Reading, Section, Setting};
use std::path::PathBuf;

/// `ca_file`, `client_cert_file`, `client_key_file` and, for tiers, `insecure_skip_verify`.
pub(super) fn tls(
    section: &mut Section<'_>,
    cx: &mut Reading<'_>,
    url: Option<&BaseUrl>,
    may_skip_verify: bool,
) -> Tls {
    let ca = section.file(cx, "ca_file");
    let ca = ca.and_then(|path| section.kept(cx, "ca_file", read_certificates(&path)));
    let names = ("client_cert_file", "client_key_file");
    let client = pair(section, cx, names);
    for (key, other, instead) in [
        (names.1, names.0, "name the certificate's key file"),
        (names.0, names.1, "name the key's certificate file"),
    ] {
        if section.has(other) && !section.has(key) {
            let what = format!("is missing, though {other} is set");
            section.complain(cx, key, what, instead);
        }
    }
    let insecure_skip_verify = may_skip_verify && section.or(cx, "insecure_skip_verify", false);
    if insecure_skip_verify {
        section.warn(
            cx,
            "insecure_skip_verify",
            "switches all checking of certificates off",
            "name the certificate in ca_file instead: a self-signed one may stand there itself",
        );
    }
    if url.is_some_and(|url| !url.https) {
        for key in ["ca_file", "client_cert_file", "insecure_skip_verify"] {
            if section.is_written(key) {
                section.complain(
                    cx,
                    key,
                    "has no meaning for a URL that starts with http://",
                    "write https:// in the URL, or take this key out",
                );
            }
        }
    }
    Tls {
        ca,
        client,
        insecure_skip_verify,
    }
}

/// A certificate with its chain, and its key, by the names of their files.
pub(super) fn pair(
    section: &mut Section<'_>,
    cx: &mut Reading<'_>,
    (cert, key): (&'static str, &'static str),
) -> Option<(std::sync::Arc<[u8]>, Secret)> {
    let (chain_file, key_file) = (section.file(cx, cert), section.file(cx, key));
    let chain = section.kept(cx, cert, read_certificates(&chain_file?))?;
    let secret = section.kept(cx, key, read_key(&key_file?, &chain, cert))?;
    Some((chain, secret))
}

/// `username` with `password_file` or `credential`.
pub(super) fn credential(
    section: &mut Section<'_>,
    cx: &mut Reading<'_>,
    url: Option<&BaseUrl>,
) -> Option<Credential> {
    let username: Option<String> = section.optional(cx, "username");
    let password = password(section, cx);
    let has_secret = section.has("password_file") || section.has("credential");
    if has_secret && !section.has("username") {
        let what = "is missing, though there is a password";
        section.complain(
            cx,
            "username",
            what,
            "write the name that the password belongs to",
        );
    }
    if section.has("username") && !has_secret {
        let what = "is missing, though there is a username";
        section.complain(
            cx,
            "password_file",
            what,
            "name the file that holds the password",
        );
    }
    if username.as_ref().is_some_and(|name| name.contains(':')) {
        // RFC 7617, 2: the first colon ends the name.
        let what = "holds a colon";
        section.complain(
            cx,
            "username",
            what,
            "write the name alone; the password has its own file",
        );
    }
    if has_secret && url.is_some_and(|url| !url.https && !url.is_loopback()) {
        section.warn(
            cx,
            "username",
            "is sent over http://, where everybody on the way can read the password",
            "write https:// in the URL",
        );
    }
    Some(Credential {
        username: username?,
        password: password?,
    })
}

/// `password_file` or `credential`.
pub(super) fn password(section: &mut Section<'_>, cx: &mut Reading<'_>) -> Option<Secret> {
    let file = section.file(cx, "password_file");
    let name: Option<String> = section.optional(cx, "credential");
    if section.has("password_file") && section.has("credential") {
        let what = "stands beside password_file";
        section.complain(cx, "credential", what, "keep one of the two");
    }
    match (file, name) {
        (Some(path), _) => section.kept(cx, "password_file", read_secret(&path)),
        (None, Some(name)) => systemd_credential(section, cx, &name),
        (None, None) => None,
    }
}

fn systemd_credential(section: &Section<'_>, cx: &mut Reading<'_>, name: &str) -> Option<Secret> {
    if name.contains('/') || name.starts_with('.') {
        let what = "is no name of a credential";
        let instead = "write the ID of the unit's LoadCredential= line";
        section.complain(cx, "credential", what, instead);
        return None;
    }
    let Some(directory) = cx.environment.get("CREDENTIALS_DIRECTORY") else {
        let what = "cannot be read: $CREDENTIALS_DIRECTORY is not set";
        let instead =
            "add LoadCredential= to the unit (systemctl edit harbor-pilot), or use password_file";
        if cx.outside_the_unit {
            section.warn(cx, "credential", what, "only the unit itself can read it");
        } else {
            section.complain(cx, "credential", what, instead);
        }
        return None;
    };
    let path = PathBuf::from(directory).join(name);
    cx.watched.push(path.clone());
    let secret = read_secret(&path);
    // ExecStopPost= has the variable, but systemd has taken the files away by then.
    if cx.outside_the_unit
        && let Err(wrong) = &secret
    {
        section.warn(
            cx,
            "credential",
            wrong.what.clone(),
            "only the unit itself can read it",
        );
        return None;
    }
    section.kept(cx, "credential", secret)
}

/// `proxy`, resolved for `url`. A default that somebody wrote elsewhere comes with its origin.
pub(super) fn proxy(
    section: &mut Section<'_>,
    cx: &mut Reading<'_>,
    default: (ProxySetting, Option<Origin>),
    url: Option<&BaseUrl>,
) -> Option<Proxy> {
    let setting = proxy_setting(section, cx, default);
    setting.resolve(url?, cx)
}

/// `proxy` itself. One with a password makes the configuration file a secret (design S2).
pub(super) fn proxy_setting(
    section: &mut Section<'_>,
    cx: &mut Reading<'_>,
    default: (ProxySetting, Option<Origin>),
) -> ProxySetting {
    let (setting, origin) = section.read(cx, "proxy").unwrap_or(default);
    section.show("proxy", setting.show(), origin);
    if let ProxySetting::Fixed(proxy) = &setting
        && proxy.credential.is_some()
        && let Some(origin) = section.origin_of("proxy")
        && let Err(wrong) = refuse_readable_by_others(origin.file(), "the proxy's password in it")
    {
        section.complain(cx, "proxy", wrong.what, wrong.instead);
    }
    setting
}

impl Section<'_> {
    /// A key that names a file, which is watched from then on.
    pub(super) fn file(&mut self, cx: &mut Reading<'_>, key: &'static str) -> Option<PathBuf> {
        let path: PathBuf = self.optional(cx, key)?;
        cx.watched.push(path.clone());
        Some(path)
    }

    /// The value of a check, or its problem.
    pub(super) fn kept<T>(
        &self,
        cx: &mut Reading<'_>,
        key: &str,
        checked: Result<T, Wrong>,
    ) -> Option<T> {
        checked
            .map_err(|wrong| self.complain(cx, key, wrong.what, wrong.instead))
            .ok()
    }
}

/// Whether an entry counts: `enabled = false` takes it out.
pub(super) fn is_enabled(node: &Node) -> bool {
    let enabled = node.get("enabled").map(|enabled| &enabled.value);
    !matches!(enabled, Some(Value::Bool(false)))
}
