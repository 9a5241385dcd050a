//! A flood of requests that are refused does not push anything else out of the log: the built program, whose stderr
//! nobody reads while it lasts.

use crate::client::{Client, End};
use crate::is_long;
use crate::node::write;
use crate::support::{FakeRegistry, Fault, Image, On, free_address};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

const CLIENTS: usize = 4;

/// Layers with wrong bytes, each of which is an event.
const EVENTS: usize = 20;

/// More than the queue and a pipe hold.
fn requests() -> usize {
    if is_long() { 50_000 } else { 12_000 }
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the log says of refused requests: those with a line of their own, and those that are summed up.
fn refused(lines: &[String]) -> (usize, usize) {
    let own = lines
        .iter()
        .filter(|line| line.contains(" 404 refused in "));
    let sums = lines.iter().filter_map(|line| {
        let (count, _) = line.split_once(" more requests were refused")?;
        count.rsplit(' ').next()?.parse::<usize>().ok()
    });
    (own.count(), sums.sum())
}

/// Reads until everything is there, or nothing comes any more.
fn read(log: ChildStderr, is_whole: impl Fn(&[String]) -> bool) -> Vec<String> {
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let (mut read, since) = (Vec::new(), Instant::now());
    while !is_whole(&read) && since.elapsed() < PATIENCE {
        read.extend(lines.recv_timeout(Duration::from_millis(100)));
        read.extend(lines.try_iter());
    }
    read
}

async fn ask_for_refusals(to: SocketAddr) {
    const AT_ONCE: usize = 50;
    let mut client = Client::connect(to).await;
    let one =
        "GET /v2/library/app/manifests/1?ns=nobody.example HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for _ in 0..requests() / CLIENTS / AT_ONCE {
        client.send(one.repeat(AT_ONCE)).await;
        for _ in 0..AT_ONCE {
            assert_eq!(client.answer(false).await.status, 404);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_requests_costs_no_event() {
    let image = Image::with_layers(1, &[200_000; EVENTS]);
    let upstream = FakeRegistry::builder().with_image("library/app", "1", &image);
    let upstream = upstream.start().await;
    upstream.set_fault_on(On::Blobs, Fault::CorruptAt(100_000));
    let listen = free_address();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    let text = format!(
        "[server]\nlisten = [\"{listen}\"]\nadmin = \"127.0.0.1:0\"\n[state]\ndirectory = {:?}\n\
         [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
        home.path().join("state"),
        upstream.base_url(),
    );
    write(&file, &text);
    let child = Command::new(crate::binary())
        .args(["run", "--config"])
        .arg(&file)
        .env_remove("HARBOR_PILOT_LOG")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut agent = Agent(child);
    let log = agent.0.stderr.take().unwrap();
    let since = Instant::now();
    while std::net::TcpStream::connect(listen).is_err() {
        assert!(since.elapsed() < PATIENCE, "it does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    let flood: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask_for_refusals(listen)))
        .collect();
    for layer in image.blobs.iter().filter(|blob| blob.body.len() == 200_000) {
        let mut client = Client::connect(listen).await;
        let target = format!("/v2/library/app/blobs/{}?ns=docker.io", layer.digest);
        client.ask("GET", &target, &[]).await;
        assert_eq!(client.answer(false).await.end, End::Reset);
    }
    for client in flood {
        client.await.unwrap();
    }
    let took = began.elapsed();

    let events = |lines: &[String]| {
        let of_bytes = lines
            .iter()
            .filter(|line| line.contains("digest_mismatch: "));
        of_bytes.count()
    };
    // A log that has taken nothing for 5 s has lines dropped: the hundred of each second, and those of the layers.
    let dropped = |lines: &[String]| -> usize {
        let said = lines.iter().filter_map(|line| {
            let (_, said) = line.split_once("log_dropped: ")?;
            said.split(' ').next()?.parse::<usize>().ok()
        });
        said.sum()
    };
    let is_whole = move |lines: &[String]| {
        let (own, summed) = refused(lines);
        own + summed + dropped(lines) >= requests() && events(lines) >= EVENTS
    };
    let lines = tokio::task::spawn_blocking(move || read(log, is_whole))
        .await
        .unwrap();
    assert_eq!(events(&lines), EVENTS, "{:?}", lines.last());
    let (own, summed) = refused(&lines);
    let dropped = dropped(&lines);
    let told = requests()..=requests() + EVENTS;
    assert!(
        told.contains(&(own + summed + dropped)),
        "each is told of once: {own}, {summed}, {dropped}"
    );
    assert!(summed > requests() / 2, "{own} have a line of their own");
    println!(
        "{} refused requests in {took:?}, while nobody read the log: {own} lines, sums of {summed}, {dropped} dropped; {EVENTS} of {EVENTS} events",
        requests()
    );
}
