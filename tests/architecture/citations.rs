//! Tests that docs/failure-table.md names exist: as a function, or as a module of tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A name without a path is taken for a test's where it has so many words: keys, metrics and variables have fewer.
const WORDS_OF_A_TEST: usize = 6;

/// Names of functions and of modules below a folder, Ansible's Python tests among them.
fn collect(folder: &Path, functions: &mut BTreeSet<String>, modules: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        modules.extend(stem.map(str::to_owned));
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            collect(&path, functions, modules);
        } else if let Some(begin) = match extension {
            Some("rs") => Some("fn "),
            Some("py") => Some("def "),
            _ => None,
        } {
            let text = fs::read_to_string(&path).expect("the file is readable");
            functions.extend(text.split(begin).skip(1).map(first_word));
        }
    }
}

fn first_word(text: &str) -> String {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len())).0.to_owned()
}

#[test]
fn tests_that_the_failure_table_names_exist() {
    let (mut functions, mut modules) = (BTreeSet::new(), BTreeSet::new());
    for folder in ["src", "tests"] {
        collect(Path::new(folder), &mut functions, &mut modules);
    }
    let text = fs::read_to_string("docs/failure-table.md").expect("the file is readable");
    let mut looked_at = 0;
    let mut missing = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            let is_path =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:*".contains(c);
            let Some(name) = quoted
                .rsplit("::")
                .next()
                .filter(|_| quoted.chars().all(is_path))
            else {
                continue;
            };
            let is_test = quoted.contains("::") || name.split('_').count() >= WORDS_OF_A_TEST;
            if !is_test || ["*", "test"].contains(&name) {
                continue;
            }
            looked_at += 1;
            let is_module = quoted.contains("::") && modules.contains(name);
            if !functions.contains(name) && !is_module {
                missing.push(format!("docs/failure-table.md:{}: {quoted}", number + 1));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(looked_at > 300, "{looked_at}");
}
