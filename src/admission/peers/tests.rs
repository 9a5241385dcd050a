//! Who is trusted: a table, and the kernel's word for processes of other users.

use super::*;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use tokio::net::{TcpListener, TcpStream};

#[test]
fn who_is_trusted() {
    let table = [
        // established, uid, inode, our own uid
        (true, 0, 7, 0, true),
        (true, 0, 7, 1000, true),
        (true, 1000, 7, 1000, true),
        (true, 1000, 7, 0, false),
        (true, 65534, 7, 0, false),
        // Closed by its owner: the kernel shows uid 0.
        (true, 0, 0, 0, false),
        (false, 0, 0, 0, false),
        // Half closed, or not open yet.
        (false, 0, 7, 0, false),
    ];
    for (is_established, uid, inode, own, due) in table {
        let socket = PeerSocket {
            is_established,
            uid,
            inode,
        };
        assert_eq!(socket.is_trusted(own), due, "{socket:?} {own}");
    }
}

/// A connection of this process.
async fn pair(at: &str) -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind(at).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let (accepted, peer) = accepted.unwrap();
    (client.unwrap(), accepted, peer)
}

#[tokio::test]
async fn our_own_uid_is_trusted_on_loopback_alone_and_only_while_it_is_there() {
    let peers = Peers::new(Lookup::Kernel);
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let (client, accepted, peer) = pair(at).await;
        let at = accepted.local_addr().unwrap();
        assert_eq!(peers.standing(at, peer, true).await, Standing::Trusted);
        assert_eq!(peers.standing(at, peer, false).await, Standing::Untrusted);
        assert_eq!(peers.other_end(at, peer), OtherEnd::Open);
        let client = client.into_std().unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(peers.other_end(at, peer), OtherEnd::Open);
        assert_eq!(peers.standing(at, peer, true).await, Standing::Untrusted);
        drop(client);
        assert_eq!(peers.other_end(at, peer), OtherEnd::Closed);
        assert_eq!(peers.standing(at, peer, true).await, Standing::Untrusted);
    }
}

#[tokio::test]
async fn without_sock_diag_the_table_is_read_and_not_more_often_than_it_may() {
    let peers = Peers::new(Lookup::Kernel);
    peers.0.kernel.lock().unwrap().retry = Instant::now().checked_add(RETRY);
    let (_client, accepted, peer) = pair("127.0.0.1:0").await;
    let at = accepted.local_addr().unwrap();
    let since = std::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(peers.standing(at, peer, true).await, Standing::Trusted);
    }
    assert!(
        since.elapsed() >= Duration::from_millis(200),
        "three readings"
    );
    let (_client, accepted, peer) = pair("[::1]:0").await;
    let at = accepted.local_addr().unwrap();
    assert_eq!(peers.standing(at, peer, true).await, Standing::Trusted);
    assert_eq!(peers.other_end(at, peer), OtherEnd::Unknown);
    // Many who wait share a reading, and who is too many waits for none.
    let since = std::time::Instant::now();
    let all = (0..2 * WAITING).map(|_| peers.standing(at, peer, true));
    let all = futures_util::future::join_all(all).await;
    let trusted = all.iter().filter(|it| **it == Standing::Trusted).count();
    assert_eq!(trusted, WAITING);
    assert!(since.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_check_is_known_whoever_it_is() {
    let peers = Peers::new(Lookup::Address(|_| false));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let check = checks::Check::connect(at).await.unwrap();
    let (_accepted, peer) = listener.accept().await.unwrap();
    assert_eq!(peers.standing(at, peer, false).await, Standing::Check);
    drop(check);
    assert_eq!(peers.standing(at, peer, false).await, Standing::Untrusted);
}

/// A process of another user that has connected and does as it is told.
fn stranger(script: &str) -> Child {
    let mut command = Command::new("bash");
    command.args(["-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command.spawn().unwrap()
}

/// A client of another uid is not trusted, nor is one that has closed its socket, of which the kernel says uid 0. Where the
/// tests do not run as root the process has our own uid, and only the second can be shown.
#[tokio::test]
async fn a_process_of_another_user_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let peers = Peers::new(Lookup::Kernel);
    let open = format!("exec 3<>/dev/tcp/127.0.0.1/{}", at.port());
    let mut child = stranger(&format!("{open}; read"));
    let (_accepted, peer) = listener.accept().await.unwrap();
    let due = if geteuid().is_root() {
        Standing::Untrusted
    } else {
        Standing::Trusted
    };
    assert_eq!(peers.standing(at, peer, true).await, due);
    assert_eq!(peers.other_end(at, peer), OtherEnd::Open);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(peers.other_end(at, peer), OtherEnd::Closed);
    assert_eq!(peers.standing(at, peer, true).await, Standing::Untrusted);
}
