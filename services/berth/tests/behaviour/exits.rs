//! Exit codes, errors and output formats.

use super::fake::Fake;
use super::running::Berth;
use contracts::common::v1::Refusal;
use contracts::gateway::v1::*;
use contracts::scheduler::v1::Instance;
use tonic::{Code, Status};

#[tokio::test]
async fn every_answer_has_its_exit_code() {
    for (code, exit) in [
        (Code::InvalidArgument, 2),
        (Code::NotFound, 3),
        (Code::AlreadyExists, 4),
        (Code::FailedPrecondition, 4),
        (Code::Unauthenticated, 4),
        (Code::DeadlineExceeded, 6),
        (Code::Internal, 1),
    ] {
        let fake = Fake::start().await;
        fake.refuse("GetInstance", Status::new(code, "the reason"));
        let outcome = Berth::at(&fake).run("instance show web-1").await;
        assert_eq!(outcome.code, exit, "{code:?}: {outcome:?}");
        assert!(outcome.err.starts_with("error: the reason\n") && outcome.out.is_empty(), "{outcome:?}");
        assert!(!outcome.err.to_lowercase().contains("backtrace"), "{outcome:?}");
        assert_eq!(fake.calls("GetInstance").len(), 1, "an answer is an answer: it is not asked for again");
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reasons() {
    let fake = Fake::start().await;
    let refusal = Refusal {
        code: "QUOTA_EXCEEDED".into(),
        message: "no room".into(),
        reasons: vec!["2 of 2 used".into()],
    };
    fake.refuse("CreateInstance", contracts::status::refused(Code::ResourceExhausted, refusal.into(), ""));
    let line = "instance create a --image i --flavor f";
    let outcome = Berth::at(&fake).run(line).await;
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (4, "error: no room (QUOTA_EXCEEDED)\n  - 2 of 2 used\n")
    );
    let outcome = Berth::at(&fake).run(&format!("{line} -o json")).await;
    let json: serde_json::Value = serde_json::from_str(&outcome.err).unwrap();
    assert_eq!(
        (json["error"]["code"].as_str(), json["error"]["exit_code"].as_i64()),
        (Some("QUOTA_EXCEEDED"), Some(4))
    );
}

#[tokio::test]
async fn nobody_there_is_5_and_wrong_usage_is_2() {
    let berth =
        Berth::nowhere().variable("BERTH_ENDPOINT", "http://127.0.0.1:9").variable("BERTH_ATTEMPTS", "2");
    let outcome = berth.run("status").await;
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(outcome.err.contains("127.0.0.1:9") && outcome.err.contains("hint:"), "{outcome:?}");
    assert_eq!(berth.run("instance lsit").await.code, 2);
    assert_eq!(Berth::nowhere().variable("BERTH_ENDPOINT", "http://192.0.2.1:1").run("status").await.code, 2);
    assert_eq!(Berth::nowhere().variable("BERTH_OUTPUT", "xml").run("status").await.code, 2);
}

#[tokio::test]
async fn an_unhealthy_part_is_1() {
    let fake = Fake::start().await;
    let part = |name: &str, healthy| ComponentHealth {
        name: name.into(),
        healthy,
        detail: String::new(),
        ..ComponentHealth::default()
    };
    let answer = GetStatusResponse {
        version: "0.1.0".into(),
        components: vec![part("nats", true), part("scheduler", false)],
    };
    fake.answer("GetStatus", &answer);
    let outcome = Berth::at(&fake).run("status -o json").await;
    assert_eq!((outcome.code, outcome.json()["components"][1]["healthy"].as_bool()), (1, Some(false)));
    fake.answer(
        "GetStatus",
        &GetStatusResponse { version: "0.1.0".into(), components: vec![part("nats", true)] },
    );
    Berth::at(&fake).run("status").await;
    assert_eq!(Berth::at(&fake).run("status").await.code, 0);
}

#[tokio::test]
async fn pages_are_one_list() {
    let fake = Fake::start().await;
    let page = |name: &str, next: &str| ListInstancesResponse {
        instances: vec![Instance { name: name.into(), ..Instance::default() }],
        next_page_token: next.into(),
    };
    fake.answer("ListInstances", &page("a", "2"));
    fake.answer("ListInstances", &page("b", ""));
    let json = Berth::at(&fake).run("instance list -o json").await.json();
    let names: Vec<&str> =
        json["instances"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!((names, json["next_page_token"].as_str()), (vec!["a", "b"], Some("")));
    let tokens: Vec<String> =
        fake.calls("ListInstances").iter().map(|c| c.read::<ListInstancesRequest>().page_token).collect();
    assert_eq!(tokens, ["", "2"]);
}

#[tokio::test]
async fn a_gateway_that_repeats_its_page_token_does_not_hang_the_command() {
    let fake = Fake::start().await;
    fake.answer("ListHosts", &ListHostsResponse { hosts: vec![], next_page_token: "again".into() });
    let outcome = Berth::at(&fake).run("host list").await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
}

#[tokio::test]
async fn yaml_and_the_token_of_the_environment() {
    let fake = Fake::start().await;
    let flavor = Flavor { name: "small".into(), ..Flavor::default() };
    fake.answer("ListFlavors", &ListFlavorsResponse { flavors: vec![flavor] });
    let outcome = Berth::at(&fake).variable("BERTH_TOKEN", "secret-1").run("flavor list -o yaml").await;
    assert!(outcome.out.starts_with("flavors:\n") && outcome.out.contains("name: small\n"), "{outcome:?}");
    assert_eq!(fake.calls("ListFlavors")[0].authorization, "Bearer secret-1");
}

#[tokio::test]
async fn completion_scripts_name_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = Berth::nowhere().run(&format!("completion {shell}")).await;
        assert!(outcome.code == 0 && outcome.out.contains("cordon"), "{shell}");
    }
}

#[tokio::test]
async fn settings_are_shown_with_their_origin() {
    let berth =
        Berth::nowhere().variable("BERTH_TOKEN", "secret-1").variable("BERTH_ENDPOINT", "http://127.0.0.1:1");
    let json = berth.run("config check -o json").await.json();
    let settings = json["settings"].as_array().unwrap();
    let find = |key: &str| settings.iter().find(|s| s["key"] == key).unwrap().clone();
    assert_eq!(find("endpoint")["origin"], "BERTH_ENDPOINT");
    assert_eq!(find("token")["value"], "(hidden)");
    assert_eq!(find("output")["origin"], "--output");
}
