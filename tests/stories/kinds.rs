//! A kind of object that is known by its declaration alone, as a user meets it: on the command line, by REST, in an
//! instance, and after the node was killed.

use crate::one_instance::{IMAGE, create, prepare};
use crate::public_door::Door;
use reqwest::StatusCode;
use serde_json::json;
use std::time::Duration;
use stories::node::Node;
use testkit::eventually;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";
const FINGERPRINT: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

#[tokio::test]
async fn a_public_key_is_kept_shown_used_and_forgotten() {
    let mut node = Node::start(&["--simulated-hosts", "2"]).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&["ssh-key", "create", "laptop", "--public-key", KEY, "--label", "team=web", "--wait"]);
    let list = cli.ok(&["ssh-key", "list", "--label", "team=web"]);
    assert!(list.contains("laptop") && list.contains("ssh-ed25519") && list.contains(FINGERPRINT), "{list}");
    assert_eq!(cli.ok(&["ssh-key", "list", "--label", "team=db"]), "no ssh keys\n");
    let again = cli.run(&["ssh-key", "create", "laptop", "--public-key", KEY, "--wait"]);
    assert!(again.code == 4 && again.err.contains("SSH_KEY_EXISTS"), "{}", again.err);

    // an instance is created with it by its name, and keeps it
    cli.ok(&create("web-1", &["--ssh-key", "laptop", "--wait"]));
    let web = cli.json(&["instance", "show", "web-1"]);
    assert_eq!(web["instance"]["spec"]["ssh_authorized_keys"], json!([KEY]));
    let unknown = cli.run(&create("web-2", &["--ssh-key", "nobodys"]));
    assert!(unknown.code != 0 && unknown.err.contains("SSH_KEY_NOT_FOUND"), "{}", unknown.err);

    // by REST once per key, in whatever order the labels come
    let door = Door::of(&node);
    let body = |labels: &str| format!(r#"{{"name":"desk","public_key":"{KEY}","labels":{labels}}}"#);
    let (status, first) = door.post("/v1/ssh-keys", "key-1", body(r#"{"a":"1","b":"2","c":"3"}"#)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    for labels in [r#"{"c":"3","b":"2","a":"1"}"#, r#"{"b":"2","a":"1","c":"3"}"#] {
        let (_, same) = door.post("/v1/ssh-keys", "key-1", body(labels)).await;
        assert_eq!(same, first, "the same request");
    }
    let (status, problem) = door.post("/v1/ssh-keys", "key-1", body("{}")).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::CONFLICT, &json!("IDEMPOTENCY_KEY_REUSED")),
        "{problem}"
    );
    let id = first["object_id"].as_str().expect("an id");
    let (status, shown) = door.get(&format!("/v1/ssh-keys/{id}")).await;
    assert_eq!(
        (status, &shown["name"], &shown["labels"]["b"]),
        (StatusCode::OK, &json!("desk"), &json!("2"))
    );
    let (status, problem) =
        door.post("/v1/ssh-keys", "key-2", r#"{"name":"x","public_key":"y"}"#.into()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    assert!(problem.to_string().contains("public_key"), "{problem}");
    let (status, page) = door.get("/v1/ssh-keys?labels=a=1&labels=b=2").await;
    assert_eq!((status, page["ssh_keys"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{page}");
    let (status, page) = door.get("/v1/ssh-keys?labels=a=1&labels=b=3").await;
    assert_eq!((status, page["ssh_keys"].as_array().map(Vec::len)), (StatusCode::OK, Some(0)), "{page}");

    // what is asked for just before the node is killed is there once
    for name in ["one", "two", "three"] {
        cli.ok(&["ssh-key", "create", name, "--public-key", KEY]);
    }
    node.kill();
    node.up().await;
    eventually(Duration::from_secs(60), "all keys", async || {
        let keys = cli.json(&["ssh-key", "list"]);
        let mut names: Vec<&str> =
            keys["ssh_keys"].as_array()?.iter().filter_map(|key| key["name"].as_str()).collect();
        names.sort_unstable();
        (names == ["desk", "laptop", "one", "three", "two"]).then_some(())
    })
    .await;
    cli.ok(&["ssh-key", "update", "laptop", "--label", "stage=", "--wait"]);
    cli.ok(&["ssh-key", "update", "laptop", "--remove-label", "team", "--wait"]);
    assert!(cli.ok(&["ssh-key", "list", "--label", "stage="]).contains("laptop"), "a label without a value");
    assert_eq!(cli.ok(&["ssh-key", "list", "--label", "team=web"]), "no ssh keys\n");
    let late = cli.run(&["ssh-key", "delete", "laptop", "--if-revision", "1", "--wait"]);
    assert!(late.code == 4 && late.err.contains("REVISION_CHANGED"), "{}", late.err);
    cli.ok(&["ssh-key", "delete", "laptop", "--wait"]);
    assert!(cli.run(&["ssh-key", "show", "laptop"]).err.contains("SSH_KEY_NOT_FOUND"));
    let web = cli.json(&["instance", "show", "web-1"]);
    assert_eq!(
        web["instance"]["spec"]["ssh_authorized_keys"],
        json!([KEY]),
        "it keeps what it was made with"
    );
    let audit = cli.ok(&["audit", "list"]);
    assert!(audit.contains("CreateSshKey") && audit.contains("DeleteSshKey"), "{audit}");
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
    cli.ok(&["replay", "verify"]);
}

#[tokio::test]
async fn lists_are_filtered_and_ordered_and_what_was_asked_is_answered_when_it_is_done() {
    let node = Node::start(&["--simulated-hosts", "2"]).await;
    let (cli, door) = (node.cli(), Door::of(&node));
    prepare(&cli).await;
    for (name, team) in [("ann", "web"), ("bob", "web"), ("eve", "db")] {
        cli.ok(&[
            "ssh-key",
            "create",
            name,
            "--public-key",
            KEY,
            "--label",
            &format!("team={team}"),
            "--wait",
        ]);
    }
    let names = |args: &[&str]| {
        let list = cli.json(&[&["ssh-key", "list"], args].concat());
        let keys = list["ssh_keys"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|key| key["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["--filter", "labels.team = web AND name != ann"]), ["bob"]);
    assert_eq!(names(&["--filter", &format!("fingerprint = {FINGERPRINT} AND name : e")]), ["eve"]);
    assert_eq!(names(&["--order-by", "created_at_us desc"]), ["eve", "bob", "ann"]);
    cli.ok(&["ssh-key", "delete", "eve", "--wait"]);
    assert_eq!(names(&["--all", "--filter", "deleted_at_us > 0"]), ["eve"]);
    assert_eq!(names(&[]), ["ann", "bob"]);
    for (args, words) in [
        (["--filter", "colour = red"], "no field `colour`"),
        (["--filter", "name ="], "comes a value"),
        (["--order-by", "size"], "is no order"),
    ] {
        let wrong = cli.run(&[&["ssh-key", "list"], &args[..]].concat());
        assert!(wrong.code == 2 && wrong.err.contains(words), "{} {}", wrong.code, wrong.err);
    }

    // page after page of one list, and of no other
    let (status, first) = door.get("/v1/ssh-keys?page_size=1&filter=labels.team%20%3D%20web").await;
    assert_eq!((status, &first["ssh_keys"][0]["name"]), (StatusCode::OK, &json!("ann")), "{first}");
    let token = first["next_page_token"].as_str().expect("another page");
    let next = format!("/v1/ssh-keys?page_size=1&page_token={token}");
    let (_, second) = door.get(&format!("{next}&filter=labels.team=web")).await;
    assert_eq!((&second["ssh_keys"][0]["name"], &second["next_page_token"]), (&json!("bob"), &json!("")));
    let (status, other) = door.get(&next).await;
    assert!(status == StatusCode::BAD_REQUEST && other.to_string().contains("another filter"), "{other}");

    // the answer waits for the end, if that is asked for
    let wish = |name: &str| format!(r#"{{"name":"{name}","public_key":"{KEY}"}}"#);
    let (status, done) = door.post_with("/v1/ssh-keys", &[("Prefer", "wait=20")], wish("new")).await;
    let outcome = &done["outcome"]["state"];
    assert_eq!((status, outcome), (StatusCode::ACCEPTED, &json!("OPERATION_STATE_SUCCEEDED")), "{done}");
    let (_, refused) = door.post_with("/v1/ssh-keys", &[("Prefer", "wait=20")], wish("ann")).await;
    assert_eq!(refused["outcome"]["refusal"]["code"], "SSH_KEY_EXISTS", "{refused}");
    let (_, at_once) = door.post_with("/v1/ssh-keys", &[], wish("later")).await;
    assert!(at_once["operation_id"].is_string() && at_once.get("outcome").is_none(), "{at_once}");
    let (status, passed_over) = door.post_with("/v1/ssh-keys", &[("Prefer", "wait=soon")], wish("x")).await;
    assert!(status == StatusCode::ACCEPTED && passed_over.get("outcome").is_none(), "{passed_over}");
    // on the command line what is refused is said at once, without a word about waiting
    let again = cli.run(&["ssh-key", "create", "ann", "--public-key", KEY]);
    assert!(again.code == 4 && again.err.contains("SSH_KEY_EXISTS"), "{}", again.err);

    // instances, images and hosts understand the same filters
    for name in ["web-1", "web-2"] {
        let labels = format!(r#"{{"role":"{name}"}}"#);
        let body = format!(r#"{{"name":"{name}","image":"{IMAGE}","flavor":"micro","labels":{labels}}}"#);
        let (_, made) = door.post_with("/v1/instances", &[("Prefer", "wait=30")], body).await;
        assert_eq!(made["outcome"]["state"], "OPERATION_STATE_SUCCEEDED", "{made}");
    }
    let (_, stopped) =
        door.post_with("/v1/instances/web-2/stop", &[("Prefer", "wait=20")], "{}".into()).await;
    assert_eq!(stopped["outcome"]["state"], "OPERATION_STATE_SUCCEEDED", "{stopped}");
    let list = |args: &[&str]| cli.ok(&[&["instance", "list"], args].concat());
    let ready = list(&["--filter", "phase = STOPPED AND spec.image_name : berth"]);
    assert!(ready.contains("web-2") && !ready.contains("web-1"), "{ready}");
    let labelled = list(&["--label", "role=web-1"]);
    assert!(labelled.contains("web-1") && !labelled.contains("web-2"), "{labelled}");
    assert_eq!(cli.ok(&["image", "list", "--filter", "phase = REJECTED"]), "no images\n");
    let hosts = cli.json(&["host", "list", "--filter", "cordoned = false AND state = UP"]);
    assert_eq!(hosts["hosts"].as_array().map(Vec::len), Some(2), "{hosts}");

    // waiting for objects
    cli.ok(&["ssh-key", "update", "bob", "--label", "team=ops", "--wait"]);
    cli.ok(&["ssh-key", "wait", "bob", "--for", "labels.team = ops", "--timeout", "20s"]);
    let late = cli.run(&["ssh-key", "wait", "bob", "--gone", "--timeout", "1s"]);
    assert_eq!(late.code, 6, "{}", late.err);
    let id = cli.json(&["ssh-key", "show", "bob"])["id"].as_str().expect("an id").to_owned();
    cli.ok(&["ssh-key", "delete", "bob"]);
    cli.ok(&["ssh-key", "wait", &id, "--gone", "--timeout", "20s"]);
    let never = cli.run(&["ssh-key", "wait", &id, "--for", "revision > 99", "--timeout", "20s"]);
    assert!(never.code == 3 && never.err.contains("deleted meanwhile"), "{} {}", never.code, never.err);
    let nothing = cli.run(&["ssh-key", "wait", "nobody", "--gone"]);
    assert_eq!(nothing.code, 3, "{}", nothing.err);
}
