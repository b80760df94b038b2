//! The rooms of a service and of its parts: domain is pure, SQL is in the store, a handler is one message.

use super::dependencies::{PARTS, PURE_PARTS};
use super::source::{has_word, is_test, lines_with, production, texts};
use super::{Tree, Violation, check, finds};

/// What a pure file never names.
const IMPURE: [&str; 19] = [
    "sqlx",
    "tokio",
    "prost",
    "prost_types",
    "contracts",
    "bus",
    "chassis",
    "store",
    "futures",
    "async",
    ".await",
    "SystemTime",
    "Instant",
    "rand",
    "getrandom",
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
];

/// Nothing but the database may be awaited inside a transaction.
const NOT_IN_A_TRANSACTION: [&str; 8] = [
    "sleep(",
    "sleep_until(",
    "reqwest",
    "std::fs",
    "tokio::fs",
    "tokio::process",
    "std::process",
    "std::net",
];

/// The crates that speak SQL for everybody.
const SQL_CRATES: [&str; 2] = ["shared/bus/", "shared/store/"];

fn of_room<'a>(tree: &'a Tree, room: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let service = move |path: &str| path.starts_with("services/") && path.contains(&format!("/src/{room}"));
    tree.rust().filter(move |(path, _)| service(path) && !is_test(path))
}

/// Whether a path leads into the domain of a part of the service, which is as pure as this one.
fn is_domain_of_a_part(path: &str) -> bool {
    let leads = |part: &str, room: &str| {
        path.strip_prefix(&part.replace('-', "_")).is_some_and(|rest| rest.starts_with(room))
    };
    let mut parts = PARTS.iter().flat_map(|(_, parts)| parts.iter());
    parts.any(|part| leads(part, "::domain::")) || PURE_PARTS.iter().any(|(part, _)| leads(part, "::"))
}

/// Whether a file is domain: in the room of that name, or in a part that has no other.
fn is_domain(path: &str) -> bool {
    let room = path.contains("/src/domain/") || path.ends_with("/src/domain.rs");
    path.starts_with("services/") && (room || PURE_PARTS.iter().any(|(_, folder)| path.starts_with(folder)))
}

/// domain/ imports kernel, std and the domain of parts below: no async, clock, randomness, IO, no types of the wire.
fn pure_domain(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| is_domain(path) && !is_test(path)) {
        let code = production(text);
        for word in IMPURE {
            found.extend(
                lines_with(&code, word).map(|line| {
                    format!("{path}:{line}: {word} in domain/, which is pure: kernel and std only")
                }),
            );
        }
        for (index, line) in code.lines().enumerate() {
            let Some(import) = line.trim_start().trim_start_matches("pub ").strip_prefix("use ") else {
                continue;
            };
            let root = import.split([':', ';', ' ', ',']).next().unwrap_or_default().trim_start_matches('{');
            let local = code
                .lines()
                .any(|l| has_word(l, &format!("mod {root}")) || has_word(l, &format!("enum {root}")));
            let known = matches!(root, "std" | "core" | "kernel" | "crate" | "super" | "self" | "");
            if !known && !local && !IMPURE.contains(&root) && !is_domain_of_a_part(import) {
                found.push(format!("{path}:{}: domain/ imports kernel and std only, not {root}", index + 1));
            }
        }
    }
    found
}

/// SQL is in store/ and nowhere else.
fn sql_in_the_store(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let home = SQL_CRATES.iter().any(|home| path.starts_with(home))
            || path.contains("/src/store/")
            || path.ends_with("/src/store.rs");
        if home || is_test(path) || path.starts_with("shared/testkit/") {
            continue;
        }
        let kept = production(text).lines().count();
        let sql = texts(text).into_iter().filter(|(line, text)| *line <= kept && is_sql(text));
        found.extend(sql.map(|(line, _)| format!("{path}:{line}: SQL is in store/, nowhere else")));
    }
    found
}

fn is_sql(text: &str) -> bool {
    let has = |words: &[&str]| words.iter().all(|word| text.contains(word));
    [
        &["SELECT ", " FROM "][..],
        &["INSERT INTO "],
        &["UPDATE ", " SET "],
        &["DELETE FROM "],
        &["CREATE TABLE"],
        &["ALTER TABLE"],
    ]
    .iter()
    .any(|words| has(words))
}

/// A handler file handles one message and awaits nothing but the database. A shape for many messages
/// (`impl<M: Message> Handle<M>`) is none of its own.
fn one_message_a_handler(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in of_room(tree, "handlers/") {
        let code = production(text);
        let handled: Vec<(usize, String)> =
            code.lines().enumerate().filter_map(|(i, l)| Some((i + 1, handles(l)?))).collect();
        if handled.len() > 1 {
            let names: Vec<&str> = handled.iter().map(|(_, name)| name.as_str()).collect();
            found.push(format!(
                "{path}:{}: handles {}; one file per message",
                handled[1].0,
                names.join(" and ")
            ));
        }
        for word in NOT_IN_A_TRANSACTION {
            found.extend(lines_with(&code, word).map(|line| {
                format!("{path}:{line}: {word} in a handler; it runs inside a transaction, where only the database is awaited: write the intent, let a reconciler act")
            }));
        }
    }
    found
}

/// The message of an `impl Handle<Message> for …`.
fn handles(line: &str) -> Option<String> {
    let (_, rest) = line.trim_start().strip_prefix("impl ")?.split_once("Handle<")?;
    let name = rest.split('>').next()?;
    Some(name.rsplit("::").next()?.trim().to_owned())
}

#[test]
fn the_domain_is_pure() {
    check(pure_domain);
    let bad = "use sqlx::Any;\nuse serde::Serialize;\n// tokio is only talked about\nuse kernel::Clock;\nfn now() { SystemTime::now() }\nasync fn f() {}\nmod plan;\npub use plan::Plan;\n#[cfg(test)]\nmod tests {\n    use proptest::prelude::*;\n}\n";
    let of_parts = "use gateway_api::domain::names;\nuse gateway_api::translate::status;\nuse scheduler_placement::host;\n";
    let sample = [
        ("services/x/parts/y/src/domain/b.rs", of_parts),
        ("services/scheduler/parts/placement/src/solver/c.rs", "use tokio::sync;\nuse crate::host::Host;\n"),
        ("services/x/src/domain/a.rs", bad),
        ("services/x/src/adapters/b.rs", bad),
        ("services/x/src/domain/a_tests.rs", bad),
    ];
    finds(
        pure_domain,
        &sample,
        &[
            "parts/placement/src/solver/c.rs:1: tokio",
            "parts/y/src/domain/b.rs:2: domain/ imports kernel and std only, not gateway_api",
            "a.rs:1: sqlx",
            "a.rs:6: async",
            "a.rs:5: SystemTime",
            "a.rs:2: domain/ imports kernel and std only, not serde",
        ],
    );
}

#[test]
fn sql_is_in_the_store() {
    check(sql_in_the_store);
    let bad = "fn f() {\n    query(\"SELECT id FROM hosts\");\n    note(\"select from the list\");\n}\n#[cfg(test)]\nmod tests {\n    const X: &str = \"DELETE FROM hosts\";\n}\n";
    let sample = [
        ("services/x/src/api.rs", bad),
        ("services/x/src/store/hosts.rs", bad),
        ("services/x/tests/a.rs", bad),
        ("shared/bus/src/outbox.rs", bad),
    ];
    finds(sql_in_the_store, &sample, &["services/x/src/api.rs:2"]);
}

#[test]
fn a_handler_is_one_message() {
    check(one_message_a_handler);
    let one =
        "impl Handle<CordonHost> for OnCordonHost {\n    async fn handle() { reqwest::get(URL).await }\n}\n";
    let two = "impl Handle<A> for X {}\nimpl Handle<contracts::B> for X {}\n";
    let shape = "impl Handle<A> for X {}\nimpl<M: Message> Handle<M> for Y {}\n";
    let sample = [
        ("services/x/src/handlers/cordon_host.rs", one),
        ("services/x/src/handlers/shape.rs", shape),
        ("services/x/src/handlers/two.rs", two),
    ];
    let expected = ["cordon_host.rs:2: reqwest", "two.rs:2: handles A and B"];
    finds(one_message_a_handler, &sample, &expected);
}
