//! A client on a plain socket that tells how an answer ended: whole, by FIN or by RST.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// No answer of a test takes longer; most take milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the last byte of its length, or the final chunk.
    Clean,
    /// The connection was closed before.
    Fin,
    /// The connection was reset.
    Reset,
}

/// An answer as it came.
#[derive(Clone)]
pub struct Got {
    /// 0: there was none.
    pub status: u16,
    /// What the status line says behind the status.
    #[allow(dead_code, reason = "the hostile tests do not read it")]
    pub reason: String,
    /// In lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub end: End,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl fmt::Debug for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = if self.body.len() <= 400 {
            self.text()
        } else {
            format!("{} bytes", self.body.len())
        };
        f.debug_struct("Got")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &body)
            .field("end", &self.end)
            .finish()
    }
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The one message of the error JSON.
    pub fn message(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()));
        json["errors"][0]["message"].as_str().unwrap().to_owned()
    }

    /// The word of its error JSON.
    pub fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        json["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    /// Design P4: only these statuses, no challenge, no cookie, no redirect.
    #[track_caller]
    /// What containerd may be answered (design P4). `more`: a status that this client alone may see.
    pub fn assert_keeps_manners(&self, more: Option<u16>) {
        let is_good = matches!(self.status, 200 | 206 | 404 | 405 | 416 | 503);
        assert!(is_good || Some(self.status) == more, "{self:?}");
        for name in ["www-authenticate", "set-cookie", "location"] {
            assert_eq!(self.header(name), None, "{name}");
        }
    }

    fn nothing(end: End) -> Self {
        Self {
            status: 0,
            reason: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            end,
        }
    }
}

impl Client {
    pub async fn connect(to: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(to).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// From the address that stands for other users' (see `node::is_trusted`).
    #[allow(dead_code, reason = "the hostile tests have untrusted clients")]
    pub async fn connect_as_stranger(to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        Self {
            stream: socket.connect(to).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// Ends its own direction: it asks no more, and waits for answers.
    #[allow(dead_code, reason = "for the hostile tests")]
    pub async fn asks_no_more(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Sends a request's bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Who is refused early may find the connection closed already.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// `GET target` with these headers and a Host.
    pub async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:290\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.send(request).await;
    }

    /// The next answer, whole; `None`: not within that time.
    #[allow(dead_code, reason = "the soak's clients are more patient")]
    pub async fn answer_within(&mut self, limit: Duration) -> Option<Got> {
        tokio::time::timeout(limit, self.read(false)).await.ok()
    }

    /// The next answer, whole.
    pub async fn answer(&mut self, to_head: bool) -> Got {
        let answer = tokio::time::timeout(PATIENCE, self.read(to_head)).await;
        answer.expect("an answer within 30 s")
    }

    /// The next answer's head alone; its body is still to come.
    pub async fn head_of_answer(&mut self) -> Got {
        let head = tokio::time::timeout(PATIENCE, self.read_head()).await;
        head.expect("a head within 30 s")
    }

    /// At least `bytes` more of a body, as it comes.
    pub async fn some(&mut self, bytes: usize) -> Vec<u8> {
        while self.buffer.len() < bytes {
            let more = tokio::time::timeout(PATIENCE, self.more()).await;
            assert!(more.expect("bytes within 30 s").unwrap(), "it ended");
        }
        std::mem::take(&mut self.buffer)
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            match tokio::time::timeout(PATIENCE, self.more()).await.unwrap() {
                Ok(true) => {}
                other => break end_of(&other),
            }
        };
        (std::mem::take(&mut self.buffer), end)
    }

    async fn read(&mut self, to_head: bool) -> Got {
        let mut got = self.read_head().await;
        if got.status == 0 || to_head || matches!(got.status, 204 | 304) {
            return got;
        }
        let length = got.header("content-length").map(|text| text.parse());
        let outcome = if got.header("transfer-encoding") == Some("chunked") {
            self.chunked(&mut got.body).await
        } else if let Some(length) = length {
            self.exactly(length.unwrap(), &mut got.body).await
        } else {
            let end = self.rest().await;
            got.body = end.0;
            Ok(end.1 == End::Fin)
        };
        got.end = match outcome {
            Ok(true) => End::Clean,
            other => end_of(&other),
        };
        got
    }

    async fn read_head(&mut self) -> Got {
        let end = loop {
            let blank = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = blank {
                break end;
            }
            match self.more().await {
                Ok(true) => {}
                other => return Got::nothing(end_of(&other)),
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next().unwrap().splitn(3, ' ').skip(1);
        let (status, reason) = (first.next().unwrap(), first.next().unwrap());
        let fields = lines.map(|line| line.split_once(':').unwrap());
        Got {
            status: status.parse().unwrap(),
            reason: reason.to_owned(),
            headers: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
            end: End::Clean,
        }
    }

    /// `false`: it ended early.
    async fn exactly(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<bool> {
        let due = body.len() + length;
        loop {
            let take = self.buffer.len().min(due - body.len());
            body.extend(self.buffer.drain(..take));
            if body.len() == due {
                return Ok(true);
            }
            if !self.more().await? {
                return Ok(false);
            }
        }
    }

    async fn chunked(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") else {
                if !self.more().await? {
                    return Ok(false);
                }
                continue;
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let size = std::str::from_utf8(&line[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let mut line_end = Vec::new();
            if !self.exactly(size, body).await? || !self.exactly(2, &mut line_end).await? {
                return Ok(false);
            }
            if size == 0 {
                return Ok(true);
            }
        }
    }

    /// `false`: FIN.
    async fn more(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

fn end_of(outcome: &io::Result<bool>) -> End {
    match outcome {
        Ok(_) => End::Fin,
        Err(_) => End::Reset,
    }
}
