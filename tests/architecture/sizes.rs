//! Crates: how large they are, and how their rooms lean on each other.

use super::source::{is_test, production};
use super::{Tree, Violation, check, finds};
use std::collections::{BTreeMap, BTreeSet};

/// Most lines of Rust under the `src` of a crate.
const LARGEST: usize = 9_500;

/// Crates with a limit of their own, and why. It is lowered when the crate shrinks and never raised.
const LIMITS: [(&str, usize, &str); 2] = [
    ("services/gateway", 5_850, "it puts its parts together; what it serves by itself is to become less"),
    (
        "services/berth",
        7_400,
        "verbs of declared kinds are made from their declarations; those written by hand become fewer",
    ),
];

/// How far below its own limit a crate may be before the limit has to follow.
const SLACK: usize = 250;

/// Rooms that import each other today: a crate and two of its rooms. To be taken out, and none put in.
const CIRCLES: [(&str, &str, &str); 3] = [
    ("shared/bus", "connection", "wait"),
    ("shared/contracts", "catalogue", "told"),
    ("tests", "chaos", "whereabouts"),
];

/// The folders of the crates, without '/' at the end.
fn crates(tree: &Tree) -> impl Iterator<Item = &str> {
    tree.files.keys().filter_map(|path| path.strip_suffix("/Cargo.toml"))
}

fn sources<'a>(tree: &'a Tree, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    tree.rust()
        .filter_map(move |(path, text)| Some((path.strip_prefix(folder)?.strip_prefix("/src/")?, text)))
}

/// A crate that is too large to be read is split before it grows on.
fn sizes(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for folder in crates(tree) {
        let lines: usize = sources(tree, folder).map(|(_, text)| text.lines().count()).sum();
        let own = LIMITS.iter().find(|(name, ..)| *name == folder);
        let most = own.map_or(LARGEST, |(_, most, _)| *most);
        if lines > most {
            found.push(format!("{folder}: {lines} lines in src, at most {most}: split it into parts"));
        }
    }
    found
}

/// The room that a source file is in: a folder or a file right under `src`.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// How many modules a source file is below the root of its crate.
fn depth(path: &str) -> usize {
    path.split('/').count() - usize::from(path.ends_with("/mod.rs"))
}

/// The names right under the root that a source file imports or calls.
fn used(path: &str, text: &str) -> BTreeSet<String> {
    let code: String = production(text).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = BTreeSet::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth(path))] {
        for (at, _) in code.match_indices(&root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                continue;
            }
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(list) => found.extend(heads(list)),
                None => found.extend(head(rest)),
            }
        }
    }
    found
}

fn head(path: &str) -> Option<String> {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    (end > 0).then(|| path[..end].to_owned())
}

/// The first names of the paths in `a::{b, c}, d}`.
fn heads(list: &str) -> Vec<String> {
    let (mut inside, mut begins, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => inside += 1,
            '}' if inside > 0 => inside -= 1,
            ',' | '}' if inside == 0 => {
                found.extend(head(list[begins..at].trim()));
                begins = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Which room of a crate imports which.
fn imports<'a>(tree: &'a Tree, folder: &'a str) -> Imports<'a> {
    let files: Vec<(&str, &str)> = sources(tree, folder)
        .filter(|(path, _)| !is_test(&format!("{folder}/src/{path}").replace("tests/src/", "src/")))
        .filter(|(path, _)| !matches!(room(path), "lib" | "main" | "bin"))
        .collect();
    let rooms: BTreeSet<&str> = files.iter().map(|(path, _)| room(path)).collect();
    let mut all = Imports::new();
    for (path, text) in &files {
        let from = room(path);
        let used = used(path, text);
        let others = rooms.iter().filter(|to| **to != from && used.contains(**to));
        all.entry(from).or_default().extend(others);
    }
    all
}

fn reaches(imports: &Imports<'_>, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(room) = open.pop() {
        for next in imports.get(room).into_iter().flatten() {
            if *next == to {
                return true;
            }
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    false
}

/// No two rooms of a crate need each other: one can be read, tested and moved without the other.
fn circles(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for folder in crates(tree) {
        let imports = imports(tree, folder);
        for (from, to) in imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (*from, *to))) {
            let known = CIRCLES
                .iter()
                .any(|(name, a, b)| *name == folder && ((*a, *b) == (from, to) || (*b, *a) == (from, to)));
            if !known && reaches(&imports, to, from) {
                found.push(format!("{folder}: {from} imports {to}, which leads back to {from}"));
            }
        }
    }
    found
}

#[test]
fn crates_are_not_larger_than_they_may_be() {
    check(sizes);
    let (fits, large) = ("x\n".repeat(LARGEST), "x\n".repeat(LARGEST + 1));
    let gateway = "x\n".repeat(6_000);
    let sample = [
        ("services/gateway/Cargo.toml", ""),
        ("services/gateway/src/lib.rs", gateway.as_str()),
        ("services/gateway/parts/a/Cargo.toml", ""),
        ("services/gateway/parts/a/src/lib.rs", &fits),
        ("services/gateway/tests/a.rs", &large),
        ("shared/b/Cargo.toml", ""),
        ("shared/b/src/lib.rs", &large),
    ];
    finds(sizes, &sample, &["services/gateway: 6000 lines", "shared/b: 9501 lines"]);
}

#[test]
fn limits_follow_what_shrinks() {
    let tree = Tree::of_repository();
    for (folder, most, why) in LIMITS {
        let lines: usize = sources(&tree, folder).map(|(_, text)| text.lines().count()).sum();
        assert!(lines + SLACK >= most, "{folder} has {lines} lines: lower its limit of {most} ({why})");
    }
}

#[test]
fn rooms_do_not_import_each_other() {
    check(circles);
    let sample = [
        ("services/x/Cargo.toml", ""),
        ("services/x/src/lib.rs", "use crate::api::A;\n"),
        ("services/x/src/api/mod.rs", "use crate::store::rows;\n"),
        ("services/x/src/api/audit.rs", "use crate::{\n    domain::{a, rest},\n    rest::B,\n};\n"),
        ("services/x/src/rest.rs", "fn f() { super::api::g() }\n"),
        (
            "services/x/src/store/rows.rs",
            "use super::super::domain::C;\n// use crate::api\n#[cfg(test)]\nmod tests {\n    use crate::api::D;\n}\n",
        ),
        ("services/x/src/store/rows_tests.rs", "use crate::api::D;\n"),
        ("services/x/src/domain/mod.rs", "use other::crate::api;\n"),
    ];
    let expected =
        ["api imports rest, which leads back to api", "rest imports api, which leads back to rest"];
    finds(circles, &sample, &expected);
}

#[test]
fn every_circle_in_the_list_is_still_there() {
    let tree = Tree::of_repository();
    for (folder, a, b) in CIRCLES {
        let imports = imports(&tree, folder);
        let both = reaches(&imports, a, b) && reaches(&imports, b, a);
        assert!(both, "{a} and {b} of {folder} import each other no more: take them out of the list");
    }
}
