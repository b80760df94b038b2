//! The project speaks of itself alone.

use super::{Tree, Violation, check, finds};

/// Traces of the place where the code was written have no business in it.
fn speaks_of_itself(tree: &Tree) -> Vec<Violation> {
    // built from parts, so that this file does not break its own rule
    let traces =
        [["/wo", "rk/"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat(), ["TO", "DO"].concat()];
    let mut found = Vec::new();
    for (path, text) in &tree.files {
        for (index, line) in text.lines().enumerate() {
            let trace = traces.iter().find(|trace| line.contains(trace.as_str()));
            found.extend(trace.map(|trace| format!("{path}:{}: {trace:?} has no place here", index + 1)));
        }
    }
    found
}

#[test]
fn no_traces_of_the_workplace() {
    check(speaks_of_itself);
    let bad = format!("fine\n// {}{}: later\n", "TO", "DO");
    finds(speaks_of_itself, &[("services/x/src/a.rs", &bad)], &["a.rs:2"]);
}
