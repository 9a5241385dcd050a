//! When accounts are looked at, and what is said of them: in paused time.

use super::*;
use crate::config::Config;
use crate::projects::ask::Error;
use crate::projects::listing::{self, Robot};
use crate::topology::{EndpointId, SourceState, Sources};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn an_account_is_said_to_expire_two_weeks_before() {
    let now = UNIX_EPOCH + 20_000 * DAY;
    let account = |expires_at, is_disabled| RobotAccount {
        expires_at,
        is_disabled,
    };
    let table = [
        (account(None, false), None),
        (account(Some(now + 15 * DAY), false), None),
        (
            account(Some(now + 13 * DAY + DAY / 2), false),
            Some("expires in 13 days"),
        ),
        (account(Some(now + DAY), false), Some("expires in 1 day")),
        (
            account(Some(now + Duration::from_secs(7200)), false),
            Some("expires in 2 h 0 min"),
        ),
        (
            account(Some(now - 3 * DAY), false),
            Some("expired 3 days ago"),
        ),
        (account(None, true), Some("is disabled")),
    ];
    for (account, due) in table {
        assert_eq!(account.trouble(now).as_deref(), due, "{account:?}");
    }
}

#[test]
fn robots_are_read_as_harbor_lists_them() {
    let body = br#"[{"id": 7, "name": "robot$node", "level": "system", "duration": 30, "expires_at": 1795000000, "disable": false, "editable": true},
        {"id": 8, "name": "robot$ever", "expires_at": -1}]"#;
    let page = listing::all::<Robot>(body).unwrap();
    let read: Vec<_> = page
        .entries
        .iter()
        .map(|one| (one.name.as_str(), one.expires_at))
        .collect();
    assert_eq!(read, [("robot$node", 1_795_000_000), ("robot$ever", -1)]);
}

struct Scripted {
    robot: Mutex<Option<Robot>>,
    fails: usize,
    asked: AtomicUsize,
}

impl LookAtRobot for Arc<Scripted> {
    async fn robot(&self, _: &Arc<Source>, _: &[EndpointId]) -> Result<Option<Robot>, Error> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        if number < self.fails {
            return Err(Error::NoAddress);
        }
        Ok(self.robot.lock().unwrap().clone())
    }
}

#[tokio::test(start_paused = true)]
async fn accounts_are_looked_at_twice_a_day_and_after_a_failure_sooner() {
    let config = Config::from_toml(
        "[[tier]]\nname = \"core\"\nurl = \"https://core.example.com\"\nproject = \"p-{registry}\"\n\
         [[tier]]\nname = \"mirror\"\nkind = \"mirror\"\nregistries = [\"*\"]\nurl = \"https://mirror.example.com\"\n",
    );
    let mut config = config.unwrap();
    let credential = crate::config::Credential {
        username: "robot$node".to_owned(),
        password: crate::config::Secret::new("secret"),
    };
    for tier in &mut config.tiers {
        Arc::make_mut(tier).credential = Some(credential.clone());
    }
    let states = Sources::from_config(&config, 1)
        .tiers
        .into_iter()
        .map(|source| {
            Arc::new(SourceState {
                source,
                endpoints: Vec::new(),
                ready: true,
                dns_stale: false,
                dns_error: None,
                refused: None,
            })
        });
    let snapshot = Snapshot {
        generation: 1,
        sources: states.collect(),
    };
    let (_snapshot_in, snapshot) = watch::channel(Arc::new(snapshot));
    let (accounts, published) = watch::channel(Arc::default());
    let (journal, captured) = Journal::capturing();
    let robot = Robot {
        name: "robot$node".to_owned(),
        expires_at: 1,
        disable: false,
    };
    let asker = Arc::new(Scripted {
        robot: Mutex::new(Some(robot)),
        fails: 2,
        asked: AtomicUsize::new(0),
    });
    let looks = Looks {
        asker: asker.clone(),
        snapshot,
        accounts,
        journal,
        random: Random::from_seed(5),
    };
    crate::lifecycle::spawn_detached("robot accounts", looks.run());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(
        asker.asked.load(Ordering::SeqCst),
        3,
        "two failures, and the mirror is no Harbor"
    );
    assert!(published.borrow().contains_key("core"));
    tokio::time::sleep(10 * DAY).await;
    let asked = asker.asked.load(Ordering::SeqCst) - 3;
    assert!((15..=28).contains(&asked), "{asked}");
    let events = captured.events();
    let events: Vec<_> = events
        .iter()
        .filter(|one| one.event == EventName::CredentialExpiring)
        .collect();
    assert_eq!(events.len(), asked + 1);
    assert!(
        events[0].reason.starts_with("expired "),
        "{}",
        events[0].reason
    );
    // It may not read itself any more.
    *asker.robot.lock().unwrap() = None;
    tokio::time::sleep(2 * DAY).await;
    assert!(published.borrow().is_empty());
}
