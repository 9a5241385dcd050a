//! The agent's own port: whether it answers with our header (design F0), for another process may hold it, or ours may
//! hang; and whether the kernel still keeps it for the privileged (design S7).

use crate::admission::{Check, dialled};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// Between checks while the last one succeeded.
const PAUSE: Duration = Duration::from_secs(5);
/// After a failed one: one alone decides nothing.
const SOON: Duration = Duration::from_secs(1);
/// Which ports are privileged is read this often, for the kernel tells nobody of a change: the agent is out of the files
/// 5 s after one at the latest.
const READ: Duration = Duration::from_secs(2);
/// A check that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(2);
/// What every answer of ours carries, whatever its status.
const HEADER: &str = "x-harbor-pilot-request-id";

/// Whether an agent answers there.
pub async fn answers(address: SocketAddr) -> bool {
    matches!(timeout(LIMIT, ask(dialled(address))).await, Ok(Ok(true)))
}

/// Checks for ever and publishes changes; `None` until it is known. `wanted` says whether anybody needs to know. Another
/// first unprivileged port is published as a change as well: whoever is told reads it.
pub(super) async fn watch(
    address: SocketAddr,
    alive: watch::Sender<Option<bool>>,
    wanted: impl Fn() -> bool,
    first_unprivileged: impl Fn() -> u32,
) {
    let mut failures = 0_u32;
    let mut first = first_unprivileged();
    loop {
        if wanted() {
            failures = if answers(address).await {
                0
            } else {
                failures + 1
            };
            let now = match failures {
                0 => Some(true),
                1 => *alive.borrow(),
                _ => Some(false),
            };
            alive.send_if_modified(|alive| std::mem::replace(alive, now) != now);
        }
        let next = Instant::now() + if failures == 0 { PAUSE } else { SOON };
        while Instant::now() < next {
            sleep_until(next.min(Instant::now() + READ)).await;
            let now = first_unprivileged();
            if std::mem::replace(&mut first, now) != now {
                alive.send_modify(|_| {});
            }
        }
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut check = Check::connect(address).await?;
    let stream = check.stream();
    let request = format!("GET /v2/ HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let head = head.split("\r\n\r\n").next().unwrap_or_default();
    let ours = head.lines().any(|line| line.starts_with(HEADER));
    Ok(head.starts_with("http/1.1 ") && ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers every connection with `text`, or never.
    async fn listener(text: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        crate::lifecycle::spawn_detached("listener", async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Some(text) = text {
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(text.as_bytes()).await;
                } else {
                    held.push(stream);
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn only_our_own_answer_counts() {
        let table = [
            (
                "HTTP/1.1 200 OK\r\nX-Harbor-Pilot-Request-Id: 1\r\ncontent-length: 2\r\n\r\n{}",
                true,
            ),
            (
                "HTTP/1.1 404 Not Found\r\nx-harbor-pilot-request-id: 1\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx-harbor-pilot-request-id: 1",
                false,
            ),
            ("SSH-2.0-x-harbor-pilot-request-id\r\n", false),
            ("", false),
        ];
        for (text, expected) in table {
            let address = listener(Some(text)).await;
            assert_eq!(answers(address).await, expected, "{text}");
        }
        let silent = listener(None).await;
        assert!(!answers(silent).await);
        let nobody = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(!answers(nobody).await);
    }
}
