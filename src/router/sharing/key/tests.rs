//! The format of keys and values, and bytes of others in their place.

use super::*;
use proptest::prelude::*;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn wanted(repository: &str, reference: Option<&str>, trust: Trust) -> Wanted {
    Wanted {
        repository: repository.parse().unwrap(),
        subject: match reference {
            Some(reference) => Subject::Manifest(reference.parse().unwrap()),
            None => Subject::Tags,
        },
        trust,
    }
}

/// Agents of other versions read these: a change is another number.
#[test]
fn the_format_is_this_one() {
    let keys = Keys::new("hp");
    let (trusted, untrusted) = (Trust::Trusted, Trust::Untrusted);
    let table = [
        (
            wanted("org/app", Some("1.27"), trusted),
            "hp:1:place:trusted:org/app:1.27".to_owned(),
        ),
        (
            wanted("nginx", Some(DIGEST), untrusted),
            format!("hp:1:place:untrusted:nginx:{DIGEST}"),
        ),
        (
            wanted("org/app", None, trusted),
            "hp:1:place:trusted:org/app".to_owned(),
        ),
    ];
    for (wanted, key) in table {
        assert_eq!(keys.place(&wanted), key);
        assert_eq!(keys.wanted(&key), Some(wanted));
    }
    let repository = "org/app".parse().unwrap();
    let registry = "reg.example:5000".parse().unwrap();
    assert_eq!(
        keys.holder(&repository, untrusted, &registry),
        "hp:1:holder:untrusted:org/app:reg.example:5000"
    );
    assert_eq!(keys.all_places(), "hp:1:place:*");
}

#[test]
fn keys_of_others_are_nobodys() {
    let keys = Keys::new("hp");
    for key in [
        "",
        "hp",
        "hp:1:place:",
        "hp:1:place:trusted",
        "hp:1:place:trusted:",
        "hp:1:place:trusted::1",
        "hp:1:place:trusted:org/app:",
        "hp:1:place:trusted:Org/App:1",
        "hp:1:place:trusted:org/../app:1",
        "hp:1:place:trusted:org/app:1\n",
        "hp:1:place:admin:org/app:1",
        "hp:2:place:trusted:org/app:1",
        "xhp:1:place:trusted:org/app:1",
        "hp:1:holder:trusted:org/app:docker.io",
    ] {
        assert_eq!(keys.wanted(key), None, "{key:?}");
    }
}

#[test]
fn a_value_is_a_registry_as_it_is_written_here_or_nothing() {
    let name = |value: &[u8]| registry(value).map(|name| name.to_string());
    assert_eq!(name(b"ghcr.io"), Some("ghcr.io".to_owned()));
    assert_eq!(
        name(b"reg.example:5000"),
        Some("reg.example:5000".to_owned())
    );
    let long = vec![b'a'; LONGEST_VALUE];
    for value in [
        &b""[..],
        b"GHCR.io",
        b"index.docker.io",
        b"ghcr.io ",
        b"ghcr.io\r\n",
        b"ghcr.io/x",
        b"https://ghcr.io",
        b"{\"registry\":\"ghcr.io\"}",
        b"\xff\xfe",
        &long,
    ] {
        assert_eq!(name(value), None, "{value:?}");
    }
    let longest = format!(
        "{}.{}.{}.{}:65535",
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61)
    );
    assert_eq!(name(longest.as_bytes()), Some(longest.clone()));
    assert!(longest.len() <= LONGEST_VALUE);
}

proptest! {
    /// Whatever stands in Redis: nothing but a name that is written the same way comes out, and no key stands for two images.
    #[test]
    fn bytes_of_others_become_names_or_nothing(value in prop::collection::vec(any::<u8>(), 0..300), key in "\\PC{0,60}") {
        if let Some(name) = registry(&value) {
            prop_assert_eq!(name.as_str().as_bytes(), value.as_slice());
        }
        let keys = Keys::new("hp");
        for key in [key.clone(), format!("hp:1:place:trusted:{key}")] {
            if let Some(wanted) = keys.wanted(&key) {
                prop_assert_eq!(keys.place(&wanted), key);
            }
        }
    }
}
