//! What a registries.yaml means, apart from its comments, order of keys and style: to tell whether the runtime's
//! next start would bring something else.

use crate::node::registries_yaml::is_bottomless;
use crate::oci::Digest;
use serde_json::{Value, json};

/// A fingerprint of the meaning. Files that cannot be parsed mean their own text: any change counts.
pub(in crate::node) fn meaning(text: &str) -> String {
    let parsed = (!is_bottomless(text))
        .then(|| yaml_serde::from_str::<Value>(text.trim_start_matches('\u{feff}')));
    let canonical = match parsed {
        Some(Ok(top @ (Value::Object(_) | Value::Null))) => {
            // What else stands there is read by nobody (containerd-k3s-facts 7.1); an empty table and none are one.
            let table = |key: &str| top.get(key).filter(|table| **table != json!({}));
            json!([table("mirrors"), table("configs")]).to_string()
        }
        _ => format!("text {text}"),
    };
    Digest::sha256(canonical.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::meaning;

    #[test]
    fn style_is_no_meaning() {
        let base = "mirrors:\n  docker.io:\n    endpoint: [\"http://a\", \"http://b\"]\n";
        let same = [
            "# a comment\nmirrors: {docker.io: {endpoint: ['http://a', http://b]}}\n",
            "\u{feff}mirrors:\n  docker.io:\n    endpoint:\n      - http://a\n      - http://b # 镜像\nconfigs: {}\n",
            "auths: {x: 1}\nmirrors:\n  docker.io:\n    endpoint:\n    - http://a\n    - http://b\n",
        ];
        for text in same {
            assert_eq!(meaning(text), meaning(base), "{text}");
        }
        let other = [
            "",
            "mirrors:\n  docker.io:\n    endpoint: [\"http://b\", \"http://a\"]\n",
            "mirrors:\n  docker.io:\n    endpoint: [\"http://a\", \"http://b\"]\nconfigs: {a: {tls: {insecure_skip_verify: true}}}\n",
            "mirrors:\n\tdocker.io: x\n",
        ];
        for text in other {
            assert_ne!(meaning(text), meaning(base), "{text}");
        }
        assert_eq!(meaning(""), meaning("# nothing\n"));
        assert_eq!(meaning(""), meaning("mirrors: {}\n"));
    }
}
