//! The checker and the simulation as an operator meets them: what is sound passes, what is not ends with 1.

use crate::one_instance::{create, prepare};
use serde_json::Value;
use sqlx::Connection;
use std::process::Command;
use stories::node::Node;
use stories::programs::program;

#[tokio::test]
async fn replay_check_passes_a_sound_node_and_tells_what_was_tampered_with() {
    let node = Node::start(&["--simulated-hosts", "2", "--insecure-dev"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&create("web-1", &["--wait"]));
    cli.ok(&create("web-2", &["--wait"]));
    cli.ok(&["instance", "delete", "web-2", "--wait"]);
    let said = cli.ok(&["replay", "check"]);
    assert!(said.contains("no violations") && said.contains("events judged"), "{said}");

    let database = format!("sqlite://{}", node.data_dir().join("scheduler/scheduler.db").display());
    sqlx::any::install_default_drivers();
    let mut scheduler = sqlx::AnyConnection::connect(&database).await.expect("the scheduler's database");
    let done = sqlx::query("UPDATE instances SET reserved = 1 - reserved").execute(&mut scheduler).await;
    assert_eq!(done.expect("changed").rows_affected(), 2);
    let ran = cli.run(&["replay", "check", "-o", "json"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let judged: Value = serde_json::from_str(&ran.out).expect("JSON");
    let found = judged["violations"].as_array().expect("a list");
    assert_eq!(found.len(), 2, "{judged:#}");
    for violation in found {
        assert_eq!(violation["violation"], "RESERVATION_LEAKED");
        let sentence = violation["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains("reservation"), "{sentence}");
    }
}

fn berth(words: &[&str]) -> (i32, String, String) {
    let output = Command::new(program("berth")).args(words).output().expect("berth runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_generated_workload_is_simulated_and_policies_are_compared_side_by_side() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let small = ["--hosts", "6", "--instances", "30", "--seed", "7", "--profile", "gpu-cluster"];
    let generate = |out: &str| berth(&[&["simulate", "generate", "--out", out], small.as_slice()].concat());
    let (code, said, error) = generate(&at("w"));
    assert_eq!(code, 0, "{error}");
    assert_eq!(said.lines().count(), 2, "the files are named: {said}");
    generate(&at("again"));
    for file in ["hosts.csv", "workload.csv"] {
        let read = |folder: &str| std::fs::read(format!("{}/{file}", at(folder))).expect("written");
        assert_eq!(read("w"), read("again"), "a seed makes the same files");
    }
    let files = ["--hosts", &at("w/hosts.csv"), "--workload", &at("w/workload.csv")];
    let run = |more: &[&str]| berth(&[&["simulate", "--quiet"], files.as_slice(), more].concat());
    let (code, table, error) = run(&["--policies", "pack,spread"]);
    assert_eq!(code, 0, "{error}");
    let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["MEASURE", "PACK", "SPREAD"]);
    assert!(table.contains("invariants violated") && table.contains("gpu "), "{table}");
    let (code, text, error) = run(&["-o", "json", "--data-dir", &at("kept")]);
    assert_eq!(code, 0, "{error}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let spread = &report["policies"][0];
    assert_eq!(
        (&spread["instances"]["asked"], &spread["checked"]["violations"]),
        (&30.into(), &Value::Array(vec![]))
    );
    assert_eq!(spread["details"].as_array().map(Vec::len), Some(30));
    assert!(std::path::Path::new(&at("kept/spread/scheduler/scheduler.db")).exists(), "--data-dir stays");
    let (code, _, error) = run(&["--data-dir", &at("kept")]);
    assert_eq!(code, 1, "it never begins in somebody's data");
    assert!(error.contains("not empty"), "{error}");
}

#[test]
fn mistakes_in_the_files_are_all_told_with_their_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hosts, workload) = (folder.path().join("h.csv"), folder.path().join("w.csv"));
    std::fs::write(&hosts, "name,vcpus_milli,memory_mib,disk_gib,gpus,gpu_model,zone,labels\nh,x,1,1,,,,\n")
        .expect("written");
    let header = "name,vcpus_milli,memory_mib,disk_gib,gpus,gpu_milli,group,max_per_host,labels,created_at_s,deleted_at_s";
    std::fs::write(&workload, format!("{header}\nA,1,64,,,,,,,0,\nb,1,64,,,,,,,9,5\n")).expect("written");
    let paths = [hosts.display().to_string(), workload.display().to_string()];
    let (code, _, error) = berth(&["simulate", "--hosts", &paths[0], "--workload", &paths[1]]);
    assert_eq!(code, 2, "{error}");
    for part in ["3 mistakes", "h.csv:2: vcpus_milli is \"x\"", "w.csv:2: name", "w.csv:3: deleted_at_s"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}
