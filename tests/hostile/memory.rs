//! What waits in memory is bounded in bytes: clients that do not read, manifests in a row, large tokens. Resident memory is
//! that of the built program, as a process of its own.

use crate::client::Client;
use crate::is_long;
use crate::support::free_address;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const MIB: u64 = 1 << 20;
/// The largest manifest and list that are let through, in bytes.
const LARGE: usize = 4 << 20;
/// What the program may take, whatever is done to it.
const MOST: u64 = 128 * MIB;
/// What it may keep afterwards beside what it has idle and what it says that it holds.
const REST: u64 = 8 * MIB;
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The built program. It ends with the value.
struct Agent {
    home: TempDir,
    child: Child,
    at: SocketAddr,
    admin: SocketAddr,
    /// Resident bytes after a first pull.
    idle: u64,
}

/// What the program takes and says, in bytes.
#[derive(Debug)]
struct Memory {
    resident: u64,
    /// The most that was resident since the start.
    peak: u64,
    /// The sum of `memory_bytes`.
    held: u64,
    /// Of them what is remembered until others take its place: the table of sizes.
    remembered: u64,
    refused: u64,
}

impl Agent {
    async fn start(upstream: SocketAddr) -> Self {
        let home = tempfile::tempdir().unwrap();
        let [at, admin] = [(); 2].map(|()| free_address());
        let state = home.path().join("state");
        let text = format!(
            "[server]\nlisten = [\"{at}\"]\nadmin = \"{admin}\"\n[state]\ndirectory = \"{}\"\n[[registry]]\n\
             name = \"docker.io\"\nupstream = \"http://{upstream}\"\n",
            state.display()
        );
        let file = home.path().join("config.toml");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new(crate::binary())
            .args(["run", "--log", "warn", "--config"])
            .arg(&file)
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| name.contains("MALLOC")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut agent = Self {
            home,
            child,
            at,
            admin,
            idle: 0,
        };
        let since = Instant::now();
        while TcpStream::connect(at).await.is_err() {
            assert!(since.elapsed() < PATIENCE, "{}", agent.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(agent.pull("small").await, 200, "{}", agent.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
        agent.idle = agent.memory().await.resident;
        agent
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// A client that reads what it asks for.
    async fn pull(&self, tag: &str) -> u16 {
        let mut client = Client::connect(self.at).await;
        client.ask("GET", &manifest_of("app", tag), &[]).await;
        client.answer(false).await.status
    }

    async fn memory(&self) -> Memory {
        let mut client = Client::connect(self.admin).await;
        client
            .ask("GET", "/metrics", &[("connection", "close")])
            .await;
        let metrics = client.answer(false).await.text();
        let sum = |name: &str| {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.map(value).sum()
        };
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kilobytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let line = line.unwrap().trim_end_matches(" kB");
            value(line) * 1024
        };
        Memory {
            resident: kilobytes("VmRSS:"),
            peak: kilobytes("VmHWM:"),
            held: sum("harbor_pilot_memory_bytes{"),
            remembered: sum("harbor_pilot_memory_bytes{what=\"sizes\"}"),
            refused: sum("harbor_pilot_memory_refused_total "),
        }
    }

    /// The figures of an attack, first while it lasts, then when its clients have left.
    async fn figures(&self, attack: &str, during: &Memory) {
        let wait = if is_long() { 60 } else { 2 };
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let after = self.memory().await;
        println!(
            "{attack}: idle {:.1} MiB; at most {:.1} MiB, of which held {:.1} MiB, {} refused; {wait} s later {:.1} MiB, of \
             which held {:.1} MiB",
            mib(self.idle),
            mib(after.peak),
            mib(during.held),
            during.refused,
            mib(after.resident),
            mib(after.held),
        );
        assert!(after.peak <= MOST, "{attack}: {during:?} {after:?}");
        assert!(during.held <= 64 * MIB, "{attack}: {during:?}");
        assert!(
            after.resident <= self.idle + after.held + REST,
            "{attack}: idle {}, {after:?}",
            self.idle
        );
        if is_long() {
            assert!(after.held - after.remembered < MIB, "{attack}: {after:?}");
            assert!(after.remembered <= 8 * MIB, "{attack}: {after:?}");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

/// The number at a line's end.
fn value(line: &str) -> u64 {
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn manifest_of(repository: &str, tag: &str) -> String {
    format!("/v2/library/{repository}/manifests/{tag}?ns=docker.io")
}

/// The short count, or the whole one.
fn count(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

// === clients that do not read ===

/// Asks and reads no more than an answer's first line.
struct Unread {
    status: u16,
    why: String,
    _stream: TcpStream,
}

async fn unread(at: SocketAddr, target: String) -> Unread {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&at.into());
    let mut stream = TcpStream::from_std(socket.into()).unwrap();
    stream.writable().await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    let read = stream.read_exact(&mut head);
    let read = tokio::time::timeout(PATIENCE, read).await;
    read.expect("a first line in time").unwrap();
    let status = std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
    // What a refusal says.
    let mut why = String::new();
    if status != 200 {
        let mut rest = [0; 2000];
        let read = stream.read(&mut rest).await.unwrap_or(0);
        why = String::from_utf8_lossy(&rest[..read]).into_owned();
    }
    Unread {
        status,
        why,
        _stream: stream,
    }
}

/// So many of them at once, each with a target of its own.
async fn all_unread(
    agent: &Agent,
    count: usize,
    target: impl Fn(usize) -> String,
) -> (Vec<Unread>, usize) {
    let asking: Vec<_> = (0..count)
        .map(|number| tokio::spawn(unread(agent.at, target(number))))
        .collect();
    let mut answers = Vec::new();
    for asking in asking {
        answers.push(asking.await.unwrap());
    }
    let served = answers.iter().filter(|answer| answer.status == 200);
    let served = served.count();
    let refused = answers.iter().filter(|answer| answer.status == 503);
    assert_eq!(served + refused.count(), count);
    let others = answers.iter().filter(|answer| answer.status != 200);
    let others = others.filter(|answer| !answer.why.contains("no memory"));
    for why in others.map(|answer| &answer.why).take(3) {
        println!("refused for another reason: {why}");
    }
    (answers, served)
}

/// 480 of them hold what there is for large answers; small ones are served meanwhile.
async fn unread_attack(attack: &str, target: impl Fn(usize) -> String) {
    let agent = Agent::start(upstream(0).await).await;
    let count = count(60, 480);
    let (answers, served) = all_unread(&agent, count, target).await;
    let during = agent.memory().await;
    assert!(served >= 8, "{served} of {count}: {during:?}");
    assert_eq!(during.refused, (count - served) as u64, "{during:?}");
    let since = Instant::now();
    assert_eq!(agent.pull("small-too").await, 200);
    assert!(since.elapsed() < Duration::from_secs(1));
    drop(answers);
    agent.figures(attack, &during).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_manifests_take_no_more_than_the_budget() {
    let target = |number| manifest_of("app", &format!("large-{number}"));
    unread_attack("unread manifests, all different", target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_lists_take_no_more_than_the_budget() {
    let target = |number| format!("/v2/library/app-{number}/tags/list?ns=docker.io");
    unread_attack("unread lists", target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_layers_leave_room_for_manifests() {
    let agent = Agent::start(upstream(0).await).await;
    let count = count(60, 480);
    let target = |number| {
        let digest = format!("sha256:{number:064x}");
        format!("/v2/library/app/blobs/{digest}?ns=docker.io")
    };
    let (answers, served) = all_unread(&agent, count, target).await;
    assert_eq!(served, count, "a layer needs no memory that it waits for");
    let during = agent.memory().await;
    let of_each = during.held / count as u64;
    assert!((48 << 10..=273 << 10).contains(&of_each), "{during:?}");
    assert_eq!(agent.pull("large").await, 200);
    assert_eq!(agent.memory().await.refused, 0);
    drop(answers);
    agent.figures("unread layers", &during).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_the_same_manifest_share_it() {
    let agent = Agent::start(upstream(0).await).await;
    let count = count(60, 480);
    let target = |_| manifest_of("app", "large");
    let (answers, served) = all_unread(&agent, count, target).await;
    assert_eq!(served, count);
    let during = agent.memory().await;
    drop(answers);
    agent.figures("the same manifest, unread", &during).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_in_a_row_make_room_for_each_other() {
    let agent = Agent::start(upstream(0).await).await;
    for number in 0..count(36, 128) {
        assert_eq!(agent.pull(&format!("large-{number}")).await, 200);
    }
    let during = agent.memory().await;
    assert_eq!(during.refused, 0, "{during:?}");
    agent.figures("manifests in a row", &during).await;
}

/// Pulls from so many repositories, each with a token of its own of so many bytes.
async fn tokens_attack(attack: &str, bytes: usize, repositories: usize, due: u16) {
    let agent = Arc::new(Agent::start(upstream(bytes).await).await);
    let mut pulls = Vec::new();
    for pull in 0..8 {
        let agent = agent.clone();
        pulls.push(tokio::spawn(async move {
            for number in (pull..repositories).step_by(8) {
                let mut client = Client::connect(agent.at).await;
                let target = manifest_of(&format!("token-{number}"), "small");
                client.ask("GET", &target, &[]).await;
                let got = client.answer(false).await;
                assert_eq!(got.status, due, "{got:?}");
                if due == 503 {
                    assert!(got.message().contains("token"), "{got:?}");
                }
            }
        }));
    }
    for pull in pulls {
        pull.await.unwrap();
    }
    let during = agent.memory().await;
    agent.figures(attack, &during).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_250_kb_are_not_taken() {
    tokens_attack("tokens of 250 KB", 250_000, count(100, 4200), 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_16_kib_hold_an_eighth_of_the_budget() {
    tokens_attack("tokens of 16 KiB", 16 * 1024, count(560, 4200), 200).await;
}

// === the registry ===

/// A registry with manifests of 4 MiB under tags that begin with `large`, and lists and layers as long. Repositories that begin with
/// `library/token` want a token of so many bytes.
async fn upstream(token: usize) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, at, token));
        }
    });
    at
}

async fn serve(mut stream: TcpStream, at: SocketAddr, token: usize) {
    let mut received = Vec::new();
    loop {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            // Whoever asks for nothing more has gone.
            match stream.read_buf(&mut received).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        let head: Vec<u8> = received.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        if answer(&mut stream, &head, at, token).await.is_err() {
            return;
        }
    }
}

async fn answer(
    stream: &mut TcpStream,
    head: &str,
    at: SocketAddr,
    token: usize,
) -> std::io::Result<()> {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let target = head.split(' ').nth(1).unwrap();
    let has_token = head.to_ascii_lowercase().contains("\r\nauthorization:");
    if target.starts_with("/token") {
        let whole = ("{\"token\":\"", "\"}");
        return send(stream, head, "application/json", whole, token).await;
    }
    if target.starts_with("/v2/library/token") && !has_token {
        let repository = target.split("/manifests/").next().unwrap();
        let repository = repository.trim_start_matches("/v2/");
        let head = format!(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{at}/token\",service=\"a\",\
             scope=\"repository:{repository}:pull\"\r\ncontent-length: 0\r\n\r\n"
        );
        return stream.write_all(head.as_bytes()).await;
    }
    if target.contains("/tags/list") {
        let whole = ("{\"name\":\"a\",\"tags\":[\"", "\"]}");
        let filling = LARGE - whole.0.len() - whole.1.len();
        return send(stream, head, "application/json", whole, filling).await;
    }
    if target.contains("/blobs/") {
        return send(stream, head, "application/octet-stream", ("", ""), LARGE).await;
    }
    let digest = format!("sha256:{}", "a".repeat(64));
    let of = "application/vnd.oci.image";
    let begin = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\"{of}.config.v1+json\",\"digest\":\"{digest}\",\
         \"size\":7}},\"layers\":[],\"annotations\":{{\"tag\":\"{target}\",\"filling\":\""
    );
    let whole = (begin.as_str(), "\"}}");
    let filling = if target.contains("/manifests/large") {
        LARGE - whole.0.len() - whole.1.len()
    } else {
        10
    };
    send(stream, head, MANIFEST, whole, filling).await
}

/// `begin`, so many letters, `end`.
async fn send(
    stream: &mut TcpStream,
    head: &str,
    media_type: &str,
    (begin, end): (&str, &str),
    filling: usize,
) -> std::io::Result<()> {
    let length = begin.len() + filling + end.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    if head.starts_with("HEAD") {
        return Ok(());
    }
    stream.write_all(begin.as_bytes()).await?;
    let letters = [b'x'; 64 * 1024];
    let mut left = filling;
    while left > 0 {
        let piece = left.min(letters.len());
        stream.write_all(&letters[..piece]).await?;
        left -= piece;
    }
    stream.write_all(end.as_bytes()).await
}
