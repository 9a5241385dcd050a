//! What other agents heard of a Harbor that says nothing here.

use super::*;

/// The text that an agent which heard the Harbor tells, and whose it is.
async fn heard() -> (String, Vec<u8>) {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    asker.says(&["q"]);
    let mut first = start(&asker, &home, 1);
    match first.others.recv().await {
        Some(SharedListing::Heard { account, text }) => (account, text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_agent_heard_counts_where_harbor_has_said_nothing() {
    let (account, text) = heard().await;
    assert_eq!(account, "@https://core.example.com");
    let elsewhere = String::from_utf8(text.clone()).unwrap();
    let elsewhere = elsewhere.replace("core.example.com", "other.example.com");
    let found = [("quay.io".to_owned(), "q".to_owned())];
    for (answer, due) in [
        (Some(text), &found[..]),
        (Some(elsewhere.into_bytes()), &[]),
        (Some(b"{\"url\":".to_vec()), &[]),
        (None, &[]),
    ] {
        let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
        let mut stage = start(&asker, &home, 1);
        let Some(SharedListing::Wanted { account, reply }) = stage.others.recv().await else {
            panic!("asks");
        };
        assert_eq!(account, "@https://core.example.com");
        reply.send(answer).unwrap();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(stage.found(), due);
        // Harbor's own word is taken as soon as it comes.
        asker.says(&["r"]);
        sleep(minutes(2)).await;
        assert_eq!(stage.found(), [("quay.io".to_owned(), "r".to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_who_answers_late_holds_discovery_up() {
    let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
    let mut stage = start(&asker, &home, 1);
    let asked = stage.others.recv().await;
    asker.says(&["q"]);
    sleep(minutes(1)).await;
    assert_eq!(stage.found(), [("quay.io".to_owned(), "q".to_owned())]);
    drop(asked);
}

/// Another agent's listing may be written by whoever can write to Redis; a Harbor that answers is not silent.
#[tokio::test(start_paused = true)]
async fn what_another_agent_heard_counts_for_no_harbor_that_answers() {
    let status = |status| Error::Status {
        what: "its projects",
        status,
    };
    let forbidden = Error::Forbidden {
        what: "its projects",
        permission: "Project: list",
    };
    let source = serde_json::from_str::<u8>("<html>").unwrap_err();
    let unreadable = Error::Unreadable {
        what: "its projects",
        source,
    };
    let broken = |failure| {
        Error::Unreachable(crate::upstream::Error {
            failure,
            doing: String::new(),
            source: "".into(),
            stale_connection: false,
        })
    };
    for (error, is_silent) in [
        (Error::Unauthorized("its projects"), false),
        (forbidden, false),
        (status(StatusCode::UNPROCESSABLE_ENTITY), false),
        (status(StatusCode::TOO_MANY_REQUESTS), false),
        (status(StatusCode::FOUND), false),
        (unreadable, false),
        (Error::TooMany("its projects"), false),
        (broken(Failure::Tls), false),
        (broken(Failure::Content), false),
        (status(StatusCode::BAD_GATEWAY), true),
        (Error::Silent("its projects"), true),
        (broken(Failure::Refused), true),
        (broken(Failure::ConnectTimeout), true),
        (broken(Failure::Reset), true),
    ] {
        let what = format!("{error:?}");
        let (asker, home) = (Scripted::default(), TempDir::new().unwrap());
        *asker.refusal.lock().unwrap() = Some(error);
        let mut stage = start(&asker, &home, 1);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(asker.times(), 1);
        assert_eq!(stage.others.try_recv().is_ok(), is_silent, "{what}");
    }
}
