//! What a server shows before anybody trusts it: its certificate, judged apart from the connection, and its clock.
//! For `doctor`; the pull path never goes this way. The server is sent nothing secret: one `GET /v2/` without a credential.

use super::known::Known;
use super::pool::Key;
use super::stream::ReadAhead;
use super::tls::{self, CertificateFault};
use super::{Client, Connection, Error, Handshake, Request, Response, USER_AGENT, dial};
use crate::config::BaseUrl;
use crate::lifecycle::Socket;
use crate::topology::{EndpointId, Source};
use http::Method;
use http::header::{ACCEPT_ENCODING, CONNECTION, DATE, LOCATION};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// For the head of the answer.
const HEAD_LIMIT: Duration = Duration::from_secs(4);
/// Names of a certificate that are shown.
const NAMES: usize = 8;

/// What a server showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The certificate of the server; `None`: without TLS.
    pub certificate: Option<Certificate>,
    /// The status of its answer to `GET /v2/`; `None`: it gave none that is HTTP.
    pub status: Option<u16>,
    /// Its `Date`, and our clock at that moment.
    pub date: Option<(SystemTime, SystemTime)>,
    /// It is asked by http and sends its clients to https: what to write instead.
    pub moved: Option<String>,
}

/// A certificate as a server showed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Who it says it is.
    pub subject: String,
    /// The distinguished name of its issuer.
    pub issuer: String,
    /// The first few names that it is good for.
    pub names: Vec<String>,
    /// The start of its validity.
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
        let handshake = Handshake {
            // Of its own: a connection of a source that is not known is never kept.
            known: Known::new(source),
            target: &source.url,
            key: Key::Endpoint(endpoint.clone()),
            timeouts: self.inner.lock().timeouts,
            to: endpoint.to_string(),
        };
        let limit = handshake.timeouts.connect;
        let stream = Socket::new(dial::tcp(&handshake.to, endpoint.address, limit).await?);
        let (certificate, transport) = if source.url.https {
            let (tls, certificate) = take_any(&handshake, stream, now()).await?;
            (Some(certificate), Either::Right(tls))
        } else {
            (None, Either::Left(stream))
        };
        let connection = handshake.connection(transport, None, self);
        let response = ask(connection, &source.url).await;
        let field = |name| response.as_ref()?.fields.text(name);
        let date = field(&DATE).and_then(|value| httpdate::parse_http_date(value).ok());
        let to = field(&LOCATION).and_then(BaseUrl::origin_of);
        Ok(Shown {
            certificate,
            status: response.as_ref().map(|response| response.status.as_u16()),
            date: date.map(|date| (date, now())),
            moved: to.and_then(|to| source.url.instead_of_http(&to)),
        })
    }
}

/// TLS with whoever is there, and what it shows, judged apart from that.
async fn take_any(
    handshake: &Handshake<'_>,
    stream: Socket,
    now: SystemTime,
) -> Result<(Box<TlsStream<ReadAhead<Socket>>>, Certificate), Error> {
    let source = &handshake.known.source;
    let unverified = tls::unverified(&source.tls);
    let (config, seen) = unverified.map_err(|why| handshake.tls_error(why))?;
    let stream = handshake.secure(stream, config).await;
    let stream = stream.map_err(|error| match seen.weak_key() {
        Some(bits) => {
            handshake.tls_error(format!("the RSA key of its certificate has {bits} bits"))
        }
        None => error,
    })?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let fault = tls::judge(source, chain, now);
    let fault = fault.map_err(|why| handshake.tls_error(why))?;
    let certificate = certificate(chain, fault)
        .ok_or_else(|| handshake.tls_error("its certificate cannot be read"))?;
    Ok((stream, certificate))
}

/// The answer to `GET /v2/`, if there is one that is HTTP.
async fn ask(connection: Connection, url: &BaseUrl) -> Option<Response> {
    let target = format!("{}/v2/", url.prefix);
    let request = Request::new(&Method::GET, &target, &url.authority())
        .and_then(|request| request.with(&http::header::USER_AGENT, USER_AGENT))
        .and_then(|request| request.with(&ACCEPT_ENCODING, "identity"))
        .and_then(|request| request.with(&CONNECTION, "close"));
    let answer = timeout(HEAD_LIMIT, connection.send(request.ok()?)).await;
    answer.ok()?.ok()
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
    let ends = parsed.iter().map(|one| tls::time(one.validity().not_after));
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
        begins: tls::time(own.validity().not_before),
        ends: ends.min()?,
        fault,
    })
}
