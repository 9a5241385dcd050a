//! Tests of lifecycle/systemd.

use super::*;

fn received(socket: &UnixDatagram) -> String {
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn systemd_hears_what_sd_notify_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let notifier = Notifier::new(Some(path.into()), Some(Duration::from_secs(10)));
    notifier.ready("serving on 127.0.0.1:290");
    assert_eq!(
        received(&socket),
        "READY=1\nSTATUS=serving on 127.0.0.1:290\n"
    );
    notifier.reloading();
    let text = received(&socket);
    let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(time.trim_end().parse::<u64>().unwrap() > 0);
    notifier.status("fine\nWATCHDOG=trigger");
    assert_eq!(received(&socket), "STATUS=fine\n");
    notifier.alive();
    assert_eq!(received(&socket), "WATCHDOG=1\n");
    notifier.stopping();
    assert_eq!(received(&socket), "STOPPING=1\n");
    assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(5)));
}

#[test]
fn abstract_sockets_are_reached() {
    let name = format!("harbor-pilot-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    Notifier::new(Some(format!("@{name}").into()), None).alive();
    assert_eq!(received(&socket), "WATCHDOG=1\n");
}

#[test]
fn without_systemd_nothing_happens() {
    Notifier::default().ready("");
    let empty = Notifier::new(Some(OsString::new()), None);
    empty.try_send(&[NotifyState::Ready], &[]).unwrap();
    let nowhere = Notifier::new(Some("/nonexistent/notify".into()), None);
    nowhere.try_send(&[NotifyState::Ready], &[]).unwrap_err();
    nowhere.alive();
}
