//! What is written for people: each service says what it owns and when it fails, each message what it is for.

use super::{Tree, Violation, check, finds};

const SECTIONS: [&str; 5] = ["owns", "listens to", "says", "tables", "when it fails"];

/// Every service has a README.md with the same sections.
fn readmes(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for service in tree.services() {
        let path = format!("services/{service}/README.md");
        let Some(text) = tree.files.get(&path) else {
            found.push(format!("{path} is missing: it says what the service owns, listens to, says, its tables and when it fails"));
            continue;
        };
        let headings: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| line.trim_matches(['#', ' ']).to_lowercase())
            .collect();
        for section in SECTIONS {
            if !headings.iter().any(|heading| heading == section) {
                found.push(format!("{path}: the section {section:?} is missing"));
            }
        }
    }
    found
}

/// Every message, enum, service and method in proto/ is documented.
fn protos(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.ends_with(".proto")) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let declared =
                ["message ", "enum ", "service ", "rpc "].iter().find_map(|kind| line.strip_prefix(kind));
            let Some(name) = declared.map(|rest| rest.split([' ', '(', '{']).next().unwrap_or_default())
            else {
                continue;
            };
            if !index.checked_sub(1).is_some_and(|before| lines[before].starts_with("//")) {
                found.push(format!("{path}:{}: {name} has no comment", index + 1));
            }
        }
        if !lines.iter().any(|line| line.starts_with("package berth.")) {
            found.push(format!("{path}: the package is berth.<service>.<version>"));
        }
    }
    found
}

#[test]
fn every_service_has_a_readme() {
    check(readmes);
    let sample = [
        ("services/a/src/main.rs", ""),
        ("services/b/src/main.rs", ""),
        ("services/b/README.md", "# b\n## Owns\n## Listens to\n## Says\n## When it fails\n"),
        ("services/stub/src/lib.rs", ""),
    ];
    finds(readmes, &sample, &["services/a/README.md is missing", "\"tables\" is missing"]);
}

#[test]
fn every_message_is_documented() {
    check(protos);
    let bad = "package berth.x.v1;\n// Fine.\nmessage A {}\n\nmessage B {}\nservice S {\n  rpc Do(A) returns (B);\n}\n";
    finds(protos, &[("proto/berth/x/v1/a.proto", bad)], &[":5: B", ":6: S", ":7: Do"]);
}
