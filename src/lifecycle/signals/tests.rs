//! Tests of lifecycle/signals.

use super::*;

#[tokio::test]
async fn the_second_stop_is_at_once() {
    let (sender, mut signals) = Signals::by_hand();
    for (raw, signal) in [
        (RawSignal::Hangup, Signal::Reload),
        (RawSignal::Interrupt, Signal::Stop),
        (RawSignal::Hangup, Signal::Reload),
        (RawSignal::Terminate, Signal::StopNow),
        (RawSignal::Terminate, Signal::StopNow),
    ] {
        sender.send(raw).await.unwrap();
        assert_eq!(signals.next().await, signal, "{raw:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_sender_no_signal_comes() {
    let (sender, mut signals) = Signals::by_hand();
    drop(sender);
    let hour = std::time::Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, signals.next()).await.is_err());
}

#[tokio::test]
async fn the_process_signals_can_be_taken_over() {
    let mut signals = Signals::from_process().unwrap();
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::HUP).unwrap();
    assert_eq!(signals.next().await, Signal::Reload);
}
