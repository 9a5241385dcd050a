//! Tests of admin/verdict: one row for each reason, and every surface says the same.

use super::*;
use crate::admin::answer::answer;
use crate::admin::names::Names;
use crate::admin::tests::{Stage, get, stage, text};
use crate::admin::{State, Surface};
use crate::node::NodeFilesStatus;
use crate::topology::Snapshot;
use std::sync::Arc;
use tokio::time::Instant;

/// The tier and the upstreams of the stage as they are to be.
fn change(stage: &Stage, change: impl FnOnce(&mut Snapshot)) {
    stage
        .snapshots
        .send_modify(|shown| change(Arc::make_mut(shown)));
}

fn tier_is(stage: &Stage, ready: bool, refused: Option<&str>) {
    change(stage, |snapshot| {
        let tier = Arc::make_mut(&mut snapshot.sources[0]);
        tier.ready = ready;
        tier.refused = refused.map(Into::into);
    });
}

fn dns_says(stage: &Stage, error: Option<&str>) {
    change(stage, |snapshot| {
        Arc::make_mut(&mut snapshot.sources[0]).dns_error = error.map(Into::into);
    });
}

fn files_are(stage: &Stage, state: FilesState, reason: &str, files: &[&str]) {
    let status = NodeFilesStatus {
        state,
        reason: reason.to_owned(),
        files: files.iter().map(Into::into).collect(),
        ..NodeFilesStatus::default()
    };
    stage.node_files.send_replace(Arc::new(status));
}

type Row = (fn(&Stage), Verdict, u16, &'static [&'static str]);

const TABLE: [Row; 10] = [
    (|_| {}, Verdict::Ready, 200, &[]),
    (
        |stage| {
            stage.listening.send_replace(false);
        },
        Verdict::Down,
        503,
        &["the agent: the registry endpoint does not accept connections yet"],
    ),
    (
        |stage| {
            stage
                .config
                .send_modify(|state| Arc::make_mut(state).rejected = Some("line 3\nline 4".into()));
        },
        Verdict::Degraded,
        200,
        &[
            "/etc/harbor-pilot/config.toml: it was refused, and an older configuration is in force: line 3",
        ],
    ),
    (
        |stage| {
            stage
                .config
                .send_modify(|state| Arc::make_mut(state).from_last_accepted = true);
        },
        Verdict::Degraded,
        200,
        &["/etc/harbor-pilot/config.toml: the agent started with the last accepted configuration"],
    ),
    (
        |stage| tier_is(stage, false, Some("it refused the last 3 requests: 401")),
        Verdict::Degraded,
        200,
        &["tier replica: not ready: it refused the last 3 requests: 401"],
    ),
    (
        |stage| dns_says(stage, Some("SERVFAIL")),
        Verdict::Degraded,
        200,
        &["tier replica: its name has no addresses, and the last known are used: SERVFAIL"],
    ),
    (
        |stage| {
            files_are(stage, FilesState::Degraded, "/c is read-only", &[]);
        },
        Verdict::Degraded,
        200,
        &["node files: degraded: /c is read-only"],
    ),
    (
        |stage| files_are(stage, FilesState::Released, "", &[]),
        Verdict::Degraded,
        200,
        &["node files: released by restore; apply takes them again"],
    ),
    (
        |stage| {
            let why = "there is no tier, and /c/hosts.toml still lead to the agent";
            files_are(stage, FilesState::NotManaged, why, &["/c/hosts.toml"]);
        },
        Verdict::Degraded,
        200,
        &["node files: not managed: there is no tier, and /c/hosts.toml still lead to the agent"],
    ),
    (
        |stage| {
            change(stage, |snapshot| {
                snapshot.sources.truncate(1);
                Arc::make_mut(&mut snapshot.sources[0]).ready = false;
            });
        },
        Verdict::Down,
        503,
        &[
            "no tier is ready, and no registry can be asked directly",
            "tier replica: not ready: 203.0.113.7:443 healthy (<b>connect_timeout</b>: no\u{202e} answer within\u{9b} 2.5 s) (and 1 more)",
        ],
    ),
];

#[tokio::test]
async fn every_surface_gives_the_one_verdict() {
    for (set, verdict, ready, reasons) in TABLE {
        let stage = stage();
        stage.listening.send(true).unwrap();
        dns_says(&stage, None);
        set(&stage);
        let status = Status::new(&stage.view, Names::Shown, Instant::now());
        let said: Vec<String> = status.reasons.iter().map(Reason::to_string).collect();
        assert_eq!(
            (status.verdict, said),
            (
                verdict,
                reasons.iter().map(|one| (*one).to_owned()).collect()
            )
        );
        assert_eq!(judge(&status), (status.verdict, status.reasons.clone()));
        assert_eq!(status.ready, ready == 200, "{verdict:?}");
        let json = text(answer(Surface::Admin, &get("/status"), &stage.view)).await;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["verdict"], verdict.word());
        let page = text(answer(Surface::Admin, &get("/"), &stage.view)).await;
        assert!(page.contains(&format!(">{}</p>", verdict.word())), "{page}");
        let readyz = answer(Surface::Admin, &get("/readyz"), &stage.view);
        assert_eq!(readyz.status().as_u16(), ready);
        assert_eq!(text(readyz).await.lines().next(), Some(verdict.word()));
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_since_the_last_look_is_not_healthy() {
    use std::time::{Duration, SystemTime};
    let stage = stage();
    let mut status = Status::new(&stage.view, Names::Shown, Instant::now());
    let endpoint = &mut status.tiers[0].endpoints[0];
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    endpoint.expire(Some(wall + Duration::from_secs(1)), wall);
    assert_eq!(endpoint.state, State::Healthy);
    endpoint.expire(Some(wall - Duration::from_secs(180)), wall);
    assert_eq!(endpoint.state, State::Expired);
    assert_eq!(
        endpoint.reason.as_deref(),
        Some("its certificate expired 3 min 0 s ago")
    );
}
