//! Tests of names.

use super::*;
use crate::admin::answer::answer;
use crate::admin::tests::{get, stage, text};
use crate::admin::{Surface, status::Status};
use crate::telemetry::{EventName, StateChange};
use http::StatusCode;
use tokio::sync::watch;

const TOKEN: &str = "0123456789abcdef";

fn request(trust: Option<Trust>, authorization: Option<&str>) -> Request<()> {
    let mut request = get("/status");
    if let Some(trust) = trust {
        request.extensions_mut().insert(trust);
    }
    if let Some(authorization) = authorization {
        let value = authorization.parse().unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    request
}

#[test]
fn who_sees_names() {
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let (good, bad) = (
        basic("anybody:0123456789abcdef"),
        basic("anybody:0123456789abcdeF"),
    );
    let table = [
        (Some(Trust::Trusted), None, true),
        (Some(Trust::Untrusted), None, false),
        (None, None, false),
        (None, Some("Bearer 0123456789abcdef"), true),
        (None, Some("bearer 0123456789abcdef"), true),
        (None, Some("Bearer 0123456789abcdeF"), false),
        (None, Some("Bearer 0123456789abcde"), false),
        (None, Some("Bearer "), false),
        (None, Some("0123456789abcdef"), false),
        (None, Some(good.as_str()), true),
        (None, Some(bad.as_str()), false),
        // Without a user there is no password.
        (None, Some("Basic MDEyMzQ1Njc4OWFiY2RlZg=="), false),
        (None, Some("Basic !"), false),
    ];
    let token = Secret::new(TOKEN);
    for (trust, authorization, due) in table {
        let due = if due { Names::Shown } else { Names::Hidden };
        let request = request(trust, authorization);
        assert_eq!(
            Names::for_request(&request, Some(&token)),
            due,
            "{authorization:?}"
        );
    }
    let request = request(None, Some("Bearer 0123456789abcdef"));
    assert_eq!(
        Names::for_request(&request, None),
        Names::Hidden,
        "there is none"
    );
}

#[tokio::test]
async fn a_stranger_is_shown_no_name() {
    let mut stage = stage();
    stage.view.token = watch::channel(Some(Secret::new(TOKEN))).1;
    for event in EventName::ALL {
        stage.view.journal.event(StateChange {
            event: *event,
            tier: None,
            endpoint: None,
            reason: String::new(),
            message: match event.names_an_image() {
                true => "secret/app:1 is somewhere".to_owned(),
                false => "something".to_owned(),
            },
        });
    }
    for (authorization, sees) in [(None, false), (Some("Bearer 0123456789abcdef"), true)] {
        let request = request(Some(Trust::Untrusted), authorization);
        let response = answer(Surface::Admin, &request, &stage.view);
        assert_eq!(response.status(), StatusCode::OK);
        let document = text(response).await;
        assert_eq!(document.contains("secret/app"), sees, "{document}");
        let status: Status = serde_json::from_str(&document).unwrap();
        assert_eq!(status.names_hidden, !sees);
        // The event itself is no secret.
        let mut changes = status.changes.iter();
        let change = changes.find(|one| one.event == "stale_served").unwrap();
        assert_eq!(change.message.contains("secret/app"), sees);
    }
}
