//! Kinds of objects are known from their declarations: whoever shows them or takes requests about them names none.

use super::source::production;
use super::{Tree, Violation, check, finds};

/// What works for all kinds.
const KNOWS_NONE: [&str; 4] = ["services/gateway/", "services/berth/", "services/node/", "shared/client/"];
/// Where the line of each permission is written down, by a test.
const WRITTEN: [&str; 1] = ["services/gateway/parts/api/src/domain/permissions_of_kinds.rs"];
/// What uses objects of one kind for something else, and what for.
const USES: [(&str, &str); 1] =
    [("services/gateway/src/api/lookup.rs", "instances are created with public keys that the tenant keeps")];

/// The names of a kind in code: `ssh_key`, `SshKey`.
fn names(kind: &contracts::ObjectKind) -> [String; 2] {
    let message = kind.message.rsplit('.').next().unwrap_or_default();
    [format!("\"{}\"", kind.name), message.to_owned()]
}

fn nobody_names_a_declared_kind(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let strict = KNOWS_NONE.iter().any(|folder| path.starts_with(folder)) && path.contains("/src/");
        if !strict || WRITTEN.contains(&path) || USES.iter().any(|(place, _)| path.starts_with(place)) {
            continue;
        }
        for (number, line) in production(text).lines().enumerate() {
            for name in contracts::KINDS.iter().filter(|kind| kind.served).flat_map(names) {
                let whole = line.match_indices(&name).any(|(at, _)| {
                    let after = line[at + name.len()..].chars().next();
                    let before = line[..at].chars().next_back();
                    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                    !word(before) && !word(after)
                });
                if whole && !line.trim_start().starts_with("//") {
                    found.push(format!(
                        "{path}:{}: names the kind {name}; take it from its declaration",
                        number + 1
                    ));
                }
            }
        }
    }
    found
}

#[test]
fn declared_kinds_are_known_by_their_declarations_alone() {
    check(nobody_names_a_declared_kind);
    let sample = [
        (
            "services/gateway/src/api/a.rs",
            "use contracts::scheduler::v1::SshKey;\nlet f = Format::PublicKeyFile;\n",
        ),
        ("services/berth/src/cli/b.rs", "// an \"ssh_key\"\nif kind == \"ssh_key\" {}\n"),
        ("services/scheduler/src/kinds/ssh_key.rs", "pub struct SshKey;\n"),
        ("services/gateway/src/api/c.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use SshKey; }\n"),
    ];
    finds(nobody_names_a_declared_kind, &sample, &["a.rs:1", "b.rs:2"]);
}
