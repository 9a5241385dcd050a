//! What could make the task write for ever: a file that cannot be written, and a second agent on the same files.

use super::*;
use std::os::unix::fs::MetadataExt as _;

/// How often the ledger was replaced, and how often anything below the node was, while the test looks.
async fn replaced(daemon: &Daemon, time: Duration) -> usize {
    let ledger = daemon.root.path().join("state/ledger.json");
    let number = || fs::metadata(&ledger).map_or(0, |metadata| metadata.ino());
    let (mut last, mut times) = (number(), 0);
    let start = Instant::now();
    while start.elapsed() < time {
        sleep(Duration::from_millis(2)).await;
        if number() != last {
            (last, times) = (number(), times + 1);
        }
    }
    times
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_tried_rarely_and_said_once() {
    let root = tempdir().unwrap();
    fs::create_dir_all(root.path().join(CERTS_D)).unwrap();
    // The place of the temporary file is taken, which fails for root as well.
    let directory = root.path().join(CERTS_D).join("docker.io");
    fs::create_dir_all(directory.join(".hosts.toml.harbor-pilot-new/x")).unwrap();
    let daemon = Daemon::start_in(root, CONFIG).await;
    daemon
        .until("a failure", || {
            daemon.count(EventName::HostsWriteFailed) == 1
        })
        .await;
    let times = replaced(&daemon, Duration::from_secs(4)).await;
    // On the way: the tries after 1 and 3 s change nothing in the ledger.
    assert!(times <= 1, "{times} writes of the ledger in 4 s");
    assert_eq!(daemon.count(EventName::HostsWriteFailed), 1);
    let status = daemon.status.borrow().clone();
    assert_eq!(status.state, FilesState::Degraded, "{status:?}");
    assert_eq!(status.troubles.len(), 1, "{status:?}");
    // The others were written, and what can be written again is.
    assert!(daemon.root.path().join(CERTS_D).join("ghcr.io").exists());
    fs::remove_dir_all(directory.join(".hosts.toml.harbor-pilot-new")).unwrap();
    daemon.names(&["agent", CORE]).await;
    daemon.end();
}

#[tokio::test]
async fn the_second_of_two_agents_stands_back_until_the_first_has_ended() {
    let first = Daemon::start(CONFIG).await;
    first.names(&["agent", CORE]).await;
    let second = first.start_beside(CONFIG).await;
    second
        .until("second", || second.count(EventName::SecondAgent) == 1)
        .await;
    first.said(1).await;
    for statuses in [&[EJECTED][..], &[EndpointStatus::Healthy]] {
        second.publish(statuses);
        sleep(Duration::from_millis(500)).await;
    }
    first.said(1).await;
    assert_eq!(second.count(EventName::HostsRewritten), 0);
    assert_eq!(second.count(EventName::SecondAgent), 1);
    let status = second.status.borrow().clone();
    assert_eq!(status.state, FilesState::Degraded, "{status:?}");
    assert!(status.reason.contains("another harbor-pilot"), "{status:?}");
    // Two states on one node: what the first wrote, the second takes over.
    let node = first.end();
    sleep(Duration::from_millis(100)).await;
    let hosts = node.path().join(CERTS_D).join("docker.io/hosts.toml");
    let before = fs::read_to_string(&hosts).unwrap();
    second.publish(&[EJECTED]);
    second
        .until("taken over", || {
            fs::read_to_string(&hosts).unwrap() != before
        })
        .await;
    second.end();
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_said() {
    let root = tempdir().unwrap();
    fs::create_dir_all(root.path().join(CERTS_D)).unwrap();
    fs::write(root.path().join("state"), "in the way").unwrap();
    let daemon = Daemon::start_in(root, CONFIG).await;
    daemon
        .until("said", || daemon.count(EventName::HostsWriteFailed) == 1)
        .await;
    assert!(!daemon.hosts().exists());
    fs::remove_file(daemon.root.path().join("state")).unwrap();
    daemon.names(&["agent", CORE]).await;
    daemon.end();
}

/// For how long this test's thread, where the task runs, has had a processor.
fn busy() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_file_whose_time_has_come_is_not_tried_without_a_pause() {
    let root = tempdir().unwrap();
    let directory = root.path().join(CERTS_D).join("docker.io");
    fs::create_dir_all(directory.join(".hosts.toml.harbor-pilot-new/x")).unwrap();
    let daemon = Daemon::start_in(root, CONFIG).await;
    daemon
        .until("a failure", || {
            daemon.count(EventName::HostsWriteFailed) == 1
        })
        .await;
    // Nothing can be tried: first the ledger cannot be read, then nobody keeps the files.
    fs::write(daemon.root.path().join("state/ledger.json"), "{").unwrap();
    is_at_rest(&daemon, FilesState::Degraded).await;
    let config = config(&CONFIG.replace("manage = true", "manage = false"));
    daemon.config.send_replace(config);
    is_at_rest(&daemon, FilesState::NotManaged).await;
    daemon.end();
}

/// Without a pause it takes 0.8 of these 2 s.
async fn is_at_rest(daemon: &Daemon, state: FilesState) {
    // By then the first try is due.
    sleep(Duration::from_millis(1500)).await;
    let before = busy();
    sleep(Duration::from_secs(2)).await;
    let spent = busy().saturating_sub(before);
    assert_eq!(daemon.status.borrow().state, state);
    assert!(spent < Duration::from_millis(200), "{spent:?} of 2 s");
}
