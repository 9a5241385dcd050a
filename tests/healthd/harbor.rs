//! A Harbor that says what it is told to say, and counts who asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it answers.
#[derive(Clone)]
pub(crate) struct Word {
    pub(crate) status: &'static str,
    pub(crate) body: String,
    /// Before the answer.
    pub(crate) waits: Duration,
    /// More is announced than comes.
    pub(crate) cut: bool,
}

pub(crate) struct Harbor {
    pub(crate) address: SocketAddr,
    word: Arc<Mutex<Word>>,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Word {
    pub(crate) fn list(unhealthy: &[&str]) -> Self {
        let names = [
            "core",
            "database",
            "jobservice",
            "portal",
            "redis",
            "registry",
            "registryctl",
            "trivy",
        ];
        let components: Vec<String> = names
            .iter()
            .map(|name| match unhealthy.contains(name) {
                true => format!(r#"{{"error":"refused","name":"{name}","status":"unhealthy"}}"#),
                false => format!(r#"{{"name":"{name}","status":"healthy"}}"#),
            })
            .collect();
        let overall = if unhealthy.is_empty() {
            "healthy"
        } else {
            "unhealthy"
        };
        Self::says(
            "200 OK",
            &format!(
                r#"{{"components":[{}],"status":"{overall}"}}"#,
                components.join(",")
            ),
        )
    }

    pub(crate) fn says(status: &'static str, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
            waits: Duration::ZERO,
            cut: false,
        }
    }
}

impl Harbor {
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let harbor = Self {
            address: listener.local_addr().unwrap(),
            word: Arc::new(Mutex::new(Word::list(&[]))),
            heads: Arc::default(),
            connections: Arc::default(),
        };
        let (word, heads) = (harbor.word.clone(), harbor.heads.clone());
        let connections = harbor.connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let (word, heads, tls) = (word.clone(), heads.clone(), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &word, &heads),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &word, &heads);
                    }
                });
            }
        });
        harbor
    }

    pub(crate) fn says(&self, word: Word) {
        *self.word.lock().unwrap() = word;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: impl Read + Write, word: &Mutex<Word>, heads: &Mutex<Vec<String>>) {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let end = seen.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(count) => seen.extend_from_slice(&piece[..count]),
            }
            continue;
        };
        let head: Vec<u8> = seen.drain(..end + 4).collect();
        heads.lock().unwrap().push(String::from_utf8(head).unwrap());
        let said = word.lock().unwrap().clone();
        thread::sleep(said.waits);
        let length = said.body.len() + if said.cut { 10 } else { 0 };
        let answer = format!(
            "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Set-Cookie: sid=abc123; Path=/; HttpOnly\r\n\r\n{}",
            said.status, said.body
        );
        if stream.write_all(answer.as_bytes()).is_err() || said.cut {
            return;
        }
    }
}

/// One request on a connection of its own; the head and the body of the answer.
pub(crate) fn ask(at: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    // A full endpoint may end the connection with a reset once it has answered.
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    (head.to_owned(), body.to_owned())
}
