//! A `[router]` for tests.

use crate::config::Router;
use std::time::Duration;

/// With the defaults, under the name registry.example.com.
pub(crate) fn router() -> Router {
    Router {
        names: vec!["registry.example.com".parse().expect("a name")],
        project: "proxy".to_owned(),
        order: Vec::new(),
        max_fanout: 50,
        grace: Duration::from_millis(150),
        ttl: Duration::from_secs(300),
        negative_ttl: Duration::from_secs(30),
        stale_while_revalidate: Duration::from_secs(60),
        requests_per_second: 0,
        redis: None,
    }
}
