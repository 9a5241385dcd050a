//! The types that containerd's decoder wants: one value of another type, and it ignores the whole file.

use super::Refused;
use toml_edit::{Item, TableLike, Value};

/// Where a key stands.
#[derive(Clone, Copy)]
enum Want {
    Text,
    Flag,
    Texts,
    TextOrList,
    Table,
}

/// Of a host's table; those above the first table are the server's.
const KEYS: [(&str, Want); 7] = [
    ("capabilities", Want::Texts),
    ("ca", Want::TextOrList),
    ("client", Want::TextOrList),
    ("skip_verify", Want::Flag),
    ("override_path", Want::Flag),
    ("dial_timeout", Want::Text),
    ("header", Want::Table),
];

/// Checks what a table says of its host.
///
/// # Errors
/// Names the first key whose value containerd does not take.
pub(super) fn check(of: &str, table: &dyn TableLike) -> Result<(), Refused> {
    let wrong = KEYS.iter().find(|(key, want)| {
        let item = table.get(key);
        item.is_some_and(|item| !want.fits(item))
    });
    match wrong {
        None => Ok(()),
        Some((key, want)) => Err(Refused::Unusual(format!(
            "{key} of {of} is not {}: containerd ignores the whole file; correct the line",
            want.words()
        ))),
    }
}

// === impl Want ===

impl Want {
    fn fits(self, item: &Item) -> bool {
        match self {
            Self::Text => item.is_str(),
            Self::Flag => item.is_bool(),
            Self::Texts => {
                let values = item.as_array();
                values.is_some_and(|values| values.iter().all(Value::is_str))
            }
            Self::TextOrList => item.is_str() || item.is_array(),
            Self::Table => item.is_table_like(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Flag => "true or false",
            Self::Texts => "a list of texts, such as [\"pull\"]",
            Self::TextOrList => "a text or a list",
            Self::Table => "a table",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::node::hosts_toml::read;

    #[test]
    fn a_value_of_another_type_is_a_file_that_containerd_ignores() {
        let file = |line: &str| {
            format!("server = \"https://r.test\"\n\n[host.\"http://m.test\"]\n{line}\n")
        };
        for line in [
            "capabilities = \"pull\"",
            "capabilities = [1]",
            "skip_verify = \"true\"",
            "override_path = 1",
            "dial_timeout = 2",
            "header = \"x\"",
            "ca = true",
        ] {
            let refused = read(&file(line)).unwrap_err().to_string();
            let key = line.split(' ').next().unwrap();
            assert!(refused.starts_with(key), "{refused}");
            assert!(
                refused.contains("containerd ignores the whole file"),
                "{refused}"
            );
        }
        for line in [
            "capabilities = [\"pull\"]",
            "skip_verify = true",
            "ca = [\"a.crt\", \"b.crt\"]",
            "client = [[\"a.cert\", \"a.key\"]]",
            "header = {x-a = \"1\"}",
        ] {
            read(&file(line)).unwrap();
        }
        let above = "server = \"https://r.test\"\ncapabilities = \"pull\"\n";
        assert!(
            read(above)
                .unwrap_err()
                .to_string()
                .starts_with("capabilities of server")
        );
    }
}
