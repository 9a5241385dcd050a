//! The page: what it shows, to whom, and what it lets through.

use super::*;
use crate::cache::Trust;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn pull(repository: &str, outcome: RequestOutcome, tier: &str) -> Box<AccessRecord> {
    Box::new(AccessRecord {
        registry: Some("docker.io".parse().unwrap()),
        repository: repository.into(),
        reference: "sha256:0123456789abcdef0123".into(),
        kind: "blob",
        method: "GET",
        status: 200,
        outcome,
        tier: tier.into(),
        endpoint: "203.0.113.7:443".into(),
        attempts: 2,
        bytes: 3 << 20,
        time_to_first_byte: Some(Duration::from_millis(40)),
        duration: Duration::from_secs(1),
        error: "replica: <i>refused</i>".to_owned(),
        ..AccessRecord::default()
    })
}

fn stage_with_pulls() -> Stage {
    let stage = stage();
    for (repository, outcome, tier) in [
        ("library/nginx", RequestOutcome::Failover, "core"),
        ("<b>team</b>/app", RequestOutcome::Failed, ""),
        ("library/nginx", RequestOutcome::Served, "replica"),
    ] {
        stage.view.journal.access(pull(repository, outcome, tier));
    }
    stage
}

fn by(trust: Trust, path: &str) -> Request<()> {
    let mut request = get(path);
    request.extensions_mut().insert(trust);
    request
}

async fn shown(stage: &Stage, trust: Trust, path: &str) -> (StatusCode, String) {
    let response = answer::answer_in_time(Surface::Admin, &by(trust, path), &stage.view).await;
    assert_eq!(response.headers()["content-security-policy"], POLICY);
    (response.status(), text(response).await)
}

#[tokio::test]
async fn it_escapes_what_others_said_and_has_nothing_inline() {
    let stage = stage_with_pulls();
    let (status, html) = shown(&stage, Trust::Trusted, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("&lt;b&gt;connect_timeout&lt;/b&gt;"));
    assert!(html.contains("&lt;b&gt;team&lt;/b&gt;/app"));
    assert!(html.contains("&lt;i&gt;refused&lt;/i&gt;"));
    assert!(
        html.contains(r"no\u{202e} answer within\u{9b} 2.5 s"),
        "{html}"
    );
    assert!(html.contains("203.0.113.8:443"));
    assert!(html.contains("certificate is not checked"));
    // One script, of a file of its own; no handlers, no styles, nothing from elsewhere.
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains("<script src=\"/page.js\" defer></script>"));
    for word in [
        "style=",
        "<style",
        "onclick",
        "onload",
        "javascript:",
        "{{",
        "}}",
        "//cdn",
    ] {
        assert!(!html.contains(word), "{word}: {html}");
    }
}

#[tokio::test]
async fn pulls_are_grouped_by_image_and_filtered() {
    let stage = stage_with_pulls();
    let (_, html) = shown(&stage, Trust::Trusted, "/").await;
    assert!(html.contains("<b>docker.io/library/nginx</b> <span class=\"dim\">2 pulls, 6.0 MiB, by core, replica</span>"), "{html}");
    assert!(html.contains("blob sha256:0123456789ab…"));
    assert!(html.contains("<td>core/203.0.113.7:443</td><td>2</td><td>3.0 MiB</td><td>3.0 MiB/s</td><td>40 ms</td><td>1.0 s</td>"), "{html}");
    assert!(html.contains("<span class=\"bad\">1 not served</span>"));
    let (_, html) = shown(
        &stage,
        Trust::Trusted,
        "/?image=nginx&outcome=failover&tier=core",
    )
    .await;
    assert!(
        html.contains("<p role=\"status\">1 pull of the last 3</p>"),
        "{html}"
    );
    assert!(html.contains("value=\"nginx\"") && html.contains(" selected>failover</option>"));
    assert!(html.contains(" selected>core</option>"));
    // The script is given the same parts.
    let (_, parts) = shown(&stage, Trust::Trusted, "/status?view=page&image=team").await;
    let parts: serde_json::Value = serde_json::from_str(&parts).unwrap();
    assert_eq!(parts["title"], "harbor-pilot: down");
    let pulls = parts["parts"]["pulls"].as_str().unwrap();
    assert!(
        pulls.contains("1 pull of the last 3") && !pulls.contains("nginx"),
        "{pulls}"
    );
    for part in [
        "verdict", "names", "sources", "charts", "tiers", "files", "changes", "about",
    ] {
        assert!(parts["parts"][part].is_string(), "{part}");
        assert!(html.contains(&format!("id=\"{part}\"")), "{part}");
    }
}

/// An open page is told of tiers that came later, and is not robbed of the one that was chosen.
#[tokio::test]
async fn the_script_is_given_who_may_have_served() {
    let stage = stage_with_pulls();
    for (trust, tier, due) in [
        (Trust::Trusted, "", "all core replica upstream none"),
        (Trust::Trusted, "none", "all core replica upstream none"),
        (Trust::Trusted, "a", "all a core replica upstream none"),
        (Trust::Untrusted, "", "all replica upstream none"),
    ] {
        let path = format!("/status?view=page&tier={tier}");
        let (_, parts) = shown(&stage, trust, &path).await;
        let parts: serde_json::Value = serde_json::from_str(&parts).unwrap();
        let options = parts["parts"]["tiers"].as_str().unwrap();
        let words = options.split("</option>");
        let words = words.filter_map(|option| Some(option.rsplit_once('>')?.1));
        assert_eq!(words.collect::<Vec<_>>().join(" "), due, "{tier}");
        let chosen = format!(" selected>{tier}</option>");
        assert_eq!(options.contains(&chosen), !tier.is_empty(), "{options}");
    }
}

#[tokio::test]
async fn a_stranger_sees_sums_and_how_to_see_more() {
    let mut stage = stage_with_pulls();
    for path in [
        "/",
        "/status",
        "/status?view=page",
        "/?image=nginx",
        "/explain?image=nginx",
    ] {
        let (_, text) = shown(&stage, Trust::Untrusted, path).await;
        for name in ["library/nginx", "team", "0123456789ab"] {
            assert!(!text.contains(name), "{path}: {name} in {text}");
        }
    }
    let (_, html) = shown(&stage, Trust::Untrusted, "/").await;
    assert!(
        html.contains("any process of the node can open this page"),
        "{html}"
    );
    assert!(html.contains("once <code>[server] admin_token_file</code> names one"));
    assert!(html.contains("Requests: served"), "{html}");
    assert_eq!(
        shown(&stage, Trust::Untrusted, "/names").await.0,
        StatusCode::FORBIDDEN
    );
    let (status, _) = shown(&stage, Trust::Untrusted, "/explain?image=nginx").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    stage.view.token = watch::channel(Some(Secret::new("0123456789abcdef"))).1;
    assert_eq!(
        shown(&stage, Trust::Untrusted, "/names").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        shown(&stage, Trust::Trusted, "/names").await.0,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn an_image_is_explained_to_who_sees_names() {
    let mut stage = stage();
    let explain = Explain(|config, status, image| {
        format!(
            "{image} by {} tiers, {}",
            config.tiers.len(),
            status.tiers.len()
        )
    });
    let path = "/explain?image=docker.io%2Flibrary%2Fnginx%3A1";
    let (status, _) = shown(&stage, Trust::Trusted, path).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "nobody explains");
    stage.view.explain = Some(Explainer::new(explain));
    let (status, said) = shown(&stage, Trust::Trusted, path).await;
    assert_eq!(
        (status, said.as_str()),
        (StatusCode::OK, "docker.io/library/nginx:1 by 0 tiers, 1")
    );
}
