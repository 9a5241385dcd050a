//! The listeners: requests over TCP, and who makes way.

use super::*;

/// Sends bytes, returns everything until the end.
async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// Right after the start all of them mean the same: none answers before the node's files have been looked at.
#[tokio::test]
async fn every_verdict_comes_after_the_first_look() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut stage = stage();
    let (files, shown) = watch::channel(Arc::default());
    stage.view.node_files = shown;
    stage.listening.send(true).unwrap();
    let tasks = crate::lifecycle::Tasks::default();
    let peers = Peers::new(Lookup::Address(|_| false));
    let view = stage.view.clone();
    tasks.spawn("admin", serve(listener, Surface::Admin, view, peers));
    let look = async {
        sleep(Duration::from_millis(200)).await;
        files.send_replace(Arc::new(NodeFilesStatus {
            state: FilesState::Degraded,
            reason: "hosts.toml is not writable".to_owned(),
            ..NodeFilesStatus::default()
        }));
    };
    let asked = ["/", "/status", "/readyz"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    let [page, status, ready] = asked.each_ref().map(|asked| exchange(address, asked));
    let (page, status, ready, ()) = tokio::join!(page, status, ready, look);
    for answer in [page, status, ready] {
        assert!(answer.contains("degraded"), "{answer}");
        assert!(answer.contains("hosts.toml is not writable"), "{answer}");
    }
    tasks.stop();
}

#[tokio::test]
async fn it_serves_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stage = stage();
    let tasks = crate::lifecycle::Tasks::default();
    let peers = Peers::new(Lookup::Address(|_| false));
    let view = stage.view.clone();
    tasks.spawn("admin", serve(listener, Surface::Admin, view, peers));

    let answer = exchange(address, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nalive\n"), "{answer}");
    let answer = exchange(
        address,
        "GET /status HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let answer = exchange(
        address,
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("allow: GET\r\n"), "{answer}");
    let long = "x".repeat(2 * endpoint::HEAD_BYTES);
    let answer = exchange(
        address,
        &format!("GET /livez HTTP/1.1\r\nhost: localhost\r\na: {long}\r\n\r\n"),
    )
    .await;
    assert!(!answer.contains("200 OK"), "{answer}");

    tasks.stop();
}

/// The other end has closed it, within so many milliseconds.
async fn is_ended(stream: &mut TcpStream, millis: u64) -> bool {
    let end = timeout(Duration::from_millis(millis), stream.read_u8()).await;
    end.is_ok()
}

#[tokio::test]
async fn who_asks_nothing_makes_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stage = stage();
    let tasks = crate::lifecycle::Tasks::default();
    let peers = Peers::new(Lookup::Address(|_| false));
    let view = stage.view.clone();
    tasks.spawn("admin", serve(listener, Surface::Admin, view, peers));

    // Two connections for each place: each time the oldest of those that have not asked makes way.
    let mut silent: Vec<TcpStream> = Vec::new();
    for at in 0..2 * CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
        if let Some(oldest) = at.checked_sub(CONNECTIONS) {
            assert!(is_ended(&mut silent[oldest], 1_000).await, "{oldest}");
        }
    }
    let request = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut asks = TcpStream::connect(address).await.unwrap();
    asks.write_all(request.as_bytes()).await.unwrap();
    // It asks no more, and waits for its answer.
    asks.shutdown().await.unwrap();
    let mut answer = String::new();
    asks.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nalive\n"), "{answer}");
    assert!(is_ended(&mut silent[CONNECTIONS], 1_000).await);
    assert!(!is_ended(&mut silent[CONNECTIONS + 1], 100).await);
    tasks.stop();
}
