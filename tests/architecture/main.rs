//! The rules of the house, checked over the source tree. Each rule is a pure function from a tree of files to the
//! places that break it, and each is shown to fail on a bad sample beside it.
#![allow(clippy::unwrap_used, missing_docs)]

mod alerts;
mod dependencies;
mod deploy;
mod documents;
mod fail_points;
mod files;
mod golden;
mod kinds;
mod layers;
mod limits;
mod messages;
mod services;
mod sizes;
mod source;
mod tree;
mod waiting;
mod words;

use tree::Tree;

/// One place that breaks a rule: "services/x/src/domain/a.rs:7: what is wrong, and what would be right".
pub type Violation = String;

type Rule = fn(&Tree) -> Vec<Violation>;

fn check(rule: Rule) {
    let found = rule(&Tree::of_repository());
    assert!(found.is_empty(), "{} places break this rule:\n  {}", found.len(), found.join("\n  "));
}

/// The rule must find exactly these places in a sample of (path, text).
fn finds(rule: Rule, sample: &[(&str, &str)], expected: &[&str]) {
    let found = rule(&Tree::of(sample));
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (violation, words) in found.iter().zip(expected) {
        assert!(violation.contains(words), "expected {words:?} in {violation:?}");
    }
}
