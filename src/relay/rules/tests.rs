//! The rule book, a row a test case: status and head on the left, meaning on the right.

mod asked;
mod labels;

use super::*;

const MANIFEST: Asked = Asked::Document;
const BLOB: Asked = Asked::Blob {
    range: None,
    size: Some(100),
    empty: false,
};
const UNKNOWN_BLOB: Asked = Asked::Blob {
    range: None,
    size: None,
    empty: false,
};
const FROM_40: RangeSpec = RangeSpec::From {
    first: 40,
    last: None,
};
const RANGE: Asked = Asked::Blob {
    range: Some(FROM_40),
    size: Some(100),
    empty: false,
};
const UNKNOWN_RANGE: Asked = Asked::Blob {
    range: Some(FROM_40),
    size: None,
    empty: false,
};

fn head(status: u16) -> Head {
    Head {
        status,
        elsewhere: false,
        length: None,
        content_range: None,
        html: false,
        json: false,
        registry: false,
        encoded: false,
        retry_after: None,
    }
}

fn sized(status: u16, length: u64) -> Head {
    Head {
        length: Some(length),
        ..head(status)
    }
}

fn part(header: &str) -> Head {
    Head {
        content_range: Some(header.parse().ok()),
        ..head(206)
    }
}

fn take(skip: u64, total: Option<u64>) -> Result<Use, Unfit> {
    Ok(Use { skip, total })
}

/// It says nothing for the endpoint either.
fn denied_without_a_word() -> Result<Use, Unfit> {
    Err(Unfit::End {
        answer: FinalAnswer::Denied,
        outcome: Outcome::Neutral,
    })
}

fn next_tier(cause: Cause) -> Result<Use, Unfit> {
    leave(Scope::Tier, Outcome::Success, cause)
}

fn by_tier(asked: Asked, head: &Head) -> Result<Use, Unfit> {
    judge(asked, Authority::Tier, HarborPolicy::Next, head)
}

fn by_upstream(asked: Asked, head: &Head) -> Result<Use, Unfit> {
    judge(asked, Authority::Final, HarborPolicy::Next, head)
}

#[test]
fn good_answers_are_used() {
    assert_eq!(by_tier(MANIFEST, &sized(200, 7)), take(0, Some(7)));
    assert_eq!(by_tier(MANIFEST, &head(200)), take(0, None));
    assert_eq!(by_tier(BLOB, &sized(200, 100)), take(0, Some(100)));
    // Harbor up to 2.15 sends cold blobs chunked: the manifest knows the size.
    assert_eq!(by_tier(BLOB, &head(200)), take(0, Some(100)));
    assert_eq!(by_tier(UNKNOWN_BLOB, &sized(200, 5)), take(0, Some(5)));
    assert_eq!(by_tier(UNKNOWN_BLOB, &head(200)), take(0, None));
}

#[test]
fn a_cold_cascade_is_left_without_a_mark() {
    assert_eq!(by_tier(BLOB, &sized(200, 0)), next_tier(Cause::ColdCascade));
    assert_eq!(
        by_tier(UNKNOWN_BLOB, &sized(200, 0)),
        next_tier(Cause::ColdCascade)
    );
    let nothing = Asked::Blob {
        range: None,
        size: None,
        empty: true,
    };
    assert_eq!(by_tier(nothing, &sized(200, 0)), take(0, Some(0)));
}

#[test]
fn another_length_than_the_manifests_is_left_without_a_mark() {
    assert_eq!(
        by_tier(BLOB, &sized(200, 99)),
        next_tier(Cause::WrongLength)
    );
    assert_eq!(
        by_upstream(BLOB, &sized(200, 101)),
        next_tier(Cause::WrongLength)
    );
}

#[test]
fn ranges_are_taken_or_skipped_to() {
    assert_eq!(by_tier(RANGE, &part("bytes 40-99/100")), take(0, Some(100)));
    assert_eq!(
        by_tier(UNKNOWN_RANGE, &part("bytes 40-99/100")),
        take(0, Some(100))
    );
    assert_eq!(by_tier(RANGE, &part("bytes 40-99/*")), take(0, Some(100)));
    assert_eq!(by_tier(RANGE, &sized(200, 100)), take(40, Some(100)));
    assert_eq!(by_tier(RANGE, &head(200)), take(40, Some(100)));
    let first_ten = RangeSpec::From {
        first: 0,
        last: Some(9),
    };
    let chunk = Asked::Blob {
        range: Some(first_ten),
        size: Some(100),
        empty: false,
    };
    assert_eq!(by_tier(chunk, &part("bytes 0-9/100")), take(0, Some(100)));
}

#[test]
fn a_wrong_part_is_never_taken() {
    let wrong = leave(Scope::Address, hard(Failure::Content), Cause::WrongRange);
    for header in [
        "bytes 0-99/100",
        "bytes 41-99/100",
        "bytes 40-98/100",
        "bytes 40-/100",
        "x",
    ] {
        assert_eq!(by_tier(RANGE, &part(header)), wrong, "{header}");
    }
    assert_eq!(by_tier(RANGE, &head(206)), wrong);
    assert_eq!(by_tier(BLOB, &part("bytes 0-99/100")), wrong);
    assert_eq!(by_tier(MANIFEST, &part("bytes 0-99/100")), wrong);
    let short = Head {
        length: Some(10),
        ..part("bytes 40-99/100")
    };
    assert_eq!(by_tier(RANGE, &short), wrong);
    assert_eq!(
        by_tier(RANGE, &part("bytes 40-199/200")),
        next_tier(Cause::WrongLength)
    );
}

#[test]
fn a_range_of_an_unknown_whole_is_no_answer() {
    assert_eq!(
        by_tier(UNKNOWN_RANGE, &head(200)),
        next_tier(Cause::WrongLength)
    );
    assert_eq!(
        by_tier(UNKNOWN_RANGE, &part("bytes 40-99/*")),
        next_tier(Cause::WrongLength)
    );
    let end = end(FinalAnswer::RangeNotSatisfiable);
    assert_eq!(by_tier(UNKNOWN_RANGE, &sized(200, 40)), end);
}

#[test]
fn only_a_known_size_makes_416_true() {
    let behind = Asked::Blob {
        range: Some(RangeSpec::From {
            first: 100,
            last: None,
        }),
        size: Some(100),
        empty: false,
    };
    assert_eq!(
        by_tier(behind, &head(416)),
        end(FinalAnswer::RangeNotSatisfiable)
    );
    assert_eq!(by_tier(RANGE, &head(416)), next_tier(Cause::Unusable));
    assert_eq!(
        by_tier(UNKNOWN_RANGE, &head(416)),
        next_tier(Cause::Unusable)
    );
}

#[test]
fn a_tiers_no_is_not_final() {
    for asked in [MANIFEST, BLOB] {
        let denied = leave(Scope::Tier, Outcome::Denied, Cause::Denied);
        assert_eq!(by_tier(asked, &head(401)), denied);
        assert_eq!(by_tier(asked, &head(403)), next_tier(Cause::Policy));
        assert_eq!(by_tier(asked, &head(412)), next_tier(Cause::Policy));
        assert_eq!(by_tier(asked, &head(404)), next_tier(Cause::NotFound));
    }
}

#[test]
fn an_authoritative_no_is_final() {
    for asked in [MANIFEST, BLOB] {
        assert_eq!(by_upstream(asked, &head(404)), end(FinalAnswer::NotFound));
        assert_eq!(by_upstream(asked, &head(401)), denied_without_a_word());
        assert_eq!(by_upstream(asked, &head(403)), end(FinalAnswer::Denied));
    }
}

#[test]
fn a_policy_denial_ends_the_search_where_it_is_final() {
    let judged = judge(MANIFEST, Authority::Tier, HarborPolicy::Final, &head(412));
    assert_eq!(judged, end(FinalAnswer::Policy));
    let judged = judge(MANIFEST, Authority::Tier, HarborPolicy::Final, &head(403));
    assert_eq!(judged, end(FinalAnswer::Policy));
    let judged = judge(MANIFEST, Authority::Final, HarborPolicy::Final, &head(403));
    assert_eq!(judged, end(FinalAnswer::Denied));
}

#[test]
fn too_many_requests_cools_down() {
    let cool = |seconds| {
        let pause = Outcome::CoolDown(Duration::from_secs(seconds));
        leave(Scope::AddressOnceThenTier, pause, Cause::TooManyRequests)
    };
    assert_eq!(by_tier(MANIFEST, &head(429)), cool(10));
    let told = |seconds| Head {
        retry_after: Some(Duration::from_secs(seconds)),
        ..head(429)
    };
    let of_the_registry = Outcome::CoolDown(Duration::from_secs(7));
    assert_eq!(
        by_upstream(BLOB, &told(7)),
        leave(Scope::Tier, of_the_registry, Cause::TooManyRequests),
        "another address of upstream has the same quota"
    );
    assert_eq!(by_tier(BLOB, &told(7)), cool(7));
    assert_eq!(by_tier(BLOB, &told(86_400)), cool(300));
    assert_eq!(by_tier(BLOB, &told(0)), cool(1));
}

#[test]
fn server_errors_mark_the_address_but_for_a_blobs_500() {
    let marked = leave(
        Scope::Address,
        hard(Failure::ServerError),
        Cause::ServerError,
    );
    for status in [500, 502, 503, 504, 521] {
        assert_eq!(by_tier(MANIFEST, &head(status)), marked, "{status}");
    }
    for status in [502, 503, 504] {
        assert_eq!(by_tier(BLOB, &head(status)), marked, "{status}");
    }
    let unmarked = leave(Scope::Tier, Outcome::Neutral, Cause::ServerError);
    assert_eq!(by_tier(BLOB, &head(500)), unmarked);
    for status in [500, 502, 503, 504] {
        let json = Head {
            json: true,
            ..head(status)
        };
        assert_eq!(by_tier(BLOB, &json), unmarked, "{status}");
        let one = leave(Scope::Address, Outcome::Neutral, Cause::ServerError);
        assert_eq!(by_upstream(BLOB, &json), one, "{status}");
        assert_eq!(by_tier(MANIFEST, &json), marked, "{status}");
    }
    assert_eq!(by_upstream(BLOB, &head(500)), marked);
    assert_eq!(by_tier(BLOB, &sized(500, 0)), marked, "its own storage");
    let html = Head {
        html: true,
        ..head(500)
    };
    assert_eq!(by_tier(BLOB, &html), marked);
}

#[test]
fn what_is_left_over_is_left() {
    for status in [201, 204, 301, 304, 307, 400, 402, 405, 410, 451] {
        assert_eq!(
            by_tier(MANIFEST, &head(status)),
            next_tier(Cause::Unusable),
            "{status}"
        );
    }
    let timeout = leave(
        Scope::Address,
        Outcome::Soft(Failure::Timeout),
        Cause::Failed(Failure::Timeout),
    );
    assert_eq!(by_tier(MANIFEST, &head(408)), timeout);
    assert_eq!(by_tier(BLOB, &head(425)), timeout);
}

#[test]
fn what_a_redirects_target_refuses_is_not_the_sources_word() {
    let elsewhere = |status| Head {
        elsewhere: true,
        ..head(status)
    };
    for status in [401, 403, 404] {
        assert_eq!(
            by_tier(BLOB, &elsewhere(status)),
            next_tier(Cause::Unusable),
            "{status}"
        );
        let left = leave(Scope::Address, Outcome::Success, Cause::Unusable);
        assert_eq!(by_upstream(BLOB, &elsewhere(status)), left, "{status}");
    }
    assert_eq!(
        judge(BLOB, Authority::Tier, HarborPolicy::Final, &elsewhere(403)),
        next_tier(Cause::Unusable)
    );
    let left = leave(Scope::Address, Outcome::Success, Cause::Unusable);
    assert_eq!(by_upstream(MANIFEST, &elsewhere(403)), left);
    // registry.k8s.io redirects manifests: there a 404 is as good as its own.
    assert_eq!(
        by_upstream(MANIFEST, &elsewhere(404)),
        end(FinalAnswer::NotFound)
    );
    assert_eq!(
        by_tier(MANIFEST, &elsewhere(404)),
        next_tier(Cause::NotFound)
    );
    let failed = |scope| leave(scope, Outcome::Neutral, Cause::ServerError);
    assert_eq!(by_tier(BLOB, &elsewhere(503)), failed(Scope::Tier));
    assert_eq!(by_upstream(BLOB, &elsewhere(500)), failed(Scope::Address));
    assert_eq!(
        by_upstream(
            BLOB,
            &Head {
                elsewhere: true,
                ..sized(200, 100)
            }
        ),
        take(0, Some(100))
    );
}
