//! The fake registry itself: its sockets, what it holds, and what a test sees and changes of it.

use super::answer::answer;
use super::behaviour::{Behaviour, Flavour};
use super::ca::TestCa;
use super::content::Content;
use super::fault::{Fault, On, Rule};
use super::image::Image;
use super::message::{Recorded, Reply};
use super::port::free_listener;
use super::tokens::{self, TokenBook};
use super::wire;
use harbor_pilot::config::BaseUrl;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

type Script = Box<dyn FnMut(&Recorded) -> Option<Reply> + Send>;

/// A registry on loopback. It ends with the value.
pub struct FakeRegistry {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinSet<()>,
}

/// What its connections share with the test.
pub struct Shared {
    behaviour: Mutex<Behaviour>,
    content: Mutex<Content>,
    book: TokenBook,
    rules: Mutex<Vec<Rule>>,
    script: Mutex<Option<Script>>,
    requests: Mutex<Vec<Recorded>>,
    pub(super) connections: AtomicUsize,
    pub(super) tls: Option<TlsAcceptor>,
}

/// Describes a fake registry before it starts.
pub struct Builder {
    behaviour: Behaviour,
    content: Content,
    book: TokenBook,
    tls: Option<TlsAcceptor>,
    bind: Option<SocketAddr>,
}

impl Builder {
    fn flavour(mut self, flavour: Flavour) -> Self {
        self.behaviour = Behaviour::of(flavour);
        self
    }

    pub fn harbor(self) -> Self {
        self.flavour(Flavour::Harbor)
    }

    pub fn docker_hub(self) -> Self {
        self.flavour(Flavour::DockerHub)
    }

    pub fn ghcr(self) -> Self {
        self.flavour(Flavour::Ghcr)
    }

    pub fn basic(self) -> Self {
        self.flavour(Flavour::Basic)
    }

    pub fn cdn(self) -> Self {
        self.flavour(Flavour::Cdn)
    }

    /// Changes any mood.
    pub fn with(mut self, change: impl FnOnce(&mut Behaviour)) -> Self {
        change(&mut self.behaviour);
        self
    }

    /// The one account.
    pub fn account(self, user: &str, password: &str) -> Self {
        self.with(|it| it.credential = Some((user.to_owned(), password.to_owned())))
    }

    pub fn with_image(mut self, repository: &str, tag: &str, image: &Image) -> Self {
        self.content.add(repository, tag, image);
        self
    }

    /// Tokens of that server are good here, and the other way round.
    pub fn tokens_of(mut self, other: &FakeRegistry) -> Self {
        self.book = other.shared.book.clone();
        self
    }

    /// TLS with a certificate for these names and addresses.
    pub fn tls(mut self, ca: &TestCa, names: &[&str]) -> Self {
        self.tls = Some(ca.acceptor(names));
        self
    }

    /// TLS with a certificate that the test can change.
    pub fn acceptor(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Another address than one of 127.0.0.1 whose port is free.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = Some(address);
        self
    }

    pub async fn start(self) -> FakeRegistry {
        let listener = match self.bind {
            Some(address) => TcpListener::bind(address).await.unwrap(),
            None => {
                let listener = free_listener();
                listener.set_nonblocking(true).unwrap();
                TcpListener::from_std(listener).unwrap()
            }
        };
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(self.behaviour),
            content: Mutex::new(self.content),
            book: self.book,
            rules: Mutex::default(),
            script: Mutex::default(),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            tls: self.tls,
        });
        let mut listening = JoinSet::new();
        listening.spawn(accept(listener, shared.clone()));
        FakeRegistry {
            addr,
            shared,
            listening,
        }
    }
}

impl FakeRegistry {
    pub fn builder() -> Builder {
        Builder {
            behaviour: Behaviour::of(Flavour::Plain),
            content: Content::default(),
            book: TokenBook::default(),
            tls: None,
            bind: None,
        }
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("{}://{}", self.shared.scheme(), self.addr)
    }

    /// The same under another host name.
    pub fn url_as(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.shared.scheme(), self.addr.port())
    }

    /// As a source's URL.
    pub fn source_url(&self) -> BaseUrl {
        BaseUrl {
            https: self.shared.tls.is_some(),
            host: self.addr.ip().to_string(),
            port: self.addr.port(),
            prefix: String::new(),
        }
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// `GET /path` of everything that was asked so far.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Recorded::line).collect()
    }

    /// How many requests were for the token endpoint.
    pub fn token_fetches(&self) -> usize {
        let path = self.shared.behaviour.lock().unwrap().token_path.clone();
        self.requests().iter().filter(|r| r.path == path).count()
    }

    pub fn forget_requests(&self) {
        self.shared.requests.lock().unwrap().clear();
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Changes its moods.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap());
    }

    /// Changes what it holds.
    pub fn change_content(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.shared.content.lock().unwrap());
    }

    /// Answers first what the closure answers; `None` leaves the request to the usual manners.
    pub fn script(&self, script: impl FnMut(&Recorded) -> Option<Reply> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Some(Box::new(script));
    }

    /// This fault for everything, from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.set_fault_on(On::All, fault);
    }

    /// This fault for some requests, from now on.
    pub fn set_fault_on(&self, on: On, fault: Fault) {
        self.add_rule(on, fault, None);
    }

    /// This fault for some requests, so many times.
    pub fn set_fault_times(&self, on: On, fault: Fault, times: u32) {
        self.add_rule(on, fault, Some(times));
    }

    /// No fault and no script any more.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
        *self.shared.script.lock().unwrap() = None;
    }

    /// No token that was issued so far is valid any more.
    pub fn revoke_tokens(&self) {
        self.shared.book.revoke_all();
    }

    /// Closes the port and every connection: refused from now on.
    pub async fn refuse(&mut self) {
        self.listening.shutdown().await;
    }

    /// Opens the port again.
    pub async fn listen_again(&mut self) {
        let listener = TcpListener::bind(self.addr).await.unwrap();
        self.listening.spawn(accept(listener, self.shared.clone()));
    }

    fn add_rule(&self, on: On, fault: Fault, left: Option<u32>) {
        let rule = Rule { on, fault, left };
        self.shared.rules.lock().unwrap().push(rule);
    }
}

impl Shared {
    pub(super) fn record(&self, request: &Recorded) {
        self.requests.lock().unwrap().push(request.clone());
    }

    pub(super) fn accepts_in_silence(&self) -> bool {
        let rules = self.rules.lock().unwrap();
        let mut faults = rules.iter().map(|rule| &rule.fault);
        faults.any(|fault| matches!(fault, Fault::AcceptAndSilent))
    }

    /// The first fault that is for this request.
    pub(super) fn strike(&self, request: &Recorded) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let mut fitting = rules.iter_mut();
        let rule = fitting.find(|rule| rule.left != Some(0) && rule.on.is(request))?;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some(rule.fault.clone())
    }

    pub(super) async fn answer(&self, request: &Recorded) -> Reply {
        if let Some(script) = &mut *self.script.lock().unwrap()
            && let Some(reply) = script(request)
        {
            return reply;
        }
        let behaviour = self.behaviour.lock().unwrap().clone();
        if request.path == behaviour.token_path {
            let mut delay = behaviour.token_delay;
            if tokens::is_wrong_secret(&behaviour, request) {
                delay += behaviour.wrong_secret_sleeps;
            }
            if delay > Duration::ZERO {
                tokio::time::sleep(delay).await;
            }
        }
        let mut content = self.content.lock().unwrap();
        answer(&behaviour, &self.book, &mut content, request, self.scheme())
    }

    fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // Both are cancel-safe; without connections the second waits for ever.
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((tcp, _)) = accepted {
                    let shared = shared.clone();
                    connections.spawn(async move { wire::serve(&shared, tcp).await });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
