//! A Redis that keeps no manners.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_millis(50);

/// Takes each question, and answers with these bytes; none: not at all.
async fn server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    crate::lifecycle::spawn_detached("test", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut question = [0; 1024];
            while matches!(stream.read(&mut question).await, Ok(1..)) {
                let Ok(()) = stream.write_all(answer).await else {
                    break;
                };
            }
        }
    });
    address
}

/// What PING says. Without a password and a database there is no other question.
async fn ping(answer: &'static [u8]) -> Result<Value, Error> {
    let mut link = Link::open(server(answer).await, None, 0).await?;
    link.ask(&["PING"], PATIENCE).await
}

#[tokio::test]
async fn an_answer_is_taken_and_a_refusal_told() {
    assert_eq!(
        ping(b"+PONG\r\n").await.unwrap(),
        Value::SimpleString("PONG".to_owned())
    );
    let said = ping(b"-ERR no\r\n").await.unwrap_err().to_string();
    assert!(said.contains("says: ") && said.contains("no"), "{said}");
}

/// The answer and the end come in one read.
#[tokio::test]
async fn whoever_answers_and_closes_at_once_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    crate::lifecycle::spawn_detached("test", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"+PONG\r\n").await;
        }
    });
    for _ in 0..20 {
        let mut link = Link::open(address, None, 0).await.unwrap();
        link.ask(&["PING"], PATIENCE).await.unwrap();
        // In any order, and more than once.
        assert!(matches!(link.closed().await, Error::Broke(..)));
        assert!(matches!(link.closed().await, Error::Broke(..)));
        let again = link.ask(&["PING"], PATIENCE).await;
        assert!(matches!(again, Err(Error::Broke(..))), "{again:?}");
    }
}

#[tokio::test]
async fn whoever_is_silent_is_left() {
    let since = Instant::now();
    let error = ping(b"").await.unwrap_err();
    assert!(matches!(error, Error::Late(..)), "{error}");
    assert!(
        error.to_string().ends_with("has not answered within 50 ms"),
        "{error}"
    );
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn bytes_of_others_break_nothing_but_the_connection() {
    static LONG: [u8; 2 << 20] = [b'x'; 2 << 20];
    let answers: [&'static [u8]; 8] = [
        b"$99999999999\r\nx",
        b"*99999999999\r\n",
        b"%-1\r\n",
        b"$-7\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\xfe\r\n",
        &[b'*'; 300],
        &LONG,
    ];
    for answer in answers {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(20)]);
        match ping(answer).await {
            Err(error) => assert!(error.to_string().len() < 300, "{shown}: {error}"),
            Ok(value) => assert_eq!(value, Value::Nil, "{shown}"),
        }
    }
}

#[tokio::test]
async fn more_than_is_asked_for_is_not_read() {
    let (mut limited, allowance) = Limited::new(&[b'x'; 200][..], 60);
    let mut buffer = [0; 40];
    assert_eq!(limited.read(&mut buffer).await.unwrap(), 40);
    let error = limited.read(&mut buffer).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer is longer than any that was asked for"
    );
    // The next question has an allowance of its own.
    allowance.set(40);
    assert_eq!(limited.read(&mut buffer).await.unwrap(), 40);
    // A simple string without an end: the connection is left.
    static LONG: [u8; 4 << 20] = [b'+'; 4 << 20];
    let mut link = Link::open(server(&LONG).await, None, 0).await.unwrap();
    let error = link.ask(&["PING"], Duration::from_secs(20)).await;
    assert!(matches!(error, Err(Error::Broke(..))), "{error:?}");
}

#[tokio::test]
async fn what_nobody_configures_is_not_dialled() {
    for address in ["169.254.169.254:6379", "0.0.0.0:6379", "[fe80::1]:6379"] {
        let opened = Link::open(address.parse().unwrap(), None, 0).await;
        assert!(matches!(opened, Err(Error::Never(_))), "{address}");
    }
}

#[test]
fn words_of_the_other_side_are_safe_to_show() {
    let said = shown(&format!("\u{1b}[31m{}\r\n", "a".repeat(1000)));
    assert_eq!(said.chars().count(), SHOWN);
    assert!(said.starts_with(" [31maaa"));
}
