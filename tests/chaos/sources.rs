//! The sources: scripted registries that listen at the laboratory's addresses, in a process of their own inside its
//! network. They are told what to do on standard input, a JSON value a line, and say `ok`, or `seen` when the request
//! came that is watched for.

use crate::image;
use crate::plan::{Fault, Source};
use crate::support::{self, FakeRegistry, Framing, Image, On, Reply, TestCa};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// The repository at the real registry. Each pull has its own: the agent spreads them over REPLICA's addresses.
pub(crate) fn repository(seed: u64) -> String {
    format!("chaos/app-{seed}")
}

/// REPLICA's and CORE's project before it.
const PROJECT: &str = "proxy-docker-io";

/// What the sources are told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// All are healthy again and hold this image alone.
    Hold { seed: u64, layers: Vec<usize> },
    /// A fault, from now on.
    Strike(Strike),
    /// The process behind a source ends.
    Kill(Source),
    /// Writes to standard error what was asked since the last `Watch`.
    Report,
    /// Says as JSON what was asked since the last `Watch`: a list of [`Asked`] in a line.
    Tell,
    /// Says `seen` once somebody asks for a path that ends so.
    Watch { ending: String },
}

/// A request that a source has got.
#[derive(Debug, Serialize, Deserialize)]
#[allow(dead_code, reason = "the matrix asks for it, the chaos suite does not")]
pub(crate) struct Asked {
    /// `None`: the CDN of upstream.
    pub(crate) source: Option<Source>,
    pub(crate) method: String,
    pub(crate) path: String,
    /// The whole header; empty without one.
    pub(crate) range: String,
    pub(crate) user_agent: String,
    /// 0: no answer.
    pub(crate) status: u16,
    /// Bytes of the body that went out, as far as the kernel took them.
    pub(crate) sent: usize,
}

/// A fault that the servers play themselves, or the pause in which another is done to them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Strike {
    pub(crate) source: Source,
    /// `None`: slow enough for something to happen while the body runs.
    pub(crate) fault: Option<Fault>,
    /// The end of the path that it is for.
    pub(crate) ending: String,
    /// That path's whole body is this blob of the image, if it is one.
    pub(crate) blob: Option<usize>,
    /// Offset in the body in bytes.
    pub(crate) at: usize,
    pub(crate) once: bool,
}

/// One server with the switch of its certificate.
struct Server {
    registry: FakeRegistry,
    expired: Arc<AtomicBool>,
}

struct Servers {
    by_source: BTreeMap<Source, Server>,
    cdn: FakeRegistry,
    image: Image,
}

/// Serves until standard input ends. Writes the authority's certificate to `ca`.
pub(crate) fn serve(ca: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let authority = TestCa::new();
        let mut servers = Servers::start(&authority).await;
        std::fs::write(ca, authority.pem()).expect("the laboratory's directory is writable");
        say("ok");
        servers.obey(orders()).await;
    });
}

/// Standard input, read by a thread of its own.
fn orders() -> mpsc::Receiver<Order> {
    let (sender, orders) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let order = serde_json::from_str(&line).expect("an order");
            if sender.blocking_send(order).is_err() {
                break;
            }
        }
    });
    orders
}

fn say(word: &str) {
    println!("{word}");
}

impl Servers {
    async fn start(authority: &TestCa) -> Self {
        let mut by_source = BTreeMap::new();
        let cdn = FakeRegistry::builder()
            .cdn()
            .acceptor(authority.acceptor(&["*.lab.example"]))
            .bind(at("198.18.4.11"))
            .start()
            .await;
        for (source, address) in Source::ALL.into_iter().zip([
            "198.18.1.11",
            "198.18.1.12",
            "198.18.2.11",
            "198.18.3.11",
        ]) {
            let expired = Arc::<AtomicBool>::default();
            let builder = FakeRegistry::builder();
            let builder = match source {
                Source::Upstream => builder.docker_hub().with(|it| {
                    it.blobs_redirect_to = Some("https://cdn.lab.example".to_owned());
                }),
                _ => builder.harbor(),
            };
            let registry = builder
                .acceptor(authority.ageing_acceptor(&["*.lab.example"], expired.clone()))
                .bind(at(address))
                .start()
                .await;
            by_source.insert(source, Server { registry, expired });
        }
        Self {
            by_source,
            cdn,
            image: image::make(0, &[]),
        }
    }

    async fn obey(&mut self, mut orders: mpsc::Receiver<Order>) {
        let mut watched: Option<String> = None;
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            // Cancel-safe: an order that was not received stays in the channel; a tick more or less is the same.
            tokio::select! {
                order = orders.recv() => match order {
                    None => break,
                    Some(Order::Watch { ending }) => {
                        self.all().for_each(FakeRegistry::forget_requests);
                        watched = Some(ending);
                        say("ok");
                    }
                    Some(order) => {
                        self.carry_out(order).await;
                        say("ok");
                    }
                },
                _ = tick.tick() => {
                    let asked = |ending: &String| {
                        self.all().any(|registry| {
                            registry.requests().iter().any(|request| request.path.ends_with(ending))
                        })
                    };
                    if watched.as_ref().is_some_and(asked) {
                        watched = None;
                        say("seen");
                    }
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &FakeRegistry> {
        let sources = self.by_source.values().map(|server| &server.registry);
        sources.chain([&self.cdn])
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Hold { seed, layers } => {
                self.hold(&repository(seed), image::make(seed, &layers))
                    .await;
            }
            Order::Strike(strike) => self.strike(strike).await,
            Order::Kill(source) => {
                self.server(source).registry.refuse().await;
                if source == Source::Upstream {
                    self.cdn.refuse().await;
                }
            }
            Order::Report => self.report(),
            Order::Tell => {
                let asked = serde_json::to_string(&self.asked());
                say(&asked.expect("what was asked is JSON"));
            }
            Order::Watch { .. } => {}
        }
    }

    fn report(&self) {
        for asked in self.asked() {
            let name = asked
                .source
                .map_or("CDN".to_owned(), |source| format!("{source:?}"));
            eprintln!(
                "    {name} was asked {} {} {} by {}",
                asked.method, asked.path, asked.range, asked.user_agent
            );
        }
    }

    fn asked(&self) -> Vec<Asked> {
        let servers = self.by_source.iter();
        let named = servers.map(|(source, server)| (Some(*source), &server.registry));
        let mut all = Vec::new();
        for (source, registry) in named.chain([(None, &self.cdn)]) {
            all.extend(registry.requests().into_iter().map(|request| {
                let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
                Asked {
                    source,
                    range: header("range"),
                    user_agent: header("user-agent"),
                    status: request.status.load(Ordering::SeqCst),
                    sent: request.sent.load(Ordering::SeqCst),
                    method: request.method,
                    path: request.path,
                }
            }));
        }
        all
    }

    async fn hold(&mut self, name: &str, image: Image) {
        for (source, server) in &mut self.by_source {
            let repository = match source {
                Source::Upstream => name.to_owned(),
                _ => format!("{PROJECT}/{name}"),
            };
            server.expired.store(false, Ordering::SeqCst);
            restart(&mut server.registry).await;
            fill(&server.registry, &repository, &image);
        }
        restart(&mut self.cdn).await;
        fill(&self.cdn, name, &image);
        self.image = image;
    }

    async fn strike(&mut self, strike: Strike) {
        let body = strike
            .blob
            .map(|index| self.image.blobs[index].body.clone());
        let at = strike.at;
        let times = if strike.once { Some(1) } else { None };
        let on = On::Ending(strike.ending);
        let fault = match strike.fault {
            None => support::Fault::Drip {
                bytes: 32 * 1024,
                every: Duration::from_millis(10),
            },
            // Until the outside strikes, the body waits.
            Some(Fault::Kill | Fault::PowerLoss | Fault::Stall) => support::Fault::SilentAt(at),
            Some(Fault::Reset) => support::Fault::ResetAt(at),
            Some(Fault::Close | Fault::WrongContentRange | Fault::WholeForRange) => {
                support::Fault::CloseAt(at)
            }
            Some(Fault::HalfClose) => support::Fault::HalfCloseAt(at),
            Some(Fault::Drip) => support::Fault::Drip {
                bytes: 1000,
                every: Duration::from_secs(1),
            },
            Some(Fault::CorruptByte) => support::Fault::CorruptAt(at),
            Some(Fault::CleanTruncation) => {
                support::Fault::Reply(truncated(body.as_deref(), at, b""))
            }
            Some(Fault::ErrorJson) => support::Fault::Reply(truncated(
                body.as_deref(),
                at,
                br#"{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}"#,
            )),
            Some(Fault::ZeroLength) => support::Fault::Reply(Reply::new(200)),
            Some(Fault::Status(502)) => support::Fault::Reply(Reply::html_502()),
            Some(Fault::Status(status)) => support::Fault::Reply(Reply::error(
                status,
                "UNKNOWN",
                "this source does not want to",
            )),
            Some(Fault::Html) => {
                let page = "<html><body><h1>Sign in to the network</h1></body></html>";
                support::Fault::Reply(Reply::new(200).body("text/html", page))
            }
            Some(Fault::SlowFirstByte(delay)) => {
                support::Fault::SlowFirstByte(Duration::from_millis(delay))
            }
            Some(Fault::NoAnswer) => support::Fault::NoAnswer,
            Some(Fault::SilentAccept) => support::Fault::AcceptAndSilent,
            Some(Fault::RedirectToDead { listed }) => {
                let host = if listed { "dead" } else { "no-such-name" };
                let location = format!("https://{host}.lab.example/somewhere");
                support::Fault::Reply(Reply::to(307, location))
            }
            Some(Fault::TokenDead) => {
                let registry = &self.server(strike.source).registry;
                registry.revoke_tokens();
                registry.set_fault_on(On::Tokens, support::Fault::Reply(Reply::html_502()));
                return;
            }
            Some(Fault::CertificateExpired) => {
                let server = self.server(strike.source);
                server.expired.store(true, Ordering::SeqCst);
                restart(&mut server.registry).await;
                return;
            }
        };
        // Upstream's bodies come from its CDN; what it says itself, it says itself.
        let of_the_body = !matches!(fault, support::Fault::Reply(ref reply) if reply.status != 200);
        let at_the_cdn = strike.source == Source::Upstream && strike.blob.is_some() && of_the_body;
        let breaks_first = matches!(
            strike.fault,
            Some(Fault::WrongContentRange | Fault::WholeForRange)
        );
        let all = matches!(fault, support::Fault::AcceptAndSilent);
        let registry = if at_the_cdn {
            &mut self.cdn
        } else {
            &mut self.server(strike.source).registry
        };
        if all {
            registry.set_fault(fault);
            registry.refuse().await;
            registry.listen_again().await;
        } else if breaks_first {
            registry.set_fault_times(on.clone(), fault, 1);
            let range = match (strike.fault, body) {
                (Some(Fault::WholeForRange), Some(body)) => {
                    support::Fault::Reply(Reply::new(200).body("application/octet-stream", body))
                }
                _ => support::Fault::WrongContentRange,
            };
            registry.set_fault_on(on, range);
        } else if let Some(times) = times {
            registry.set_fault_times(on, fault, times);
        } else {
            registry.set_fault_on(on, fault);
        }
    }

    fn server(&mut self, source: Source) -> &mut Server {
        self.by_source.get_mut(&source).expect("all are there")
    }
}

fn truncated(body: Option<&[u8]>, at: usize, tail: &[u8]) -> Reply {
    let body = body.unwrap_or_default();
    let mut short = body[..at.min(body.len())].to_vec();
    short.extend_from_slice(tail);
    Reply::new(200)
        .body("application/octet-stream", short)
        .framing(Framing::Chunked)
}

fn fill(registry: &FakeRegistry, repository: &str, image: &Image) {
    registry.heal();
    registry.forget_requests();
    registry.change_content(|content| {
        drop(std::mem::take(content));
        content.add(repository, crate::lab::TAG, image);
    });
}

/// Ends every connection; the port is open afterwards.
async fn restart(registry: &mut FakeRegistry) {
    registry.refuse().await;
    registry.listen_again().await;
}

fn at(address: &str) -> SocketAddr {
    format!("{address}:443").parse().expect("an address")
}
