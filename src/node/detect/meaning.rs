//! What a registries.yaml means, apart from its comments, order of keys and style: to tell whether the runtime's
//! next start would bring something else.

use crate::node::registries_yaml::is_bottomless;
use crate::oci::Digest;
use yaml_serde::Value;

/// A fingerprint of the meaning. Files that cannot be parsed mean their own text: any change counts.
pub(in crate::node) fn meaning(text: &str) -> String {
    let mut canonical = String::new();
    let parsed = (!is_bottomless(text))
        .then(|| yaml_serde::from_str::<Value>(text.trim_start_matches('\u{feff}')));
    match parsed.unwrap_or(Ok(Value::Bool(false))) {
        Ok(Value::Mapping(top)) => {
            // What else stands there is read by nobody (containerd-k3s-facts 7.1).
            for key in ["mirrors", "configs"] {
                write(top.get(key).unwrap_or(&Value::Null), &mut canonical);
            }
        }
        Ok(Value::Null) => {
            for _ in 0..2 {
                write(&Value::Null, &mut canonical);
            }
        }
        _ => canonical = format!("text {text}"),
    }
    Digest::sha256(canonical.as_bytes()).to_string()
}

fn write(value: &Value, to: &mut String) {
    match value {
        Value::Null => to.push('~'),
        Value::Sequence(list) => {
            to.push('[');
            for one in list {
                write(one, to);
                to.push(',');
            }
            to.push(']');
        }
        Value::Mapping(map) => {
            let mut lines: Vec<String> = map
                .iter()
                .map(|(key, value)| {
                    let mut line = String::new();
                    write(key, &mut line);
                    line.push(':');
                    write(value, &mut line);
                    line
                })
                .collect();
            lines.sort();
            // An empty table and none at all are one.
            if lines.is_empty() {
                to.push('~');
            } else {
                to.push('{');
                to.push_str(&lines.join(","));
                to.push('}');
            }
        }
        Value::Tagged(tagged) => write(&tagged.value, to),
        Value::String(text) => to.push_str(&format!("{text:?}")),
        Value::Bool(truth) => to.push_str(&truth.to_string()),
        Value::Number(number) => to.push_str(&number.to_string()),
    }
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
