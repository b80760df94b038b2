//! Services are known from one list: who runs, judges or tries them does not write their names.

use super::source::{is_test, production, texts};
use super::{Tree, Violation, check, finds};
use node::SERVICES;

/// Where services are run and judged. What one service alone is asked for is found through its `SERVICE` there.
const KNOWS_THE_LIST: [&str; 2] = ["services/node/src/", "shared/checker/src/"];

/// Words on a screen: the archive is a thing there.
const SHOWS: &str = "services/node/src/cli/";

fn is_a_name(text: &str) -> bool {
    SERVICES.iter().any(|service| service.name == text || service.program == text)
}

/// No name of a service as a text in the code of the node and the checker, and no list of names in a test: a list that is
/// kept by hand lacks the newest.
fn names_of_services_come_from_the_list(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let strict = KNOWS_THE_LIST.iter().any(|folder| path.starts_with(folder)) && !is_test(path);
        if path.starts_with(SHOWS) {
            continue;
        }
        if !strict && !path.starts_with("tests/") {
            continue;
        }
        let lines = production(text).lines().count();
        let texts = texts(text).into_iter().map(|(line, text)| (line, text.trim_matches('"').to_owned()));
        let names: Vec<(usize, String)> = texts.filter(|(_, text)| is_a_name(text)).collect();
        if strict {
            found.extend(names.iter().filter(|(line, _)| *line <= lines).map(|(line, name)| {
                format!("{path}:{line}: {name:?}; take it from `{}::SERVICE`", name.replace('-', "_"))
            }));
            continue;
        }
        let raw: Vec<&str> = text.lines().collect();
        for (line, name) in &names {
            let listed = raw.get(line - 1).is_some_and(|raw| is_in_a_list(raw, name));
            if listed {
                found.push(format!("{path}:{line}: a list with {name:?}; take it from node::SERVICES"));
            }
        }
    }
    found
}

/// `["gateway", "scheduler"]`, one after the other between brackets, and nothing but names.
fn is_in_a_list(line: &str, name: &str) -> bool {
    line.split('[').skip(1).filter_map(|rest| rest.split_once(']')).any(|(inside, _)| {
        let items: Vec<&str> = inside.split(',').map(|item| item.trim().trim_matches('"')).collect();
        items.len() > 1 && items.contains(&name) && items.iter().all(|item| is_a_name(item))
    })
}

#[test]
fn the_names_of_services_stand_in_one_list() {
    check(names_of_services_come_from_the_list);
    let sample = [
        ("services/node/src/check.rs", "const ALL: [&str; 2] = [\"gateway\", \"storage\"];\n"),
        (
            "services/node/src/other.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    const X: &str = \"gateway\";\n}\n",
        ),
        ("services/gateway/src/lib.rs", "const OWN: &str = \"gateway\";\n"),
        ("tests/stories/a.rs", "kill(\"scheduler\");\nfor s in [\"scheduler\", \"host-driver\"] {}\n"),
    ];
    let expected = ["check.rs:1: \"gateway\"", "check.rs:1: \"storage\"", "a.rs:2: a list", "a.rs:2: a list"];
    finds(names_of_services_come_from_the_list, &sample, &expected);
}
