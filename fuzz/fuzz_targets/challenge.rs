//! WWW-Authenticate headers of sources: no input panics or hangs, and what was understood, written down as the
//! RFC has it, is understood the same again.

#![no_main]

use harbor_pilot::auth::{Challenge, parse_challenges};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let found = parse_challenges(text);
    // Nothing is invented: every challenge takes at least its scheme's letters.
    assert!(found.len() * "basic".len() <= text.len());
    let written: Vec<_> = found.iter().map(written).collect();
    let written = written.join(", ");
    // Quoting may make a header longer than the parser reads.
    if written.len() <= 8 * 1024 {
        assert_eq!(parse_challenges(&written), found, "{written}");
    }
});

fn written(challenge: &Challenge) -> String {
    let (scheme, parameters) = match challenge {
        Challenge::Bearer(bearer) => (
            "Bearer",
            vec![
                ("realm", &bearer.realm),
                ("service", &bearer.service),
                ("scope", &bearer.scope),
            ],
        ),
        Challenge::Basic { realm } => ("Basic", vec![("realm", realm)]),
    };
    let quoted = |(name, value): (&str, &Option<String>)| {
        let value = value.as_ref()?.replace('\\', "\\\\").replace('"', "\\\"");
        Some(format!("{name}=\"{value}\""))
    };
    let parameters: Vec<_> = parameters.into_iter().filter_map(quoted).collect();
    format!("{scheme} {}", parameters.join(","))
}
