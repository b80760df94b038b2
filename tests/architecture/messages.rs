//! Golden bytes: what was once written to the bus is read for ever.
//!
//! Each message of the bus has `tests/golden/<full name>.hex`: a sample with every field set, encoded when the message
//! was new. Fields are added, never changed, so these bytes must decode today without loss and with the same meaning.
//! When fields are added the full sample goes beside it as `<full name>.2.hex`, and so on. Golden bytes are added,
//! never edited: `BERTH_WRITE_GOLDEN=1` writes what is missing and overwrites nothing.

use super::golden::{Golden, judge, sample};
use prost_reflect::DescriptorPool;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// All golden files by message; the files of one message in the order they were added.
fn committed() -> BTreeMap<String, Vec<Golden>> {
    let mut all: BTreeMap<String, Vec<Golden>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let golden = Golden::read(&file, &std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|why| panic!("{file}: {why}"));
        all.entry(golden.message.clone()).or_default().push(golden);
    }
    all.values_mut().for_each(|files| files.sort_by_key(|golden| golden.number));
    all
}

#[test]
fn every_message_of_the_bus_still_reads_what_was_written() {
    let (pool, write) = (contracts::pool(), std::env::var_os("BERTH_WRITE_GOLDEN").is_some());
    let mut committed = committed();
    let mut found = Vec::new();
    for entry in contracts::CATALOGUE {
        let goldens = committed.remove(entry.full_name).unwrap_or_default();
        let verdict = judge(pool, entry.full_name, &goldens);
        found.extend(verdict.problems);
        let Some(file) = verdict.missing else { continue };
        if write {
            let bytes = sample(pool, entry.full_name);
            let mut new =
                std::fs::File::options().write(true).create_new(true).open(folder().join(&file)).unwrap();
            std::io::Write::write_all(&mut new, Golden::text(&bytes).as_bytes()).unwrap();
        } else {
            let command =
                "BERTH_WRITE_GOLDEN=1 cargo nextest run --workspace -E 'test(still_reads_what_was_written)'";
            found.push(format!("tests/golden/{file} is missing; write it with: {command}"));
        }
    }
    let orphans = committed
        .keys()
        .map(|name| format!("{name} has golden bytes but is gone from proto/: messages are never removed"));
    found.extend(orphans);
    assert!(found.is_empty(), "{} problems:\n  {}", found.len(), found.join("\n  "));
}

/// A pool with one message, compiled from `fields`.
fn pool_of(fields: &str) -> DescriptorPool {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "syntax = \"proto3\"; package t; message M {{ {fields} }} message In {{ string id = 1; }} enum E {{ E_UNSPECIFIED = 0; E_ONE = 1; E_TWO = 2; }}"
    );
    std::fs::write(folder.path().join("t.proto"), text).unwrap();
    let files = protox::compile(["t.proto"], [folder.path()]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

const BEFORE: &str = "string name = 1; uint64 size = 2; repeated In parts = 3; E kind = 4; map<string, int64> counts = 5; oneof o { bool yes = 6; bytes raw = 7; } optional sint32 s = 8;";

fn judge_change(after: &str) -> (Vec<String>, Option<String>) {
    let old = Golden { message: "t.M".into(), number: 1, bytes: sample(&pool_of(BEFORE), "t.M") };
    let verdict = judge(&pool_of(after), "t.M", &[old]);
    (verdict.problems, verdict.missing)
}

#[test]
fn nothing_changed_is_fine() {
    assert_eq!(judge_change(BEFORE), (vec![], None));
    assert_eq!(judge_change(&BEFORE.replace("E kind", "  E  kind")), (vec![], None));
}

#[test]
fn a_new_message_and_a_new_field_want_golden_bytes() {
    let verdict = judge(&pool_of(BEFORE), "t.M", &[]);
    assert_eq!((verdict.problems.len(), verdict.missing.as_deref()), (0, Some("t.M.hex")));
    assert_eq!(judge_change(&format!("{BEFORE} string more = 9;")), (vec![], Some("t.M.2.hex".into())));
}

#[test]
fn whatever_breaks_old_bytes_is_found() {
    for (what, after) in [
        ("removed", BEFORE.replace("uint64 size = 2;", "")),
        ("renumbered", BEFORE.replace("size = 2", "size = 9")),
        ("another type", BEFORE.replace("uint64 size", "string size")),
        ("another type of the same encoding", BEFORE.replace("sint32 s", "int32 s")),
        ("renamed", BEFORE.replace("string name", "string title")),
        ("swapped", BEFORE.replace("name = 1; uint64 size = 2", "name = 2; uint64 size = 1")),
        ("no longer repeated", BEFORE.replace("repeated In parts", "In parts")),
        ("one variant of a oneof removed", BEFORE.replace("bool yes = 6;", "")),
    ] {
        let (problems, missing) = judge_change(&after);
        assert!(!problems.is_empty(), "{what} was not found (missing: {missing:?})");
    }
}
