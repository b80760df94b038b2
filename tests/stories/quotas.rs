//! A tenant has what its quota allows: by the command line, on the whole system, with everybody asking at once and after a
//! node that was killed.

use crate::one_instance::{IMAGE, create, prepare};
use std::process::Stdio;
use stories::cli::Cli;
use stories::node::Node;
use stories::programs::small_image;

fn used(cli: &Cli, tenant: &str, name: &str) -> (u64, Option<u64>) {
    let answer = cli.json(&["quota", "show", tenant]);
    let found = answer["uses"].as_array().expect("uses").iter().find(|one| one["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} in {answer}"));
    (found["used"].as_u64().unwrap_or(0), found["limit"].as_u64())
}

/// Creates many at once; answers how many were made.
fn all_at_once(cli: &Cli, names: &[String]) -> usize {
    let begin = |name: &String| {
        let mut command = cli.command(&create(name, &["--wait", "-o", "json"]));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("berth runs")
    };
    let begun: Vec<_> = names.iter().map(begin).collect();
    let mut made = 0;
    for one in begun {
        let ran = one.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        match ran.status.code() {
            Some(0) => made += 1,
            // refused at the door, or by the scheduler a moment later
            _ => assert!(said.contains("QUOTA_EXCEEDED") && said.contains("instances: "), "{said}"),
        }
    }
    made
}

#[tokio::test]
async fn a_tenant_has_what_its_quota_allows_and_no_more() {
    let mut node = Node::start(&["--simulated-hosts", "2"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&["tenant", "create", "acme"]);
    let manifest = small_image();
    let manifest = manifest.to_str().expect("a readable path");
    cli.ok(&["--tenant", "acme", "image", "import", IMAGE, "--manifest", manifest]);

    let said =
        cli.ok(&["quota", "set", "default", "--instances", "2", "--memory", "1GiB", "--networks", "5"]);
    assert!(said.contains("nothing counts this yet"), "{said}");
    cli.ok(&create("web-1", &["--wait"]));
    cli.ok(&create("web-2", &["--wait"]));
    assert_eq!(used(&cli, "default", "instances"), (2, Some(2)));
    assert_eq!(used(&cli, "", "memory"), (256 << 20, Some(1 << 30)));
    assert_eq!(used(&cli, "default", "images").0, 1);
    let refused = cli.fails(4, &create("web-3", &[]));
    assert!(refused.contains("QUOTA_EXCEEDED"), "{refused}");
    assert!(refused.contains("instances: 2 of 2 used, 1 asked for"), "{refused}");
    // another tenant is none the wiser
    cli.ok(&[&["--tenant", "acme"], create("web-1", &["--wait"]).as_slice()].concat());

    // what is given back is there again, what is named changes, and the rest stays
    cli.ok(&["instance", "delete", "web-1", "--wait"]);
    cli.ok(&create("web-3", &["--wait"]));
    cli.ok(&["quota", "set", "default", "--instances", "5", "--no-limit", "memory"]);
    assert_eq!(used(&cli, "default", "memory").1, None);
    assert_eq!(used(&cli, "default", "networks").1, Some(5));

    // everybody at once: the door sees late, the owner counts
    let names: Vec<String> = (0..8).map(|n| format!("rush-{n}")).collect();
    assert_eq!(all_at_once(&cli, &names), 3);
    assert_eq!(used(&cli, "default", "instances"), (5, Some(5)));

    // killed and started again it counts the same
    node.kill();
    node.up().await;
    cli.fails(4, &create("late", &["--wait"]));
    cli.ok(&["instance", "delete", "web-2", "--wait"]);
    cli.ok(&create("late", &["--wait"]));
    assert_eq!(used(&cli, "default", "instances"), (5, Some(5)));

    // images: one is there, and no more is taken in
    cli.ok(&["quota", "set", "acme", "--images", "1"]);
    let refused =
        cli.run(&["--tenant", "acme", "image", "import", "second", "--manifest", manifest, "--wait"]);
    assert!(refused.code != 0 && refused.err.contains("images: 1 of 1 used, 1 asked for"), "{}", refused.err);
    let listed = cli.ok(&["quota", "list"]);
    assert!(listed.contains("acme") && listed.contains("5 of 5"), "{listed}");
    assert!(cli.fails(3, &["quota", "show", "nobodys"]).contains("nobodys"));

    // all of it comes out of the events again
    cli.ok(&["replay", "verify"]);
    assert!(node.stop());
}
