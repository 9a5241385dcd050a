//! What the running agent itself answers, asked as containerd asks it. Where no source has the manifest it may have kept a copy for
//! an outage, and only it knows what was denied since.

use super::image::Image;
use crate::config::Secret;
use crate::node::desired::KEY_HEADER;
use crate::oci::ACCEPT_MANIFESTS;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// It asks all sources before it answers with a copy, which takes 20 s at most.
const LIMIT: Duration = Duration::from_secs(22);
/// More than any head of the agent's.
const HEAD_BYTES: u64 = 16 * 1024;

/// The age in seconds of the copy with which the agent answers; `None`: it does not, or not with a copy.
pub(super) async fn stale_seconds(
    agent: SocketAddr,
    key: Option<&Secret>,
    image: &Image,
) -> Option<u64> {
    let asked = timeout(LIMIT, head(agent, key, image)).await;
    age(&asked.ok()?.ok()?)
}

async fn head(agent: SocketAddr, key: Option<&Secret>, image: &Image) -> io::Result<String> {
    let key = key.map(|key| format!("{KEY_HEADER}: {}\r\n", key.reveal()));
    let request = format!(
        "HEAD {} HTTP/1.1\r\nhost: {agent}\r\naccept: {ACCEPT_MANIFESTS}\r\nuser-agent: harbor-pilot-explain\r\n{}connection: close\r\n\r\n",
        image.request(),
        key.unwrap_or_default(),
    );
    let mut stream = TcpStream::connect(agent).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    stream.take(HEAD_BYTES).read_to_end(&mut head).await?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn age(head: &str) -> Option<u64> {
    let mut lines = head.split("\r\n");
    let is_good = lines.next()?.starts_with("HTTP/1.1 200 ");
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let (_, age) = fields.find(|(name, _)| name.eq_ignore_ascii_case("x-harbor-pilot-stale"))?;
    age.trim().parse().ok().filter(|_| is_good)
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn only_a_good_answer_from_disk_has_an_age() {
        let table = [
            (
                "HTTP/1.1 200 OK\r\nX-Harbor-Pilot-Stale: 90\r\n\r\n",
                Some(90),
            ),
            ("HTTP/1.1 200 OK\r\nx: y\r\n\r\n", None),
            ("HTTP/1.1 503 x\r\nx-harbor-pilot-stale: 90\r\n\r\n", None),
            (
                "HTTP/1.1 200 OK\r\nx-harbor-pilot-stale: soon\r\n\r\n",
                None,
            ),
            ("", None),
        ];
        for (head, due) in table {
            assert_eq!(age(head), due, "{head}");
        }
    }
}
