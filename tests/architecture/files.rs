//! Files: where they are, how long they are, what they are called.

use super::source::{code, is_test, lines_with};
use super::{Tree, Violation, check, finds};

const TOP_LEVEL: [&str; 17] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "compose.yaml",
    "Makefile",
    "LICENSE",
    "proto/",
    "shared/",
    "services/",
    "deploy/",
    "observability/",
    "tests/", // tool settings and what builds make:
    "rustfmt.toml",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "target/",
];

const LONGEST: usize = 500;
const LONGEST_MAIN: usize = 40;

/// Nothing is added to the top level but dot files and tool settings.
fn top_level(tree: &Tree) -> Vec<Violation> {
    let stray =
        tree.top_level.iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()));
    stray.map(|name| format!("{name}: the top level is fixed; put it into one of its folders")).collect()
}

/// No hand-written file is longer than 500 lines.
fn length(tree: &Tree) -> Vec<Violation> {
    let long = |(path, text): (&str, &str)| {
        let lines = text.lines().count();
        (lines > LONGEST).then(|| {
            format!("{path}: {lines} lines; split it into files of one idea each, at most {LONGEST} lines")
        })
    };
    tree.rust().filter_map(long).collect()
}

/// A main is a few lines: what a process starts is told by `wire()` in lib.rs.
fn short_mains(tree: &Tree) -> Vec<Violation> {
    let mains = tree.rust().filter(|(path, _)| path.ends_with("src/main.rs"));
    let long = mains.filter(|(_, text)| text.lines().count() > LONGEST_MAIN);
    long.map(|(path, text)| format!("{path}: {} lines; at most {LONGEST_MAIN}", text.lines().count()))
        .collect()
}

/// Names that say nothing about what is inside.
fn names(tree: &Tree) -> Vec<Violation> {
    const EMPTY: [&str; 7] = ["utils", "util", "helpers", "helper", "manager", "common", "misc"];
    let said = |path: &str| {
        let parts = path.strip_suffix(".rs").unwrap_or(path).split('/');
        parts
            .into_iter()
            .find(|part| EMPTY.contains(part))
            .map(|part| format!("{path}: {part:?} says nothing; name the idea"))
    };
    tree.rust().filter_map(|(path, _)| said(path)).collect()
}

/// A test that does nothing is not a test, and code that is not there yet is not code. Waiting is
/// `testkit::eventually`, never sleep.
fn forbidden_words(tree: &Tree) -> Vec<Violation> {
    // built from parts, so that this file does not break its own rule
    let everywhere = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!"));
    let ignore = format!("#[{}", "ignore");
    let sleeps = ["sleep(", "sleep_until("];
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let code = code(text);
        for word in everywhere.iter().chain([&ignore]) {
            found.extend(
                lines_with(&code, word).map(|line| format!("{path}:{line}: {word} is not left in the code")),
            );
        }
        if !is_test(path) || SLEEPS.iter().any(|(allowed, _)| *allowed == path) {
            continue;
        }
        for word in sleeps {
            let why = "waiting in a test is testkit::eventually, never sleep";
            found.extend(lines_with(&code, word).map(|line| format!("{path}:{line}: {why}")));
        }
    }
    found
}

/// Tests that may sleep, and why.
const SLEEPS: [(&str, &str); 9] = [
    ("shared/testkit/src/eventually.rs", "it is what others wait with"),
    ("shared/bus/tests/support/mod.rs", "a handler that is slow on purpose"),
    ("shared/bus/tests/once.rs", "shows that nothing more arrives within a time"),
    (
        "services/berth/tests/behaviour/services.rs",
        "lets what was said reach the client before the connection is cut",
    ),
    ("tests/architecture/files.rs", "holds the words themselves"),
    ("tests/src/chaos/monkey.rs", "the time between two mishaps, and how long a mishap lasts"),
    ("tests/src/chaos/users.rs", "users do not all begin at once"),
    ("tests/src/proxy.rs", "a bad network holds messages back"),
    ("tests/benches/src/memory.rs", "an idle node is one that was left alone for a while"),
];

#[test]
fn the_top_level_is_fixed() {
    check(top_level);
    finds(top_level, &[("scripts/a.rs", ""), ("services/x/src/lib.rs", "")], &["scripts/"]);
}

#[test]
fn files_are_short() {
    check(length);
    let (long, fits) = ("x\n".repeat(501), "x\n".repeat(500));
    finds(length, &[("services/x/src/a.rs", &long), ("services/x/src/b.rs", &fits)], &["a.rs: 501 lines"]);
}

#[test]
fn mains_are_a_few_lines() {
    check(short_mains);
    finds(short_mains, &[("services/x/src/main.rs", &"x\n".repeat(41))], &["41 lines"]);
}

#[test]
fn names_say_something() {
    check(names);
    let sample = [
        ("services/x/src/utils.rs", ""),
        ("shared/y/src/manager/mod.rs", ""),
        ("services/x/src/plan.rs", ""),
    ];
    finds(names, &sample, &["utils", "manager"]);
}

#[test]
fn no_unfinished_code_and_no_sleeping_tests() {
    check(forbidden_words);
    let unfinished = format!("fn a() {{ {}!() }}\n#[{}]\nfn b() {{}}\n", "todo", "ignore");
    let sample = [
        ("services/x/src/a.rs", unfinished.as_str()),
        ("services/x/src/b.rs", "// a comment about todo! is fine\nfn c() { sleep(1) }\n"),
        ("services/x/tests/c.rs", "fn d() {\n    tokio::time::sleep(SHORT).await;\n}\n"),
    ];
    finds(forbidden_words, &sample, &["a.rs:1", "a.rs:2", "c.rs:2: waiting in a test"]);
}

#[test]
fn every_exception_is_still_needed() {
    let tree = Tree::of_repository();
    for (path, why) in SLEEPS {
        let text =
            tree.files.get(path).unwrap_or_else(|| panic!("{path} is gone: remove its exception ({why})"));
        assert!(text.contains("sleep"), "{path} sleeps no more: remove its exception ({why})");
    }
}
