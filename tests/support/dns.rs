//! A name server on loopback that says what a test wrote down: A records over UDP, NXDOMAIN for everything else.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

type Book = Arc<Mutex<HashMap<String, Vec<Ipv4Addr>>>>;

/// It ends with the value.
pub struct FakeDns {
    /// For `[dns] nameservers`.
    pub addr: SocketAddr,
    book: Book,
    ttl: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
    _serving: JoinSet<()>,
}

impl FakeDns {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let book = Book::default();
        let (ttl, asked) = (Arc::new(AtomicU32::new(5)), Arc::<AtomicU32>::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(socket, book.clone(), ttl.clone(), asked.clone()));
        Self {
            addr,
            book,
            ttl,
            asked,
            _serving: serving,
        }
    }

    pub fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let mut book = self.book.lock().unwrap();
        book.insert(name.to_owned(), addresses.collect());
    }

    /// The life that it tells of every record from now on, in seconds.
    pub fn set_ttl(&self, seconds: u32) {
        self.ttl.store(seconds, Ordering::Relaxed);
    }

    /// Questions so far.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn serve(socket: UdpSocket, book: Book, ttl: Arc<AtomicU32>, asked: Arc<AtomicU32>) {
    let mut packet = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut packet).await {
        asked.fetch_add(1, Ordering::Relaxed);
        let ttl = ttl.load(Ordering::Relaxed);
        if let Some(answer) = answer(&packet[..length], &book, ttl) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// RFC 1035, section 4: header, the question again, and a record for every address.
fn answer(query: &[u8], book: &Book, ttl: u32) -> Option<Vec<u8>> {
    const A: [u8; 4] = [0, 1, 0, 1];
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let kind = query.get(at..at + 4)?;
    let known = book.lock().unwrap().get(&labels.join(".")).cloned();
    let code = if known.is_some() { 0 } else { 3 };
    let addresses = known.filter(|_| kind == A).unwrap_or_default();
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0]);
    answer.push(u8::try_from(addresses.len()).ok()?);
    answer.extend([0, 0, 0, 0]);
    answer.extend(query.get(12..at + 4)?);
    for address in addresses {
        // A pointer to the question's name, A, IN, its life, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
