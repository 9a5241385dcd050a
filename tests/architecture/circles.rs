//! Circles: in no folder do two modules know each other, directly or through others. A module is a file with the folder of its
//! name; what stands below it counts as its own. A name that the parent takes from a child and hands on leads to that child.
//! Tests beside the code are left out: they may look at everything.

use super::{Source, code};
use std::collections::{BTreeMap, BTreeSet};

/// A module's path from the crate's root: `["relay", "search"]`.
type Module = Vec<String>;

/// For each folder its modules, and whom each of them knows.
type Edges = BTreeMap<Module, BTreeMap<String, BTreeSet<String>>>;

/// Modules of one folder that know each other.
type Circle = (String, Vec<String>);

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

fn module_path(source: &Source) -> Module {
    let path = source.path.with_extension("");
    let parts = path.iter().filter_map(|part| part.to_str());
    parts.map(ToOwned::to_owned).collect()
}

/// The code before the tests that stand in the same file.
fn product_code(text: &str) -> String {
    let before = text.find("#[cfg(test)]\nmod tests {");
    code(text.get(..before.unwrap_or(text.len())).unwrap_or_default())
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths of `a::b` or `a::{b, c::{d, e as f}}`: `[a, b]`, `[a, c, d]` and so on.
fn expand(text: &str, before: &[String], found: &mut Vec<Module>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let spaces = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        at += spaces;
        if rest.starts_with('{') {
            at += 1;
            loop {
                at += expand(text.get(at..).unwrap_or_default(), &path, found);
                let rest = text.get(at..).unwrap_or_default();
                let Some(end) = rest.find([',', '}']) else {
                    return text.len();
                };
                at += end + 1;
                if rest.get(end..).is_some_and(|rest| rest.starts_with('}')) {
                    return at;
                }
            }
        }
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        path.push(rest.get(..end).unwrap_or_default().to_owned());
        at += end;
        if !text.get(at..).unwrap_or_default().starts_with("::") {
            break;
        }
        at += 2;
    }
    if path.len() > before.len() {
        found.push(path);
    }
    at
}

/// Everything that the code of a module names by `crate::`, `super::` or `self::`, from the crate's root.
fn named(code: &str, module: &[String]) -> Vec<Module> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code.get(..at).unwrap_or_default();
            if before.ends_with(|c: char| is_of_word(c) || c == ':') {
                continue;
            }
            let mut base = if root == "crate::" { &[] } else { module };
            let mut rest = code.get(at..).unwrap_or_default();
            while let Some(after) = rest.strip_prefix("super::") {
                base = base.split_last().map_or(&[], |(_, parent)| parent);
                rest = after;
            }
            let rest = rest.strip_prefix(root).unwrap_or(rest);
            expand(rest, base, &mut found);
        }
    }
    found
}

/// What a module takes from its children, by name: `use child::{A, B}` makes `A` and `B` the child's.
fn taken_from_children(code: &str, children: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::new();
    for (at, _) in code.match_indices("use ") {
        let mut paths = Vec::new();
        expand(code.get(at + 4..).unwrap_or_default(), &[], &mut paths);
        for path in paths {
            let path: Vec<_> = path.into_iter().filter(|part| part != "self").collect();
            if let [child, .., name] = path.as_slice()
                && children.contains(child)
            {
                taken.insert(name.clone(), child.clone());
            }
        }
    }
    taken
}

fn edges(sources: &[Source]) -> Edges {
    let mut code_of: BTreeMap<Module, String> = BTreeMap::new();
    for source in sources {
        let path = source.path.display().to_string();
        if !is_test(&path) && !matches!(path.as_str(), "lib.rs" | "main.rs") {
            code_of.insert(module_path(source), product_code(&source.text));
        }
    }
    let mut children: BTreeMap<Module, BTreeSet<String>> = BTreeMap::new();
    for module in code_of.keys() {
        if let Some((last, parent)) = module.split_last() {
            children
                .entry(parent.to_vec())
                .or_default()
                .insert(last.clone());
        }
    }
    let taken: BTreeMap<&Module, BTreeMap<String, String>> = children
        .iter()
        .filter_map(|(parent, of)| {
            let code = code_of.get(parent)?;
            Some((parent, taken_from_children(code, of)))
        })
        .collect();
    let mut edges = Edges::new();
    for (module, code) in &code_of {
        for target in named(code, module) {
            let same = module.iter().zip(&target).take_while(|(a, b)| a == b);
            let depth = same.count();
            let (Some(from), Some(to)) = (module.get(depth), target.get(depth)) else {
                continue;
            };
            let parent = module.get(..depth).unwrap_or_default().to_vec();
            let of = children.get(&parent);
            let to = if of.is_some_and(|of| of.contains(to)) {
                to
            } else if let Some(child) = taken.get(&parent).and_then(|taken| taken.get(to)) {
                child
            } else {
                continue;
            };
            if from != to {
                let folder = edges.entry(parent).or_default();
                folder.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    edges
}

/// Everybody whom one knows, directly or through others.
fn known(of: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut due = vec![from];
    while let Some(one) = due.pop() {
        for next in of.get(one).into_iter().flatten() {
            if known.insert(next.clone()) {
                due.push(next);
            }
        }
    }
    known
}

/// The circles of all folders.
pub(super) fn circles(sources: &[Source]) -> Vec<Circle> {
    let mut found = BTreeSet::new();
    for (folder, of) in &edges(sources) {
        for from in of.keys() {
            let reached = known(of, from);
            if reached.contains(from) {
                let back = reached.iter().filter(|to| known(of, to).contains(from));
                found.insert((folder.join("/"), back.cloned().collect()));
            }
        }
    }
    found.into_iter().collect()
}

#[test]
fn circles_are_found_through_others_and_through_the_parent() {
    let sources = |rows: &[(&str, &str)]| -> Vec<Source> {
        let source = |(path, text): &(&str, &str)| Source {
            path: path.into(),
            text: (*text).to_owned(),
        };
        rows.iter().map(source).collect()
    };
    let direct = [
        ("a/b.rs", "use super::c::{C, d::D};"),
        ("a/c.rs", "fn f() { crate::a::b::g() }"),
        ("a.rs", "mod b; mod c;"),
    ];
    let circle = |folder: &str, of: &[&str]| {
        let of = of.iter().map(|one| (*one).to_owned());
        (folder.to_owned(), of.collect::<Vec<_>>())
    };
    assert_eq!(circles(&sources(&direct)), [circle("a", &["b", "c"])]);
    let through = [
        ("a.rs", "mod b; mod c; mod d; pub use d::{D, E};"),
        ("a/b.rs", "use super::c;"),
        ("a/c.rs", "mod x;"),
        ("a/c/x.rs", "use crate::a::{D};"),
        ("a/d.rs", "use super::b::B;"),
    ];
    assert_eq!(circles(&sources(&through)), [circle("a", &["b", "c", "d"])]);
    let none = [
        ("a.rs", "mod b; mod c; use b::B;"),
        ("a/b.rs", "use super::{A, c::C}; // super::c\n"),
        ("a/c.rs", "#[cfg(test)]\nmod tests { use super::super::b; }"),
        ("a/c/tests.rs", "use crate::a::b::B;"),
        ("a/b/e.rs", "use super::f; use super::super::c;"),
        ("a/b/f.rs", "use super::A;"),
    ];
    assert_eq!(circles(&sources(&none)), []);
}
