//! Kinds of objects are known from their declarations: whoever shows them or takes requests about them names none.

use super::source::{is_test, production, texts};
use super::{Tree, Violation, check, finds};

/// What works for all kinds.
const KNOWS_NONE: [&str; 4] = ["services/gateway/", "services/berth/", "services/node/", "shared/client/"];
/// Where the line of each permission is written down, by a test.
const WRITTEN: [&str; 1] = ["services/gateway/parts/api/src/domain/permissions_of_kinds.rs"];
/// What uses objects of one kind for something else, and what for.
const USES: [(&str, &str); 1] =
    [("services/gateway/src/api/lookup.rs", "instances are created with public keys that the tenant keeps")];

fn nobody_names_a_declared_kind(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let strict = KNOWS_NONE.iter().any(|folder| path.starts_with(folder))
            && path.contains("/src/")
            && !is_test(path);
        if !strict || WRITTEN.contains(&path) || USES.iter().any(|(place, _)| path.starts_with(place)) {
            continue;
        }
        let code = production(text);
        let mut named: Vec<(usize, String)> = texts(text)
            .into_iter()
            .map(|(line, text)| (line, text.trim_matches('"').to_owned()))
            .filter(|(line, text)| *line <= code.lines().count() && is_a_kind(|kind| kind.name == text))
            .collect();
        for (number, line) in code.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let types = words.filter(|word| is_a_kind(|kind| kind.message.rsplit('.').next() == Some(word)));
            named.extend(types.map(|word| (number + 1, word.to_owned())));
        }
        let sentence =
            |(line, name)| format!("{path}:{line}: names the kind {name}; take it from its declaration");
        found.extend(named.into_iter().map(sentence));
    }
    found
}

fn is_a_kind(this: impl Fn(&contracts::ObjectKind) -> bool) -> bool {
    contracts::KINDS.iter().any(|kind| kind.served && this(kind))
}

#[test]
fn declared_kinds_are_known_by_their_declarations_alone() {
    check(nobody_names_a_declared_kind);
    let sample = [
        (
            "services/gateway/src/api/a.rs",
            "use contracts::scheduler::v1::SshKey;\nlet f = Format::SshKeyFile;\n",
        ),
        ("services/berth/src/cli/b.rs", "// an \"ssh_key\"\nif kind == \"ssh_key\" {}\n"),
        ("services/scheduler/src/kinds/ssh_key.rs", "pub struct SshKey;\n"),
        ("services/gateway/src/api/c.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use SshKey;\n}\n"),
    ];
    finds(nobody_names_a_declared_kind, &sample, &["b.rs:2", "a.rs:1"]);
}
