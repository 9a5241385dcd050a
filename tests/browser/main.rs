//! The page in Debian's Chromium: what it shows, by keyboard, in the dark, on a phone, for a stranger, without scripts; and
//! what axe-core finds. `make test-browser`; with `HARBOR_PILOT_SCREENSHOT=write` the picture of the README is made anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test, with parts that are made for others as well"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../agent/client.rs"]
mod client;

mod chromium;
mod stage;

use base64::Engine as _;
use chromium::Chromium;
use serde_json::{Value, json};
use stage::{Stage, TOKEN};
use std::fs;
use std::path::{Path, PathBuf};

/// `nobody`
const STRANGER: u32 = 65534;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Some pulls: served, not found, of a registry that is not configured.
async fn busy() -> Stage {
    let stage = Stage::start().await;
    for name in ["library/nginx", "library/redis", "team/app", "team/direct"] {
        stage.pull(name).await;
    }
    stage.get("team/app", "manifests/nowhere", 404).await;
    stage
}

fn axe() -> String {
    let path = project("target/tools/axe-core/4.14.1/axe.min.js");
    fs::read_to_string(path).expect("axe-core is missing; `make deps` brings it")
}

/// What axe-core calls serious or critical.
fn violations(chromium: &mut Chromium) -> Value {
    chromium.eval(&format!("{}; true", axe()));
    chromium.eval(
        "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations\
         .filter(it => ['serious', 'critical'].includes(it.impact))\
         .map(it => [it.id, it.nodes.map(node => node.html + ' ' + node.failureSummary)]))",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_readable_in_the_light_in_the_dark_and_on_a_phone() {
    let stage = busy().await;
    let mut chromium = Chromium::start(None);
    let pictures = project("target/browser");
    fs::create_dir_all(&pictures).unwrap();
    for (name, scheme, width, height) in [
        ("light", "light", 1100, 1300),
        ("dark", "dark", 1100, 1300),
        ("phone", "light", 390, 844),
        ("phone-dark", "dark", 390, 844),
    ] {
        chromium.looks(scheme, width, height);
        chromium.open(&stage.url("/"));
        let picture = chromium.screenshot();
        fs::write(pictures.join(format!("page-{name}.png")), &picture).unwrap();
        // Nothing is wider than the window.
        assert_eq!(
            chromium.eval("document.documentElement.scrollWidth <= innerWidth"),
            json!(true),
            "{name}"
        );
        chromium.eval("document.querySelectorAll('details').forEach(it => { it.open = true; })");
        assert_eq!(violations(&mut chromium), json!([]), "{name}");
    }
    // No policy was offended and nothing was missing.
    assert_eq!(chromium.complaints, Vec::<String>::new());

    // The README's picture shows all down to the files, with a group of pulls and the first file open.
    chromium.call("Emulation.setScrollbarsHidden", json!({"hidden": true}));
    chromium.looks("light", 1280, 1300);
    chromium.open(&stage.url("/"));
    for part in ["pulls", "files"] {
        chromium.eval(&format!(
            "document.querySelector('#{part} details').open = true"
        ));
    }
    let below_files = "document.getElementById('h-changes').offsetTop";
    let height = u32::try_from(chromium.eval(below_files).as_u64().unwrap()).unwrap();
    let files = chromium.eval("document.getElementById('h-files').offsetTop");
    chromium.looks("light", 1280, height);
    let picture = chromium.screenshot();
    if std::env::var("HARBOR_PILOT_SCREENSHOT").as_deref() == Ok("write") {
        fs::write(project("docs/page.png"), &picture).unwrap();
    }
    let committed = fs::read(project("docs/page.png")).unwrap();
    // Some 2,700 rows of pixels, mostly text, take Chromium's encoder 380 kB.
    assert!(committed.starts_with(b"\x89PNG") && committed.len() < 450_000);
    let height = u32::from_be_bytes(committed[20..24].try_into().unwrap());
    assert!(u64::from(height) > files.as_u64().unwrap(), "{height}");
    assert!(
        fs::read_to_string(project("README.md"))
            .unwrap()
            .contains("docs/page.png")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_others_say_updates_in_place_filters_and_explains() {
    let stage = busy().await;
    let mut chromium = Chromium::start(None);
    chromium.open(&stage.url("/"));
    // A tier is down: every surface says degraded.
    chromium.until("document.querySelector('#verdict .verdict').textContent === 'degraded'");
    assert_eq!(stage.status().await["verdict"], "degraded");
    assert!(stage.admin("/readyz").await.starts_with("degraded\n"));
    assert_eq!(chromium.eval("document.title"), "harbor-pilot: degraded");

    // Everything is there: addresses, charts, files, pulls by image.
    let text = "document.getElementById('main').innerText";
    for part in [
        "replica",
        "ejected",
        "docker.io/library/nginx",
        "docker.io/team/app",
        "hosts.toml",
        "Bytes by source, last 15 minutes",
        "First byte, last 24 hours",
    ] {
        chromium.until(&format!("{text}.includes({})", json!(part)));
    }
    assert_eq!(
        chromium.eval("document.querySelectorAll('#charts svg.chart').length"),
        4
    );
    assert!(
        chromium
            .eval("document.querySelectorAll('#charts rect').length")
            .as_u64()
            .unwrap()
            > 0
    );
    assert_eq!(
        chromium.eval("document.querySelector('#files pre .added') !== null"),
        json!(true)
    );

    // It updates by itself: no reload, and what is open, written and focused stays.
    chromium.eval("window.mark = 1; document.querySelector('#pulls details').open = true; document.querySelector('#explain input').focus()");
    chromium.type_text("docker.io/team/app:1");
    stage.get("team/news", "manifests/1", 404).await;
    chromium.until(&format!("{text}.includes('docker.io/team/news')"));
    let kept = "[window.mark, document.querySelectorAll('#pulls details[open]').length, document.activeElement.value, \
        performance.getEntriesByType('navigation').length]";
    assert_eq!(
        chromium.eval(kept),
        json!([1, 1, "docker.io/team/app:1", 1])
    );

    // Enter explains what was typed.
    chromium.press("Enter", 13);
    chromium.until("document.getElementById('explained').textContent.includes('containerd asks the agent for /v2/team/app/manifests/1')");
    chromium.until("document.getElementById('explained').textContent.includes('replica')");

    // The filter, without a reload either.
    chromium.eval("document.querySelector('#filter [name=image]').focus()");
    chromium.type_text("redis");
    chromium.until("document.querySelectorAll('#pulls details').length === 1");
    assert_eq!(
        chromium.eval("[window.mark, location.search]"),
        json!([1, "?image=redis&outcome=&tier="])
    );
    chromium.eval("const it = document.querySelector('#filter [name=outcome]'); it.value = 'stale'; it.dispatchEvent(new Event('input', {bubbles: true}))");
    chromium.until("document.querySelectorAll('#pulls details').length === 0");
    chromium.eval("document.querySelector('#filter').reset()");
    assert_eq!(chromium.complaints, Vec::<String>::new());

    // Nothing runs that is not the page's own file.
    chromium.eval(
        "const script = document.createElement('script'); script.textContent = 'window.inline = 1'; document.body.append(script);\
         document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.inline = 1\"><p style=\"position:fixed\">x</p>')",
    );
    chromium.until("document.readyState === 'complete' && window.inline === undefined");
    assert!(
        chromium
            .complaints
            .iter()
            .any(|it| it.contains("Content Security Policy")),
        "{:?}",
        chromium.complaints
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiers_to_filter_by_follow_a_reload_and_the_chosen_one_stays() {
    let stage = busy().await;
    let mut chromium = Chromium::start(None);
    chromium.open(&stage.url("/?tier=replica"));
    let choose = |name: &str| {
        format!(
            "window.tiers = document.querySelector('#filter [name=tier]'); tiers.focus(); tiers.value = {}; \
             tiers.dispatchEvent(new Event('input', {{bubbles: true}}))",
            json!(name)
        )
    };
    let words = "[...tiers.options].map(it => it.text).join(' ')";
    let state =
        format!("[{words}, tiers.value, document.activeElement === tiers, location.search]");
    let search = |name: &str| format!("?image=&outcome=&tier={name}");
    chromium.eval(&choose("core"));
    stage.rename("branch");
    chromium.until(&format!("{words}.includes('branch')"));
    // Its tier is gone; the choice is the reader's.
    assert_eq!(
        chromium.eval(&state),
        json!([
            "all branch core replica upstream none",
            "core",
            true,
            search("core")
        ])
    );
    chromium.eval(&choose(""));
    chromium.until(&format!("!{words}.includes('core')"));
    assert_eq!(
        chromium.eval(&state),
        json!(["all branch replica upstream none", "", true, search("")])
    );
    // The chosen one is moved by those that come and go in front of it.
    chromium.eval(&choose("replica"));
    for name in ["zone", "annex"] {
        stage.rename(name);
        chromium.until(&format!("{words}.includes({})", json!(name)));
        assert_eq!(
            chromium.eval("[tiers.value, document.activeElement === tiers]"),
            json!(["replica", true])
        );
    }
    chromium.until("[...document.querySelectorAll('#pulls summary')].every(it => it.innerText.endsWith('by replica'))");
    assert_eq!(chromium.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_used_by_keyboard_and_works_without_scripts() {
    let stage = busy().await;
    let mut chromium = Chromium::start(None);
    chromium.open(&stage.url("/"));
    // The reader stops the updates, as what moves under the hand is hard to use.
    chromium.eval("document.getElementById('pause').click()");
    let reachable = "[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]')]\
        .filter(it => it.checkVisibility() && !it.closest('details:not([open]) > :not(summary)'))";
    let due = chromium
        .eval(&format!("{reachable}.length"))
        .as_u64()
        .unwrap();
    assert!(due > 15, "{due}");
    chromium.eval("window.seen = new Set(); window.unseen = []; document.activeElement.blur()");
    for _ in 0..due + 5 {
        chromium.press("Tab", 9);
        chromium.eval(
            "(() => { const it = document.activeElement; if (it !== document.body) { window.seen.add(it); \
             if (getComputedStyle(it).outlineStyle === 'none') window.unseen.push(it.outerHTML); } })()",
        );
    }
    assert_eq!(
        chromium.eval(&format!(
            "{reachable}.filter(it => !seen.has(it)).map(it => it.outerHTML)"
        )),
        json!([])
    );
    assert_eq!(
        chromium.eval("window.unseen"),
        json!([]),
        "focus must be seen"
    );
    // A group opens by a key.
    chromium.eval("document.querySelector('#pulls summary').focus()");
    chromium.press("Enter", 13);
    chromium.until("document.querySelectorAll('#pulls details[open]').length === 1");

    chromium.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    );
    chromium.open(&stage.url("/"));
    chromium.until("document.body.innerText.includes('Without scripts this page')");
    assert_eq!(
        chromium.eval("document.getElementById('updates').hidden"),
        json!(true)
    );
    // Both forms are sent by the browser itself.
    chromium.send("filter", "redis");
    assert_eq!(
        chromium.eval("[location.pathname + location.search, document.querySelectorAll('#pulls details').length]"),
        json!(["/?image=redis&outcome=&tier=", 1])
    );
    assert_eq!(chromium.complaints, Vec::<String>::new());
    chromium.send("explain", "docker.io/team/app:1");
    let explained = chromium.eval("document.body.innerText");
    let explained = explained.as_str().unwrap();
    assert!(
        explained.contains("containerd asks the agent for /v2/team/app/manifests/1"),
        "{explained}"
    );
    assert_eq!(
        chromium.eval("[location.pathname + location.search, document.contentType]"),
        json!(["/explain?image=docker.io%2Fteam%2Fapp%3A1", "text/plain"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_sees_sums_and_with_the_token_names() {
    let stage = busy().await;
    let mut chromium = Chromium::start(Some(STRANGER));
    chromium.open(&stage.url("/"));
    chromium.until("document.getElementById('names').innerText.includes('Names of images are not shown to you')");
    chromium.eval("window.mark = 1");
    stage.get("team/secret", "manifests/1", 404).await;
    // Also in what the script fetches, and in the JSON.
    for path in [
        "/",
        "/status",
        "/status?view=page",
        "/explain?image=docker.io/library/redis:1",
    ] {
        let text = chromium.eval(&format!("fetch({}).then(it => it.text())", json!(path)));
        let text = text.as_str().unwrap();
        for name in ["team/", "library/redis", "capabilities ="] {
            assert!(!text.contains(name), "{path} {name}: {text}");
        }
    }
    chromium.until("document.getElementById('about').innerText.includes('Requests: failover')");
    assert_eq!(violations(&mut chromium), json!([]));
    // As a browser sends what its person typed.
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("operator:{TOKEN}"));
    let headers = json!({"headers": {"Authorization": format!("Basic {pair}")}});
    chromium.call("Network.setExtraHTTPHeaders", headers);
    chromium.until("document.getElementById('pulls').innerText.includes('docker.io/team/secret') && window.mark === 1");
    chromium.open(&stage.url("/names"));
    chromium
        .until("location.pathname === '/' && document.getElementById('names').innerText === ''");
}
