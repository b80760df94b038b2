//! Fail points: each name in `shared/bus/src/fail.rs` stands at a place in the code, and each place has a name of its
//! own. The tests of the bus die at every name, so a step without a place would be proved by nothing.

use super::source::{code, is_test};
use super::{Tree, Violation, check, finds};

const NAMES: &str = "shared/bus/src/fail.rs";

fn names(tree: &Tree) -> Vec<(usize, String)> {
    let Some(text) = tree.files.get(NAMES) else { return Vec::new() };
    let code = code(text);
    let lines = code.lines().enumerate().skip_while(|(_, line)| !line.contains("enum FailPoint"));
    let body = lines.skip(1).take_while(|(_, line)| line.trim() != "}");
    let variant = |(index, line): (usize, &str)| {
        let name = line.trim().strip_suffix(',')?;
        (!name.is_empty() && name.chars().all(char::is_alphanumeric)).then(|| (index + 1, name.to_owned()))
    };
    body.filter_map(variant).collect()
}

/// Every name is reached somewhere in the code.
fn every_point_is_reached(tree: &Tree) -> Vec<Violation> {
    let sources: Vec<String> =
        tree.rust().filter(|(path, _)| !is_test(path)).map(|(_, text)| code(text)).collect();
    let reached = |name: &str| {
        let call = format!("FailPoint::{name}.reached()");
        sources.iter().any(|code| code.contains(&call))
    };
    names(tree)
        .into_iter()
        .filter(|(_, name)| !reached(name))
        .map(|(line, name)| {
            format!(
                "{NAMES}:{line}: nothing reaches {name}; write FailPoint::{name}.reached().await at its step"
            )
        })
        .collect()
}

#[test]
fn fail_points_are_places_in_the_code() {
    assert!(names(&Tree::of_repository()).len() >= 10, "the names are found");
    check(every_point_is_reached);
    let sample = [
        (NAMES, "pub enum FailPoint {\n    /// One.\n    One,\n    /// Two.\n    Two,\n}\n"),
        ("shared/bus/src/a.rs", "FailPoint::One.reached().await; // FailPoint::Two.reached()"),
    ];
    finds(every_point_is_reached, &sample, &["fail.rs:5: nothing reaches Two"]);
}
