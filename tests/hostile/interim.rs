//! Sources that always have more to say: heads of interim answers without end, bodies in pieces of one byte. Their requests
//! end, and the requests of others are answered meanwhile.

use crate::client::Client;
use crate::is_long;
use crate::node::{Setup, target};
use crate::support::{FakeRegistry, Image};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What is sent without end, behind a beginning.
const FLOODS: [(&str, &str, &str); 5] = [
    ("interim heads", "", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    (
        "interim heads of 60 KiB",
        "",
        "HTTP/1.1 103 Early Hints\r\nLink: LONG\r\n\r\n",
    ),
    ("empty lines", "", "\r\n\r\n\r\n\r\n"),
    (
        "pieces of one byte",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1\r\nx\r\n",
    ),
    (
        "a body without an end",
        "HTTP/1.1 200 OK\r\n\r\n",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ),
];

/// A source that floods whoever asks, from threads of its own.
fn flood(begin: &'static str, again: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let again = again.replace("LONG", &"x".repeat(60 * 1024));
    let block = again.repeat((64 * 1024_usize).div_ceil(again.len()));
    let block: Arc<[u8]> = block.into_bytes().into();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let block = block.clone();
            thread::spawn(move || {
                let mut asked = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while asked.read_line(&mut line).is_ok_and(|length| length > 2) {
                    line.clear();
                }
                let _ = stream.write_all(begin.as_bytes());
                while stream.write_all(&block).is_ok() {}
            });
        }
    });
    address
}

/// Asks for `/v2/` again and again, each time as soon as it is answered; how long each answer took.
fn pinging(agent: SocketAddr, over: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(agent).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut took = Vec::new();
        let mut answer = [0; 4096];
        while !over.load(Ordering::SeqCst) {
            let began = Instant::now();
            stream
                .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            let length = stream.read(&mut answer).unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK\r\n"));
            took.push(began.elapsed());
            thread::sleep(Duration::from_millis(1));
        }
        took.sort();
        took
    })
}

/// Where a thread's time went between two turns of one of its tasks.
#[derive(Clone, Copy)]
struct Turn {
    /// It worked for other tasks.
    worked: Duration,
    /// It was ready, and the machine had its processors for other threads.
    waited: Duration,
}

/// How long the current thread has worked, and how long it has waited for a processor while it was ready (the kernel's
/// Documentation/scheduler/sched-stats.rst).
fn time_of_thread() -> Turn {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let mut times = text.split(' ').map(|word| word.parse().unwrap());
    let mut next = || Duration::from_nanos(times.next().unwrap());
    Turn {
        worked: next(),
        waited: next(),
    }
}

/// A task beside the agent's, which wants a turn every millisecond.
async fn witness(turns: mpsc::Sender<Turn>) {
    let mut before = time_of_thread();
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = time_of_thread();
        let turn = Turn {
            worked: now.worked - before.worked,
            waited: now.waited - before.waited,
        };
        before = now;
        if turns.send(turn).is_err() {
            return;
        }
    }
}

/// An agent whose requests are all served by one thread, which does nothing else: as on a node with one core. With what a
/// task of that thread sees.
fn agent_on_one_thread(setup: Setup) -> (SocketAddr, oneshot::Sender<()>, mpsc::Receiver<Turn>) {
    let (started, address) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let (turns, seen) = mpsc::channel();
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let node = setup.start().await;
            started.send(node.addr).unwrap();
            tokio::select! {
                _ = stopped => {}
                () = witness(turns) => {}
            }
        });
    });
    (address.recv().unwrap(), stop, seen)
}

/// The 99th of a hundred.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() - 1) * 99 / 100]
}

#[tokio::test]
async fn others_are_answered_while_a_source_floods() {
    let (crowds, lasts): (&[usize], _) = if is_long() {
        (&[8, 16, 64], Duration::from_secs(5))
    } else {
        (&[8], Duration::from_secs(1))
    };
    let (image, mut answered) = (Image::random(3, 1), 0);
    let mut late = Vec::new();
    let floods = FLOODS.iter();
    let all = floods.flat_map(|flood| crowds.iter().map(move |clients| (*flood, *clients)));
    for ((name, begin, again), clients) in all {
        let source = flood(begin, again);
        let setup = Setup::default().registry(&format!("http://{source}"), "");
        let (agent, _stop, seen) = agent_on_one_thread(setup);
        let over = Arc::new(AtomicBool::new(false));
        let pinging = pinging(agent, over.clone());
        let mut pulls = tokio::task::JoinSet::new();
        let until = Instant::now() + lasts;
        for nth in 0..clients {
            let layer = image.layer().digest.clone();
            pulls.spawn(async move {
                let mut asked = 0;
                while Instant::now() < until {
                    let what = match nth % 2 {
                        0 => format!("manifests/{nth}"),
                        _ => format!("blobs/{layer}"),
                    };
                    let mut client = Client::connect(agent).await;
                    client.ask("GET", &target(&what), &[]).await;
                    let left = until.saturating_duration_since(Instant::now());
                    let _ = client.answer_within(left).await;
                    asked += 1;
                }
                asked
            });
        }
        let asked: usize = pulls.join_all().await.into_iter().sum();
        over.store(true, Ordering::SeqCst);
        let took = tokio::task::spawn_blocking(|| pinging.join().unwrap())
            .await
            .unwrap();
        let at = |part: usize| took[(took.len() - 1) * part / 100];
        let turns: Vec<Turn> = seen.try_iter().collect();
        let worked = p99(turns.iter().map(|turn| turn.worked).collect());
        let waited = p99(turns.iter().map(|turn| turn.waited).collect());
        println!(
            "{name}: {asked} pulls by {clients} clients; GET /v2/: {} answers, p50 {:?}, p99 {:?}, longest {:?}; between two \
             turns the thread worked {worked:?} and waited for a processor {waited:?} (p99 of {})",
            took.len(),
            at(50),
            at(99),
            at(100),
            turns.len(),
        );
        // Whatever else the machine does.
        assert!(worked < Duration::from_millis(50), "{name}: {worked:?}");
        assert!(took.len() >= 5, "{name}: {took:?}");
        answered += took.len();
        if is_long() && clients == 8 && at(99) >= Duration::from_millis(50) {
            late.push(format!(
                "{name}: {:?}, of which the machine had {waited:?}",
                at(99)
            ));
        }
    }
    assert!(answered >= 40, "{answered} answers in all");
    assert!(late.is_empty(), "p99 of 50 ms or more: {}", late.join("; "));
}

/// The request itself goes on at once: the ninth interim answer is the source's failure.
#[tokio::test]
async fn interim_answers_without_end_are_the_sources_failure() {
    let image = Image::random(4, 1);
    let upstream = FakeRegistry::builder();
    let upstream = upstream.with_image(crate::node::REPOSITORY, "1", &image);
    let upstream = upstream.start().await;
    let (_, begin, again) = FLOODS[0];
    let tier = format!("http://{}", flood(begin, again));
    let setup = Setup::default().tier(&tier, "");
    let node = setup.registry(&upstream.base_url(), "").start().await;
    // Of a tag upstream is asked by HEAD, and then for what that told.
    for (what, attempts) in [
        ("manifests/1".to_owned(), 3),
        (format!("blobs/{}", image.layer().digest), 2),
    ] {
        let got = node.pull(&what).await;
        assert_eq!(got.status, 200, "{got:?}");
        let record = node.record(&got).await;
        assert!(
            record.error.contains("content")
                && record.error.contains("more than 8 interim answers"),
            "{record:?}"
        );
        assert_eq!(record.attempts, attempts, "{record:?}");
    }
}
