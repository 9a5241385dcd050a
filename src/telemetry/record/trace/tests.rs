//! Tests of telemetry/record/trace.

use super::*;

#[test]
fn a_traceparent_is_read_strictly() {
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let valid = TraceParent {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span_id: 0xb7ad_6b71_6920_3331,
        is_sampled: true,
    };
    let table = [
        (format!("00-{trace}-{span}-01"), Some(true)),
        (format!("00-{trace}-{span}-00"), Some(false)),
        (format!("00-{trace}-{span}-03"), Some(true)),
        (format!("00-{trace}-{span}-fe"), Some(false)),
        (format!("cc-{trace}-{span}-01"), Some(true)),
        (format!("cc-{trace}-{span}-01-what-comes-later"), Some(true)),
        (format!("cc-{trace}-{span}-01later"), None),
        (format!("00-{trace}-{span}-01-"), None),
        (format!("00-{trace}-{span}-01-more"), None),
        (format!("ff-{trace}-{span}-01"), None),
        (format!("00-{}-{span}-01", trace.to_uppercase()), None),
        (format!("00-{}-{span}-01", "0".repeat(32)), None),
        (format!("00-{trace}-{}-01", "0".repeat(16)), None),
        (format!("00-{trace}-{span}-0"), None),
        (format!("00-{trace}-{span}-0g"), None),
        (format!("00-{trace}-{span}"), None),
        (format!("0-{trace}0-{span}-01"), None),
        (format!(" 00-{trace}-{span}-1"), None),
        (format!("00-+{}-{span}-01", &trace[1..]), None),
        (format!("00-{}é-{span}-01", &trace[2..]), None),
        (format!("00_{trace}_{span}_01"), None),
        (String::new(), None),
    ];
    for (text, due) in table {
        let due = due.map(|is_sampled| TraceParent {
            is_sampled,
            ..valid
        });
        assert_eq!(TraceParent::parse(&text), due, "{text}");
        if let Some(due) = due {
            assert_eq!(TraceParent::parse(&due.to_string()), Some(due));
        }
    }
}

#[test]
fn a_tracestate_is_passed_on_within_bounds() {
    let long = format!("a={}", "b".repeat(510));
    let longer = format!("{long}b");
    let table: [(&[&str], Option<&str>); 6] = [
        (&[], None),
        (&[""], None),
        (&["a=1,b=2"], Some("a=1,b=2")),
        (&["a=1", "b=2"], Some("a=1,b=2")),
        (&[&long], Some(&long)),
        (&[&longer], None),
    ];
    for (fields, due) in table {
        let state = TraceParent::state(fields.iter().copied());
        assert_eq!(state.as_deref(), due);
    }
    assert_eq!(TraceParent::state(["a=\u{e9}"].into_iter()), None);
}
