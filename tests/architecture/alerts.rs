//! Alerts ask for metrics that exist: one that asks for a name nobody counts under never fires, and looks well.

use super::{Tree, Violation};
use std::collections::BTreeSet;
use std::path::Path;

/// What Prometheus adds to the name of an instrument.
const ADDED: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

/// Names of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("berth_")).map(str::to_owned).collect()
}

/// Metrics in a file of rules that no instrument of the source makes.
fn unknown(path: &str, rules: &str, tree: &Tree) -> Vec<Violation> {
    let asked =
        rules.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let is_made = |name: &str| tree.rust().any(|(_, text)| text.contains(&format!("\"{name}\"")));
    let known =
        |name: &str| is_made(name) || ADDED.iter().filter_map(|added| name.strip_suffix(added)).any(is_made);
    let missing = names(&asked).into_iter().filter(|name| !known(name));
    missing.map(|name| format!("{path}: nobody counts under {name}")).collect()
}

#[test]
fn alerts_ask_for_metrics_that_exist() {
    let tree = Tree::of_repository();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../observability/prometheus/rules");
    let (mut found, mut files) = (Vec::new(), 0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        found.extend(unknown(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap(), &tree));
        files += 1;
    }
    assert!(files >= 7, "{files} files of rules at {}", folder.display());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_name_that_nobody_counts_under_is_found() {
    let tree = Tree::of(&[("services/x/src/a.rs", "meter.u64_counter(\"berth_things\")")]);
    let rules = "expr: rate(berth_things_total[5m]) > berth_others_total # berth_things";
    assert_eq!(unknown("r.yaml", rules, &tree), ["r.yaml: nobody counts under berth_others_total"]);
}
