//! What goes wrong around the files: a silent port, commands beside the daemon, directories that are late, full disks.

use super::*;

#[tokio::test]
async fn a_silent_port_takes_the_agent_out() {
    let daemon = Daemon::start(CONFIG).await;
    daemon.names(&["agent", CORE]).await;
    daemon.port.as_ref().unwrap().abort();
    daemon.names(&[CORE]).await;
    daemon
        .until("said", || !daemon.status.borrow().agent_answers)
        .await;
    daemon.end();
}

#[tokio::test]
async fn restore_and_apply_by_commands_are_noticed() {
    let daemon = Daemon::start(CONFIG).await;
    daemon.names(&["agent", CORE]).await;
    let store = Store::new(&daemon.root.path().join("state"));
    files::release(&store, PATIENCE).unwrap();
    assert!(!daemon.hosts().exists());
    let status = daemon.status.clone();
    daemon
        .until("released", || status.borrow().state == FilesState::Released)
        .await;
    sleep(Duration::from_millis(200)).await;
    assert!(!daemon.hosts().exists());
    {
        let _lock = store.lock(PATIENCE).unwrap();
        let mut ledger = store.load().unwrap();
        ledger.released = false;
        store.save(&ledger).unwrap();
    }
    daemon.names(&["agent", CORE]).await;
    daemon.end();
}

#[tokio::test]
async fn directories_that_appear_later_are_filled() {
    let root = tempdir().unwrap();
    let daemon = Daemon::start_in(root, CONFIG).await;
    let status = daemon.status.clone();
    daemon
        .until("waiting", || status.borrow().state == FilesState::Waiting)
        .await;
    fs::create_dir_all(daemon.root.path().join(CERTS_D)).unwrap();
    daemon.names(&["agent", CORE]).await;
    daemon.end();
}

#[tokio::test]
async fn trouble_is_said_once_and_mended_later() {
    let daemon = Daemon::start(CONFIG).await;
    daemon.names(&["agent", CORE]).await;
    fs::write(daemon.hosts(), "server = \n").unwrap();
    daemon
        .until("said", || daemon.count(EventName::HostsWriteFailed) == 1)
        .await;
    for statuses in [&[EJECTED][..], &[EndpointStatus::Healthy]] {
        daemon.publish(statuses);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(daemon.count(EventName::HostsWriteFailed), 1);
    assert_eq!(daemon.status.borrow().state, FilesState::Degraded);
    fs::write(
        daemon.hosts(),
        "server = \"https://registry-1.docker.io\"\n[host]\n",
    )
    .unwrap();
    daemon.names(&["agent", CORE]).await;
    daemon
        .until("current", || {
            daemon.status.borrow().state == FilesState::Current
        })
        .await;
    daemon.end();
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
