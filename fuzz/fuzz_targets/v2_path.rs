//! Paths of the registry endpoint: whatever is accepted prints as it was read, reads the same again, and
//! holds nothing that climbs, decodes or breaks a line.

#![no_main]

use harbor_pilot::oci::{ResourceKind, ResourcePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(parsed) = ResourcePath::parse(text) else {
        return;
    };
    let printed = parsed.to_string();
    assert_eq!(ResourcePath::parse(&printed).as_ref(), Ok(&parsed));
    let ResourcePath::Resource { name, kind } = parsed else {
        assert!(text == "/v2" || text == "/v2/");
        return;
    };
    assert_eq!(printed, text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte);
    assert!(text.bytes().all(plain));
    let climbs = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    assert!(!text.split('/').skip(1).any(climbs));

    let whole = name.repository();
    let split = name.split_registry();
    assert!(whole.is_some() || split.is_some());
    if let Some(repository) = whole {
        assert_eq!(repository.as_str().parse().as_ref(), Ok(&repository));
    }
    if let Some((registry, repository)) = split {
        assert_eq!(registry.as_str().parse().as_ref(), Ok(&registry));
        assert!(name.as_str().ends_with(repository.as_str()));
        assert!(!registry.dashed().contains(['.', ':', '/']));
    }
    assert!(kind.suffix().ends_with(&*kind.reference()));
    if let ResourceKind::Blob(digest) | ResourceKind::Referrers(digest) = kind {
        assert_eq!(digest.as_str().parse().as_ref(), Ok(&digest));
    }
});
