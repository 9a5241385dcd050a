//! containerd's sequence: for each image HEAD by tag, and then GET by the digest that was told, over one connection. wrk takes the
//! answer to HEAD for one with a body, so this is a client of its own: a thread per connection, blocking, the same for all.

use crate::Result;
use crate::load::Requests;
use crate::origin::Image;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 16;
/// Nobody needs longer for one small answer.
const LIMIT: Duration = Duration::from_secs(10);
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

/// Whom to ask, and where something of the repository is there.
pub(crate) struct At<'a> {
    pub(crate) address: SocketAddr,
    /// `manifests/…` → the path with its query.
    pub(crate) path: &'a (dyn Fn(&str) -> String + Sync),
}

/// One kept-alive connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Pulls one image after the other for that time, each connection other ones.
pub(crate) fn pairs(at: &At<'_>, images: &[Image], time: Duration) -> Result<Requests> {
    let (began, until) = (Instant::now(), Instant::now() + time);
    let took = thread::scope(|scope| -> Result<Vec<Duration>> {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|client| {
                let own = images.iter().skip(client).step_by(CONNECTIONS);
                scope.spawn(move || client_of(at, own.cycle(), until).map_err(|e| e.to_string()))
            })
            .collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| "a client panicked")??);
        }
        Ok(all)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let mut sorted = took;
    sorted.sort_unstable();
    let count = u32::try_from(sorted.len())?;
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    let p99 = sorted.get(at).ok_or("nothing was answered")?;
    Ok(Requests {
        per_second: f64::from(count) / seconds,
        count: f64::from(count),
        p99: p99.as_secs_f64() * 1e3,
    })
}

/// One request on a connection of its own: for what is counted and not timed.
pub(crate) fn once(at: &At<'_>, method: &str, what: &str) -> Result<()> {
    Connection::open(at.address)?.ask(method, &(at.path)(what))?;
    Ok(())
}

/// Each image once, one after the other, over one connection.
pub(crate) fn each_once(at: &At<'_>, images: &[Image]) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(600);
    let took = client_of(at, images.iter(), until)?;
    if took.len() < images.len() * 2 {
        return Err("ten minutes were too short".into());
    }
    Ok(())
}

fn client_of<'a>(
    at: &At<'_>,
    images: impl Iterator<Item = &'a Image>,
    until: Instant,
) -> Result<Vec<Duration>> {
    let (mut connection, mut took) = (Connection::open(at.address)?, Vec::new());
    for image in images {
        let (tag, digest) = (
            format!("manifests/{}", image.tag),
            format!("manifests/{}", image.digest),
        );
        for (method, what) in [("HEAD", tag), ("GET", digest)] {
            let began = Instant::now();
            if began >= until {
                return Ok(took);
            }
            let length = connection.ask(method, &(at.path)(&what))?;
            took.push(began.elapsed());
            if length != image.length {
                return Err(format!("{method} {what}: {length} bytes").into());
            }
        }
    }
    Ok(took)
}

// === impl Connection ===

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// The length that a 200 tells; its body is read.
    fn ask(&mut self, method: &str, path: &str) -> Result<usize> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: {ACCEPT}\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes())?;
        let end = self.until(|received| {
            let end = received.windows(4).position(|four| four == b"\r\n\r\n");
            end.map(|at| at + 4)
        })?;
        let head = self
            .received
            .get(..end)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let head = String::from_utf8_lossy(&head);
        if !head.starts_with("http/1.1 200 ") {
            let status = head.lines().next().unwrap_or_default();
            return Err(format!("{method} {path}: {status}").into());
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .ok_or_else(|| format!("{method} {path}: no length"))?;
        let length: usize = length.trim().parse()?;
        let whole = if method == "HEAD" { end } else { end + length };
        self.until(|received| (received.len() >= whole).then_some(whole))?;
        self.received.drain(..whole);
        Ok(length)
    }

    fn until(&mut self, there: impl Fn(&[u8]) -> Option<usize>) -> Result<usize> {
        let mut some = [0; 16 * 1024];
        loop {
            if let Some(at) = there(&self.received) {
                return Ok(at);
            }
            let count = self.stream.read(&mut some)?;
            if count == 0 {
                return Err("the connection was closed".into());
            }
            self.received
                .extend_from_slice(some.get(..count).unwrap_or_default());
        }
    }
}
