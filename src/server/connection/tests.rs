//! One connection over real sockets, with answers by script.

mod clients;
mod script;

use super::*;
use crate::admission::Admission;
use crate::lifecycle::{self, Drain};
use crate::server::tests::{admission, admitted};
use script::{Script, large};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A connection that is served.
struct Stage {
    peer: TcpStream,
    served: oneshot::Receiver<()>,
    script: Script,
    drain: Drain,
}

async fn stage(idle: Duration) -> Stage {
    stage_of(&admission(1, LONG), idle).await
}

async fn stage_of(admission: &Admission, idle: Duration) -> Stage {
    let ((stream, slot), peer) = admitted(admission).await;
    let (drain, watch) = Drain::new();
    let script = Script::default();
    let (over, served) = oneshot::channel();
    let serving = Serving::new(stream, slot, idle, watch, script.clone());
    lifecycle::spawn_detached("test", async move {
        serving.serve().await;
        // Most tests do not wait for it.
        let _ = over.send(());
    });
    Stage {
        peer,
        served,
        script,
        drain,
    }
}

const LONG: Duration = Duration::from_secs(60);

impl Stage {
    async fn say(&mut self, text: &str) {
        self.peer.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything up to the end of the connection.
    async fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        let read = timeout(Duration::from_secs(20), self.peer.read_to_end(&mut heard)).await;
        read.expect("the connection ends").unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// One answer of that many bytes of body.
    async fn hear_one(&mut self, body: usize) -> String {
        let mut heard = Vec::new();
        loop {
            let end = heard.windows(4).position(|four| four == b"\r\n\r\n");
            if end.is_some_and(|end| heard.len() >= end + 4 + body) {
                return String::from_utf8(heard).unwrap();
            }
            assert_ne!(self.peer.read_buf(&mut heard).await.unwrap(), 0);
        }
    }
}

/// Asks once and closes; without the Date.
async fn ask(request: &str) -> String {
    let mut stage = stage(LONG).await;
    stage.say(request).await;
    let heard = stage.hear().await;
    let lines = heard.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("date: ")).collect()
}

#[tokio::test]
async fn requests_are_answered_in_their_order_however_they_come() {
    let mut stage = stage(LONG).await;
    stage
        .say("GET /a HTTP/1.1\r\n\r\nGET /told HTTP/1.1\r\n\r\nGET /c HT")
        .await;
    assert!(stage.hear_one(2).await.contains("\r\n\r\n/a"));
    stage.say("TP/1.1\r\nConnection: cl").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.say("ose\r\n\r\nGET /d HTTP/1.1\r\n\r\n").await;
    let heard = stage.hear().await;
    assert!(
        heard.contains("\r\n\r\nhello") || heard.contains("\r\n\r\n/c"),
        "{heard}"
    );
    assert!(heard.ends_with("\r\n\r\n/c"), "{heard}");
    assert_eq!(
        stage.script.asked.load(Ordering::SeqCst),
        3,
        "the last came behind a close"
    );
}

#[tokio::test]
async fn answers_are_framed_as_their_version_can() {
    let rows = [
        (
            "GET /told HTTP/1.1\r\nConnection: close",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        ),
        (
            "GET /told-and-silent HTTP/1.0",
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        ),
        (
            "GET /unknown HTTP/1.1\r\nConnection: close",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ),
        (
            "GET /none HTTP/1.1\r\nConnection: close",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        ),
        (
            "GET /unknown HTTP/1.0\r\nConnection: keep-alive",
            "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nhello",
        ),
        (
            "HEAD /head HTTP/1.1\r\nConnection: close",
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n",
        ),
        (
            "HEAD /unknown HTTP/1.1\r\nConnection: close",
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        ),
    ];
    for (request, due) in rows {
        assert_eq!(ask(&format!("{request}\r\n\r\n")).await, due, "{request}");
    }
}

#[tokio::test]
async fn an_old_client_may_keep_its_connection() {
    let mut stage = stage(LONG).await;
    let old = "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    stage.say(old).await;
    assert!(
        stage
            .hear_one(4)
            .await
            .contains("\r\nconnection: keep-alive\r\n")
    );
    stage.say(old).await;
    stage.hear_one(4).await;
}

#[tokio::test]
async fn a_body_that_is_not_what_its_head_said_ends_the_connection() {
    let (head, end) = ("HTTP/1.1 200 OK\r\n", "\r\n\r\n");
    let chunked = format!("{head}transfer-encoding: chunked{end}3\r\nhel\r\n2\r\nlo");
    assert_eq!(
        ask("GET /break HTTP/1.1\r\n\r\n").await,
        chunked,
        "no last chunk"
    );
    let short = format!("{head}content-length: 9{end}hello");
    assert_eq!(ask("GET /short HTTP/1.1\r\n\r\n").await, short);
    let long = format!("{head}content-length: 4{end}hel");
    assert_eq!(
        ask("GET /long HTTP/1.1\r\n\r\n").await,
        long,
        "not a byte too many"
    );
}

#[tokio::test]
async fn what_follows_a_request_with_a_body_is_not_taken_for_a_request() {
    for body in ["Content-Length: 40", "Transfer-Encoding: chunked"] {
        let mut stage = stage(LONG).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\n\r\n";
        stage
            .say(&format!("POST /a HTTP/1.1\r\n{body}\r\n\r\n{smuggled}"))
            .await;
        let heard = stage.hear().await;
        assert!(heard.contains("connection: close\r\n"), "{heard}");
        assert!(heard.ends_with("\r\n\r\n/a"), "{heard}");
        assert_eq!(stage.script.asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn nonsense_is_answered_once_and_let_go() {
    let too_long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(HEAD));
    for nonsense in ["\u{16}\u{3}\u{1}\0\u{5}", "GET /\r\n\r\n", &too_long] {
        let heard = ask(nonsense).await;
        assert!(heard.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{heard}");
        assert!(heard.contains("connection: close\r\n"), "{heard}");
    }
}

/// A client that asks without end and never waits: the thread's other tasks have their turn after 32 requests at most.
#[tokio::test]
async fn a_client_that_never_waits_lets_others_have_their_turn() {
    const REQUESTS: usize = 640;
    let mut stage = stage(LONG).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    lifecycle::spawn_detached("the other task", async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let asked = "GET / HTTP/1.1\r\n\r\n".repeat(REQUESTS - 1);
    stage.say(&asked).await;
    stage
        .say("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await;
    let heard = stage.hear().await;
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), REQUESTS);
    let turns = turns.load(Ordering::SeqCst);
    assert!(turns >= REQUESTS / 32 - 1, "{turns} turns");
}

#[tokio::test]
async fn large_bodies_reach_slow_readers_whole() {
    let mut stage = stage(LONG).await;
    stage
        .say("GET /large HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await;
    let mut heard = Vec::new();
    loop {
        let mut piece = [0; 50_000];
        match stage.peer.read(&mut piece).await.unwrap() {
            0 => break,
            length => heard.extend_from_slice(&piece[..length]),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(heard.ends_with(&large()));
}

#[tokio::test]
async fn the_head_does_not_wait_for_the_first_piece() {
    let mut stage = stage(LONG).await;
    stage.say("GET /silent HTTP/1.1\r\n\r\n").await;
    let head = stage.hear_one(0).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
}

/// With FIN containerd would glue the next host's tail to what is wrong.
#[tokio::test]
async fn a_body_that_breaks_says_whether_its_connection_ends_with_fin_or_with_a_reset() {
    let mut right = stage(LONG).await;
    right.say("GET /break HTTP/1.1\r\n\r\n").await;
    assert!(right.hear().await.ends_with("3\r\nhel\r\n2\r\nlo"));
    let mut wrong = stage(LONG).await;
    wrong.say("GET /reset HTTP/1.1\r\n\r\n").await;
    let error = wrong.peer.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_idle_time_begins_anew_with_every_answer() {
    let mut stage = stage(Duration::from_millis(500)).await;
    for _ in 0..4 {
        stage.say("GET /a HTTP/1.1\r\n\r\n").await;
        stage.hear_one(2).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let began = Instant::now();
    assert_eq!(stage.hear().await, "");
    assert!(began.elapsed() < Duration::from_secs(10));
    // And it does not run while an answer is being made.
    let mut stage = self::stage(Duration::from_millis(200)).await;
    stage.say("GET /slow HTTP/1.1\r\n\r\n").await;
    assert!(stage.hear_one(4).await.ends_with("slow"));
}

#[tokio::test]
async fn a_drain_ends_who_rests_and_lets_the_others_have_their_answer() {
    // One that has had an answer, and asks nothing now.
    let mut resting = stage(LONG).await;
    resting.say("GET /a HTTP/1.1\r\n\r\n").await;
    resting.hear_one(2).await;
    resting.drain.begin(LONG);
    assert_eq!(resting.hear().await, "");
    // One whose answer is being made.
    let mut waiting = stage(LONG).await;
    waiting.say("GET /slow HTTP/1.1\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    waiting.drain.begin(LONG);
    let heard = waiting.hear().await;
    assert!(heard.contains("connection: close\r\n"), "{heard}");
    // One that has not asked yet, and one in the middle of asking.
    for begun in ["", "GET /b HTTP"] {
        let mut new = stage(LONG).await;
        if !begun.is_empty() {
            new.say("GET /a HTTP/1.1\r\n\r\n").await;
            new.hear_one(2).await;
            new.say(begun).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        new.drain.begin(LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let rest = "GET /b HTTP/1.1\r\n\r\n".strip_prefix(begun).unwrap();
        new.say(rest).await;
        let heard = new.hear().await;
        assert!(heard.contains("connection: close\r\n"), "{heard}");
        assert!(heard.ends_with("\r\n\r\n/b"), "{heard}");
    }
}

#[tokio::test]
async fn at_the_drains_limit_bodies_are_cut_and_answers_are_waited_for() {
    let mut body = stage(LONG).await;
    body.say("GET /hang HTTP/1.1\r\n\r\n").await;
    let mut slow = stage(LONG).await;
    slow.say("GET /slow HTTP/1.1\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((body.drain.held(), slow.drain.held()), (1, 1));
    let limit = Duration::from_millis(200);
    body.drain.begin(limit);
    slow.drain.begin(limit);
    let heard = body.hear().await;
    assert!(heard.ends_with("3\r\nhel\r\n2\r\nlo"), "{heard}");
    let heard = slow.hear().await;
    assert!(heard.ends_with("\r\n\r\nslow"), "{heard}");
    assert_eq!((body.drain.held(), slow.drain.held()), (0, 0));
}
