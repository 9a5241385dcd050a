//! What a server shows before anybody trusts it: its certificate, judged apart from the connection, and its clock.
//! For `doctor`; the pull path never goes this way. Nothing secret is sent: one `GET /v2/` without a credential.

use super::tls::{self, CertificateFault};
use super::{Cause, Client, Error, dial};
use crate::config::{BaseUrl, Timeouts};
use crate::lifecycle::Socket;
use crate::topology::{EndpointId, Failure, Source};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// For the head of the answer.
const HEAD_LIMIT: Duration = Duration::from_secs(4);
/// More than any real head.
const HEAD_BYTES: u64 = 16 * 1024;
/// Names of a certificate that are shown.
const NAMES: usize = 8;

/// What a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `None` without TLS.
    pub certificate: Option<Certificate>,
    /// The status of its answer to `GET /v2/`; `None`: it gave none that is HTTP.
    pub status: Option<u16>,
    /// Its `Date`, and our clock at that moment.
    pub date: Option<(SystemTime, SystemTime)>,
    /// It is asked by http and sends its clients to https: what to write instead.
    pub moved: Option<String>,
}

/// A certificate as a server showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Who it says it is.
    pub subject: String,
    /// The distinguished name of its issuer.
    pub issuer: String,
    /// The first few names that it is good for.
    pub names: Vec<String>,
    /// From when.
    pub begins: SystemTime,
    /// Until when: of the chain that was shown the earliest end.
    pub ends: SystemTime,
    /// Why the source's settings refuse it.
    pub fault: Option<CertificateFault>,
}

// === impl Client ===

impl Client {
    /// Connects, takes whatever certificate is shown, and asks for `/v2/` without a credential. `now` judges the
    /// certificate. Limits as for [`Client::connect`], and four seconds for the answer.
    ///
    /// # Errors
    /// [`Error`]: no connection, no tunnel, no TLS, or a certificate that cannot be read.
    pub async fn inspect(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        now: impl Fn() -> SystemTime,
    ) -> Result<Shown, Error> {
        self.may_be_dialled(source, endpoint)?;
        let to = endpoint.to_string();
        let Timeouts {
            connect,
            tls: limit,
            ..
        } = self.inner.lock().timeouts;
        let mut stream = dial::tcp(&to, endpoint.address, connect).await?;
        let (url, proxy) = (&source.url, source.proxy.as_ref());
        if !url.https {
            let target = match proxy {
                Some(_) => format!("http://{}{}/v2/", url.authority(), url.prefix),
                None => format!("{}/v2/", url.prefix),
            };
            let (status, date, location) = ask(stream, url, &target, now).await;
            let to = location.and_then(|location| BaseUrl::origin_of(&location));
            return Ok(Shown {
                certificate: None,
                status,
                date,
                moved: to.and_then(|to| url.instead_of_http(&to)),
            });
        }
        if let Some(proxy) = proxy {
            dial::tunnel(&mut stream, proxy, url, limit).await?;
        }
        let wrong = |why: Cause| Error::new(Failure::Tls, format!("TLS with {to}"), why);
        let name = tls::server_name(&url.host).map_err(|why| wrong(why.into()))?;
        let unverified = tls::unverified(&source.tls);
        let (config, seen) = unverified.map_err(|why| wrong(why.into()))?;
        let stream = dial::tls(&to, Socket::new(stream), name.clone(), config, limit).await;
        let stream = stream.map_err(|error| match seen.weak_key() {
            Some(bits) => wrong(format!("the RSA key of its certificate has {bits} bits").into()),
            None => error,
        })?;
        let chain = stream.get_ref().1.peer_certificates();
        let chain: Vec<_> = chain
            .unwrap_or_default()
            .iter()
            .map(|one| one.clone().into_owned())
            .collect();
        let fault = tls::judge(source, &chain, &name, now());
        let fault = fault.map_err(|why| wrong(why.into()))?;
        let certificate = certificate(&chain, fault)
            .ok_or_else(|| wrong("its certificate cannot be read".into()))?;
        let (status, date, _) = ask(stream, url, &format!("{}/v2/", url.prefix), now).await;
        Ok(Shown {
            certificate: Some(certificate),
            status,
            date,
            moved: None,
        })
    }
}

fn certificate(
    chain: &[CertificateDer<'_>],
    fault: Option<CertificateFault>,
) -> Option<Certificate> {
    let parsed = chain.iter().map(|der| X509Certificate::from_der(der).ok());
    let parsed: Vec<X509Certificate<'_>> = parsed.map(|one| Some(one?.1)).collect::<Option<_>>()?;
    let own = parsed.first()?;
    let names = own.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter());
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(std::net::Ipv4Addr::from(four).to_string()),
            Err(_) => {
                let all = <[u8; 16]>::try_from(*bytes).ok()?;
                Some(std::net::Ipv6Addr::from(all).to_string())
            }
        },
        _ => None,
    };
    let names = names.into_iter().flatten().filter_map(shown);
    let ends = parsed.iter().map(|one| time(one.validity().not_after));
    // An authority that serves itself, as `openssl req -x509` makes them: rustls says more than people need.
    let signs_itself = own.issuer() == own.subject();
    let fault = match fault {
        Some(CertificateFault::Other(_) | CertificateFault::Authority) if signs_itself => {
            Some(CertificateFault::UnknownIssuer)
        }
        fault => fault,
    };
    Some(Certificate {
        subject: own.subject().to_string(),
        issuer: own.issuer().to_string(),
        names: names.take(NAMES).collect(),
        begins: time(own.validity().not_before),
        ends: ends.min()?,
        fault,
    })
}

/// A time before 1970 counts as 1970, and so does one that no clock holds.
fn time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    let epoch = SystemTime::UNIX_EPOCH;
    let time = epoch.checked_add(Duration::from_secs(seconds));
    time.unwrap_or(epoch)
}

type Said = (
    Option<u16>,
    Option<(SystemTime, SystemTime)>,
    Option<String>,
);

/// Status, clock and Location of the answer, as far as there is one.
async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &BaseUrl,
    target: &str,
    now: impl Fn() -> SystemTime,
) -> Said {
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: {}\r\nuser-agent: {}\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n",
        url.authority(),
        concat!("harbor-pilot/", env!("CARGO_PKG_VERSION")),
    );
    let mut head = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            let room = HEAD_BYTES.saturating_sub(head.len() as u64);
            if (&mut stream).take(room).read_buf(&mut head).await? == 0 {
                break;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // What came until then is looked at.
    let _ = timeout(HEAD_LIMIT, exchange).await;
    said(&head, now())
}

fn said(head: &[u8], now: SystemTime) -> Said {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|rest| rest.get(2..5)?.parse().ok());
    let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let field = |wanted: &str| {
        let mut fields = lines.iter().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        status.map(|_| value.trim())
    };
    let date = field("date").and_then(|value| httpdate::parse_http_date(value).ok());
    (
        status,
        date.map(|date| (date, now)),
        field("location").map(str::to_owned),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_far_as_they_are_http() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
        let table = [
            (
                format!("HTTP/1.1 401 Unauthorized\r\n{date}\r\n\r\n"),
                (Some(401), Some((then, now)), None),
            ),
            (
                format!("HTTP/1.0 200 OK\r\nX: y\r\ndate:{}\r\n\r\n", &date[5..]),
                (Some(200), Some((then, now)), None),
            ),
            (
                "HTTP/1.1 301 Moved\r\nlocation: https://a/b\r\n\r\n".to_owned(),
                (Some(301), None, Some("https://a/b".to_owned())),
            ),
            ("HTTP/1.1 204\r\n\r\n".to_owned(), (Some(204), None, None)),
            (
                format!("HTTP/1.1 200 OK\r\n\r\n{date}"),
                (Some(200), None, None),
            ),
            (
                "HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n".to_owned(),
                (Some(200), None, None),
            ),
            (format!("SSH-2.0\r\n{date}\r\n\r\n"), (None, None, None)),
            (String::new(), (None, None, None)),
        ];
        for (head, due) in table {
            assert_eq!(said(head.as_bytes(), now), due, "{head}");
        }
    }
}
