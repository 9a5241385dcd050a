//! The commands of each order, and what answers of any kind mean.

use super::*;

fn keys() -> Keys {
    Keys::new("hp")
}

fn wanted(trust: Trust) -> Wanted {
    Wanted {
        repository: "org/app".parse().unwrap(),
        subject: crate::router::mappings::Subject::Manifest("1".parse().unwrap()),
        trust,
    }
}

fn name(text: &str) -> RegistryName {
    text.parse().unwrap()
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

/// As a server says it.
fn error(code: &str) -> Value {
    let line = format!("-{code} of the server\r\n");
    redis::parse_redis_value(line.as_bytes()).unwrap()
}

/// The commands, as words.
fn commands(order: &Order) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let count = order.add_to(&mut pipeline, &keys());
    let packed = String::from_utf8(pipeline.get_packed_pipeline()).unwrap();
    let mut commands = Vec::new();
    for line in packed.split("\r\n") {
        match line.as_bytes().first() {
            Some(b'*') => commands.push(Vec::new()),
            Some(b'$') => {}
            _ => commands.last_mut().unwrap().push(line.to_owned()),
        }
    }
    assert_eq!(commands.len(), count);
    let words = commands.iter().map(|words| words.join(" "));
    words.map(|words| words.trim().to_owned()).collect()
}

fn place(trust: Trust) -> (Order, oneshot::Receiver<Option<RegistryName>>) {
    let (reply, answer) = oneshot::channel();
    let wanted = wanted(trust);
    (Order::Place { wanted, reply }, answer)
}

#[test]
fn untrusted_clients_see_what_trusted_ones_know_and_never_the_other_way_round() {
    let of = |trust| commands(&place(trust).0);
    let own = "GETRANGE hp:1:place:untrusted:org/app:1 0 260";
    let trusted = "GETRANGE hp:1:place:trusted:org/app:1 0 260";
    assert_eq!(of(Trust::Trusted), [trusted]);
    assert_eq!(of(Trust::Untrusted), [own, trusted]);
    let (reply, _answer) = oneshot::channel();
    let holders = Order::Holders {
        repository: "org/app".parse().unwrap(),
        trust: Trust::Untrusted,
        among: vec![name("docker.io"), name("ghcr.io")],
        reply,
    };
    assert_eq!(
        commands(&holders),
        [
            "EXISTS hp:1:holder:untrusted:org/app:docker.io",
            "EXISTS hp:1:holder:untrusted:org/app:ghcr.io",
            "EXISTS hp:1:holder:trusted:org/app:docker.io",
            "EXISTS hp:1:holder:trusted:org/app:ghcr.io",
        ]
    );
}

#[test]
fn the_first_to_write_stays_but_for_an_image_that_moved() {
    let found = |moved| {
        commands(&Order::Found {
            wanted: wanted(Trust::Trusted),
            registry: name("ghcr.io"),
            moved,
        })
    };
    let holder = "SET hp:1:holder:trusted:org/app:ghcr.io  EX 2592000";
    assert_eq!(
        found(false),
        [
            "SET hp:1:place:trusted:org/app:1 ghcr.io EX 2592000 NX",
            "EXPIRE hp:1:place:trusted:org/app:1 2592000",
            holder,
        ]
    );
    assert_eq!(
        found(true),
        [
            "SET hp:1:place:trusted:org/app:1 ghcr.io EX 2592000",
            holder
        ]
    );
    let gone = Order::Gone(wanted(Trust::Untrusted));
    assert_eq!(commands(&gone), ["DEL hp:1:place:untrusted:org/app:1"]);
}

#[test]
fn a_place_is_a_name_or_nothing() {
    let told = |trust, values: &[Value]| {
        let (order, mut answer) = place(trust);
        let result = order.answered(values, &keys());
        (
            answer.try_recv().unwrap().map(|name| name.to_string()),
            result,
        )
    };
    let ghcr = Some("ghcr.io".to_owned());
    let trusted = |value| told(Trust::Trusted, &[value]);
    assert_eq!(trusted(bulk("ghcr.io")), (ghcr.clone(), Ok(())));
    assert_eq!(trusted(bulk("")), (None, Ok(())));
    let wrong = |value| {
        let (found, wrong) = trusted(value);
        let wrong = wrong.unwrap_err();
        assert_eq!(found, None);
        assert!(wrong.key.starts_with("hp:1:place:trusted:org/app:1"));
        (wrong.to_string(), wrong.is_unfit)
    };
    let text = |what: &str, is_unfit| (what.to_owned(), is_unfit);
    let other = wrong(bulk("\u{1b}[31mghcr.io"));
    assert_eq!(other, text("a value that names no registry", false));
    assert_eq!(wrong(error("WRONGTYPE")), text("WRONGTYPE", false));
    assert_eq!(wrong(error("READONLY")), text("READONLY", true));
    assert_eq!(
        wrong(Value::Int(7)),
        text("an answer of another type", false)
    );
    assert_eq!(told(Trust::Trusted, &[]), (None, Ok(())));
    // Its own first; what is wrong of one hides nothing of the other.
    let of = |own, trusted| told(Trust::Untrusted, &[own, trusted]);
    assert_eq!(of(bulk("ghcr.io"), bulk("quay.io")), (ghcr.clone(), Ok(())));
    assert_eq!(of(bulk(""), bulk("ghcr.io")), (ghcr.clone(), Ok(())));
    let (found, wrong) = of(bulk("a b"), bulk("ghcr.io"));
    assert!(wrong.is_err());
    assert_eq!(found, ghcr);
}

#[test]
fn holders_are_among_those_that_were_asked_for() {
    let told = |values: &[Value]| {
        let (reply, mut answer) = oneshot::channel();
        let order = Order::Holders {
            repository: "org/app".parse().unwrap(),
            trust: Trust::Untrusted,
            among: vec![name("docker.io"), name("ghcr.io")],
            reply,
        };
        let result = order.answered(values, &keys());
        let found: Vec<String> = answer
            .try_recv()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        (found, result.is_ok())
    };
    let [no, yes] = [0, 1].map(Value::Int);
    let both = vec!["ghcr.io".to_owned(), "docker.io".to_owned()];
    let all = [no.clone(), yes.clone(), yes.clone(), yes.clone()];
    assert_eq!(told(&all), (both, true));
    assert_eq!(
        told(&[no.clone(), no.clone(), no.clone(), no.clone()]),
        (vec![], true)
    );
    let (found, is_good) = told(&[bulk("evil.example"), yes.clone(), no.clone(), no]);
    assert_eq!((found, is_good), (vec!["ghcr.io".to_owned()], false));
    // More than was asked for.
    let many = vec![yes; 9];
    assert_eq!(told(&many).0.len(), 2);
}

#[test]
fn who_waits_no_more_is_not_asked_for() {
    let (order, answer) = place(Trust::Trusted);
    assert!(order.is_wanted());
    drop(answer);
    assert!(!order.is_wanted());
    assert!(Order::Gone(wanted(Trust::Trusted)).is_wanted());
}

#[test]
fn a_refused_write_is_told() {
    let written = |values: &[Value]| {
        let order = Order::Found {
            wanted: wanted(Trust::Trusted),
            registry: name("ghcr.io"),
            moved: false,
        };
        order.answered(values, &keys())
    };
    // NX: somebody else was first.
    assert_eq!(written(&[Value::Nil, Value::Int(1), Value::Okay]), Ok(()));
    let is_unfit = |code| {
        let values = [error(code), Value::Int(0), Value::Okay];
        written(&values).unwrap_err().is_unfit
    };
    assert!(!is_unfit("OOM"));
    assert!(is_unfit("READONLY"));
}

#[test]
fn a_listing_is_carried_as_it_is_up_to_its_limit() {
    let heard = |length: usize| {
        let text = vec![b'x'; length];
        let account = "robot@https://h.example".to_owned();
        Order::Listing(SharedListing::Heard { account, text })
    };
    assert_eq!(
        commands(&heard(3)),
        ["SET hp:1:projects:robot@https://h.example xxx EX 604800"]
    );
    assert!(heard(LONGEST_LISTING - 1).is_wanted());
    assert!(!heard(LONGEST_LISTING).is_wanted());
    let read = |value: Value| {
        let (reply, mut answer) = oneshot::channel();
        let account = "@https://h.example".to_owned();
        let order = Order::Listing(SharedListing::Wanted { account, reply });
        assert_eq!(
            commands(&order),
            ["GETRANGE hp:1:projects:@https://h.example 0 262144"]
        );
        let result = order.answered(&[value], &keys());
        (answer.try_recv().unwrap(), result.is_ok())
    };
    assert_eq!(read(bulk("{}")), (Some(b"{}".to_vec()), true));
    assert_eq!(read(bulk("")), (None, true));
    assert_eq!(read(bulk(&"x".repeat(LONGEST_LISTING + 1))), (None, false));
    assert_eq!(read(error("WRONGTYPE")), (None, false));
}
