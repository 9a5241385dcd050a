//! Probes: what is asked of an endpoint, and what its answer means (design H2, harbor-facts 1).

mod answer;
#[cfg(test)]
mod tests;

use crate::config::{BaseUrl, ProbeKind};
use crate::http1::Fields;
use crate::topology::{EndpointId, Failure, Source, SourceKind};
use crate::upstream::{self, Client, Request, Response, USER_AGENT};
use bytes::Bytes;
use http::header::{self, ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Where GlueOps' health responder listens, and `harbor-pilot healthd`.
const EXTRA_PORT: u16 = 1337;

/// Harbor's own word on its components; needs no credentials (harbor-facts 1.1).
const HARBOR_HEALTH: &str = "/api/v2.0/health";

/// The extra signal's limit: it is a hint, and its host may swallow packets to that port.
const EXTRA_LIMIT: Duration = Duration::from_secs(2);

/// Harbor's health is about 600 bytes.
const BODY_BYTES: u64 = 64 * 1024;

/// A session cookie's longest value that is kept.
const COOKIE_BYTES: usize = 512;

/// Asks an endpoint how it is.
pub trait Prober: Send + Sync + 'static {
    /// One probe. `cookie` is what the endpoint's last report gave, so that Harbor does not make a session for each
    /// probe. Ends within about the source's probe timeout.
    fn probe(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        cookie: Option<String>,
    ) -> impl Future<Output = ProbeReport> + Send;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    pub verdict: Verdict,
    /// From the start to the verdict.
    pub took: Duration,
    /// Port 1337 said 503: prefer another. Silence says nothing.
    pub lowered: bool,
    /// For the next probe of this endpoint, as `sid=…`.
    pub cookie: Option<String>,
}

/// What was answered to one request.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub status: StatusCode,
    /// For the next request, as `sid=…`.
    pub cookie: Option<String>,
    /// It redirects to https although it is written by http: what to write instead.
    pub moved: Option<String>,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// It answers, and says that something it needs is not healthy.
    Unhealthy(String),
    /// It does not answer as it should.
    Failed {
        failure: Failure,
        detail: String,
    },
}

/// Probes over the pulls' own connections: same address, port, TLS and name.
#[derive(Clone, Debug)]
pub(crate) struct HttpProber {
    client: Client,
}

impl HttpProber {
    /// A prober that dials with this client.
    #[must_use]
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    async fn main(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        cookie: Option<&str>,
    ) -> (Verdict, Option<String>) {
        let harbor = match source.probe.kind {
            ProbeKind::Harbor => true,
            ProbeKind::Port => source.kind == SourceKind::Harbor,
            ProbeKind::V2 | ProbeKind::None => false,
        };
        let path = if harbor { HARBOR_HEALTH } else { "/v2/" };
        let ask = self.ask(source, endpoint, path, cookie);
        match timeout(source.probe.timeout, ask).await {
            Ok(Ok(Answered {
                moved: Some(detail),
                cookie,
                ..
            })) => {
                let failure = Failure::Content;
                (Verdict::Failed { failure, detail }, cookie)
            }
            Ok(Ok(said)) if harbor => (answer::harbor(said.status, &said.body), said.cookie),
            Ok(Ok(said)) => (answer::v2(said.status), said.cookie),
            Ok(Err(error)) => {
                // What is asked here is no client's choice.
                let failure = match error.failure {
                    Failure::TooLarge => Failure::Content,
                    failure => failure,
                };
                let detail = error.detail();
                (Verdict::Failed { failure, detail }, None)
            }
            Err(_) => {
                let failure = Failure::Timeout;
                let detail = format!("no answer within {:?}", source.probe.timeout);
                (Verdict::Failed { failure, detail }, None)
            }
        }
    }

    /// `GET /api/v2.0/health` of a Harbor. Has no limit of time of its own.
    ///
    /// # Errors
    /// [`upstream::Error`]: no connection, one that breaks, or a body of more than 64 KiB.
    pub(crate) async fn harbor_health(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        cookie: Option<&str>,
    ) -> Result<Answered, upstream::Error> {
        self.ask(source, endpoint, HARBOR_HEALTH, cookie).await
    }

    async fn ask(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        path: &str,
        cookie: Option<&str>,
    ) -> Result<Answered, upstream::Error> {
        let response = self.get(source, endpoint, path, cookie).await?;
        Ok(Answered {
            status: response.status,
            cookie: session(&response.fields),
            moved: moved(source, &response),
            body: response.body.read_to(BODY_BYTES).await?,
        })
    }

    /// Whether port 1337 says 503. Only asked where the endpoint is the tier and not its proxy.
    async fn extra(&self, source: &Arc<Source>, endpoint: &EndpointId) -> bool {
        if source.probe.kind != ProbeKind::Port || source.proxy.is_some() {
            return false;
        }
        let ip = endpoint.address.ip();
        let beside = Source {
            url: BaseUrl {
                https: false,
                host: ip.to_string(),
                port: EXTRA_PORT,
                prefix: String::new(),
            },
            credential: None,
            ..Source::clone(source)
        };
        let endpoint = EndpointId {
            source: source.id.clone(),
            address: SocketAddr::new(ip, EXTRA_PORT),
        };
        let beside = Arc::new(beside);
        let ask = self.get(&beside, &endpoint, "/", None);
        let limit = EXTRA_LIMIT.min(source.probe.timeout);
        match timeout(limit, ask).await {
            Ok(Ok(response)) => response.status == StatusCode::SERVICE_UNAVAILABLE,
            _ => false,
        }
    }

    async fn get(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        path: &str,
        cookie: Option<&str>,
    ) -> Result<Response, upstream::Error> {
        let request = || request(source, path, cookie);
        self.client.request(source, endpoint, request).await
    }
}

impl Prober for HttpProber {
    async fn probe(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        cookie: Option<String>,
    ) -> ProbeReport {
        let began = Instant::now();
        let main = async {
            let found = self.main(source, endpoint, cookie.as_deref()).await;
            (found, began.elapsed())
        };
        let (((verdict, fresh), took), lowered) = tokio::join!(main, self.extra(source, endpoint));
        ProbeReport {
            verdict,
            took,
            lowered,
            cookie: fresh.or(cookie),
        }
    }
}

fn request(source: &Source, path: &str, cookie: Option<&str>) -> Result<Request, upstream::Error> {
    let target = [source.url.prefix.as_str(), path].concat();
    let mut request = Request::new(&Method::GET, &target, &source.url.authority())?
        .with(&header::USER_AGENT, USER_AGENT)?
        .with(&ACCEPT, "application/json")?;
    if let Some(cookie) = cookie {
        request.add(&COOKIE, cookie.as_bytes())?;
    }
    Ok(request)
}

/// A tier that is written down by http and sends its clients to https: what to write instead.
fn moved(source: &Source, response: &Response) -> Option<String> {
    let location = response.fields.text(&LOCATION);
    let location = location.filter(|_| response.status.is_redirection())?;
    let to = BaseUrl::origin_of(location)?;
    let instead = source.url.instead_of_http(&to)?;
    Some(format!("status {}: {instead}", response.status.as_u16()))
}

/// Harbor's session cookie as `sid=…`: sent back, each request to an endpoint uses one session in its Redis.
#[must_use]
pub(crate) fn session(fields: &Fields) -> Option<String> {
    let cookies = fields.texts(&SET_COOKIE);
    let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next());
    let pair = pairs.find(|pair| pair.trim_start().starts_with("sid="))?;
    let pair = pair.trim();
    (pair.len() <= COOKIE_BYTES && pair.len() > "sid=".len()).then(|| pair.to_owned())
}
