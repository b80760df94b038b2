//! The rules about what proto/ declares, on samples that break them one by one.
#![allow(missing_docs)]

#[path = "../build/declared.rs"]
#[allow(dead_code, unused_imports)] // the build uses the rest of it
mod declared;

use declared::{Declared, declared as read};
use prost_reflect::DescriptorPool;
use std::path::Path;

/// A service with one kind of object and two events of it.
const GOOD: &str = r#"
message Thing {
  option (berth.options.v1.object) = {kind: "thing" scope: SCOPE_TENANT state: "state" gone: "STATE_GONE"};
  string id = 1; string tenant = 2; string name = 3; uint64 revision = 4;
  int64 created_at_us = 5; int64 updated_at_us = 6; State state = 7; bool closed = 8;
}
enum State { STATE_UNSPECIFIED = 0; STATE_GONE = 1; }
message ThingMade {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "thing.id"};
  option (berth.options.v1.event) = {object: "thing"};
  Thing thing = 1;
  repeated berth.common.v1.OperationProgress operations = 2;
}
message ThingRefused {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "thing.id"};
  option (berth.options.v1.event) = {mentions: "thing"};
  Thing thing = 1;
}
message Heard {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "what"};
  string what = 1;
}
"#;

/// What is declared when proto/ holds this service beside the options.
fn judge(body: &str) -> Result<Declared, Vec<String>> {
    let folder = tempfile::tempdir().expect("a sample compiles");
    let text = format!(
        "syntax = \"proto3\"; package berth.things.v1; import \"berth/common/v1/common.proto\"; \
         import \"berth/common/v1/objects.proto\"; \
         import \"berth/options/v1/options.proto\"; {body}"
    );
    let file = "berth/things/v1/things.proto";
    std::fs::create_dir_all(folder.path().join("berth/things/v1")).expect("a sample compiles");
    std::fs::write(folder.path().join(file), text).expect("a sample compiles");
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler = protox::Compiler::new([folder.path(), &proto]).expect("a sample compiles");
    compiler.include_imports(true);
    compiler.open_file(file).expect("a sample compiles");
    let pool: DescriptorPool = compiler.descriptor_pool();
    read(&pool)
}

/// The one thing that is wrong when the good sample is changed.
fn change(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the sample");
    let wrong = judge(&GOOD.replacen(from, to, 1)).expect_err(to);
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert!(wrong[0].starts_with("proto/berth/things/v1/things.proto: "), "{}", wrong[0]);
    wrong[0].clone()
}

#[test]
fn what_is_declared_is_found() {
    let found = judge(GOOD).expect("sound");
    assert_eq!((found.kinds.len(), found.messages.len()), (1, 3));
    assert_eq!((found.kinds[0].kind.as_str(), found.kinds[0].plural.as_str()), ("thing", "things"));
    let of =
        |name: &str| found.messages.iter().find(|message| message.message.name() == name).expect("there");
    assert!(of("ThingMade").carries.as_ref().is_some_and(|carried| !carried.mention));
    assert!(of("ThingMade").operations.is_some());
    assert!(of("ThingRefused").carries.as_ref().is_some_and(|carried| carried.mention));
    assert!(of("Heard").carries.is_none());
    assert_eq!(found.queues, Vec::<String>::new(), "it obeys nobody");
}

#[test]
fn who_obeys_or_serves_has_a_queue() {
    let command =
        "message Make { option (berth.options.v1.bus) = {kind: KIND_COMMAND key: \"id\"}; string id = 1; }";
    assert_eq!(judge(&format!("{GOOD}{command}")).expect("sound").queues, ["things"]);
    let service = "service Things { rpc Get(Heard) returns (Thing); }";
    assert_eq!(judge(&format!("{GOOD}{service}")).expect("sound").queues, ["things"]);
}

#[test]
fn an_event_that_says_nothing_of_its_object_does_not_build() {
    let said = "  option (berth.options.v1.event) = {object: \"thing\"};\n";
    let wrong = change(said, "");
    assert!(
        wrong.contains("ThingMade has a thing in `thing` and says neither `object` nor `mentions`"),
        "{wrong}"
    );
    assert!(wrong.contains("{object: \"thing\"}"), "it says what would be right: {wrong}");
}

#[test]
fn an_event_is_about_one_object_that_is_there() {
    let both = change("{object: \"thing\"}", "{object: \"thing\" mentions: \"thing\"}");
    assert!(both.contains("both `object` and `mentions`"), "{both}");
    let other = change("Thing thing = 1;\n  repeated", "Thing thing = 1; Thing old = 3;\n  repeated");
    assert!(other.contains("a thing in `old`"), "{other}");
    let list = change(
        "Thing thing = 1;\n}\nmessage Heard",
        "Thing thing = 1; repeated Thing all = 2;\n}\nmessage Heard",
    );
    assert!(list.contains("a thing in `all`"), "{list}");
    let no_object =
        change("key: \"what\"};", "key: \"what\"}; option (berth.options.v1.event) = {object: \"what\"};");
    assert!(no_object.contains("carries \"what\", and has no such field with an object"), "{no_object}");
    let no_event = change(
        "{kind: KIND_EVENT key: \"what\"};",
        "{kind: KIND_SAMPLE key: \"what\"}; option (berth.options.v1.event) = {object: \"what\"};",
    );
    assert!(no_event.contains("is no event"), "{no_event}");
}

#[test]
fn progress_stands_in_one_list() {
    let field = "repeated berth.common.v1.OperationProgress operations = 2;";
    let wrong = change(field, &format!("{field} repeated berth.common.v1.OperationProgress more = 3;"));
    assert!(wrong.contains("one list of OperationProgress"), "{wrong}");
}

#[test]
fn an_object_has_what_every_object_has() {
    for (from, to, expected) in [
        ("string id = 1;", "uint64 id = 1;", "has no `string id`"),
        ("uint64 revision = 4;", "", "has no `uint64 revision`"),
        ("string tenant = 2;", "", "has no `string tenant`"),
        ("int64 created_at_us = 5;", "", "has no `int64 created_at_us`"),
        ("int64 updated_at_us = 6;", "", "has no `int64 updated_at_us`"),
        ("scope: SCOPE_TENANT", "scope: SCOPE_PLATFORM", "is the platform's, and has a `tenant`"),
        ("scope: SCOPE_TENANT", "", "whose it is"),
        ("kind: \"thing\"", "kind: \"Thing\"", "lower-case"),
        ("kind: \"thing\"", "", "without a kind"),
        ("state: \"state\"", "state: \"closed\"", "no such field with an enum"),
        ("gone: \"STATE_GONE\"", "gone: \"STATE_LOST\"", "is gone at \"STATE_LOST\""),
        ("state: \"state\"", "state: \"state\" at: \"state\"", "no such field with a message"),
    ] {
        // what it is called in events does not matter here
        let wrong = judge(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(wrong[0].contains(expected), "{to}: {wrong:#?}");
    }
    assert!(judge(&GOOD.replacen("gone: \"STATE_GONE\"", "gone: \"closed\"", 1)).is_ok(), "a flag will do");
    assert!(judge(&GOOD.replacen("bool closed", "int64 deleted_at_us", 1)).is_ok(), "so does a time");
}

#[test]
fn two_kinds_have_two_names() {
    let twin = GOOD.lines().skip(1).take(5).collect::<Vec<_>>().join("\n").replacen(
        "message Thing",
        "message Twin",
        1,
    );
    let wrong = judge(&format!("{GOOD}{twin}")).expect_err("two of one kind");
    assert!(
        wrong.len() == 1 && wrong[0].contains("Twin is of kind \"thing\", as is berth.things.v1.Thing"),
        "{wrong:?}"
    );
}

#[test]
fn a_question_names_its_answer() {
    let asked = |option: &str| {
        let question =
            format!("message WhoIs {{ {option} string id = 1; }} message Is {{ string name = 1; }}");
        judge(&format!("{GOOD}{question}"))
    };
    let good = asked("option (berth.options.v1.question) = {answer: \"Is\"};").expect("right");
    assert_eq!((good.questions[0].service.as_str(), good.questions[0].answer.name()), ("things", "Is"));
    for (option, words) in [
        ("option (berth.options.v1.question) = {};", "WhoIs is a question without an answer"),
        ("option (berth.options.v1.question) = {answer: \"Was\"};", "WhoIs is answered by \"Was\", which"),
        (
            "option (berth.options.v1.question) = {answer: \"Is\"}; option (berth.options.v1.bus) = {kind: KIND_COMMAND key: \"id\"};",
            "WhoIs is a question and a message of the bus",
        ),
    ] {
        let wrong = asked(option).expect_err(option);
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{wrong:#?}");
    }
}

/// A kind with everything that can be done with it.
const TOLD: &str = r#"
message Pool {
  option (berth.options.v1.object) = {kind: "pool" scope: SCOPE_TENANT};
  string id = 1; string tenant = 2; string name = 3; uint64 revision = 4;
  int64 created_at_us = 5; int64 updated_at_us = 6; int64 deleted_at_us = 7; map<string, string> labels = 8;
  string range = 9 [(berth.options.v1.field) = {index: true}];
}
service PoolService {
  rpc ListPools(berth.common.v1.ListRequest) returns (ListPoolsResponse) { option (berth.options.v1.op) = {list: "pool"}; }
  rpc GetPool(berth.common.v1.GetRequest) returns (Pool) { option (berth.options.v1.op) = {get: "pool"}; }
  rpc CreatePool(CreatePoolRequest) returns (berth.common.v1.OperationResponse) { option (berth.options.v1.op) = {tell: "pool"}; }
}
message ListPoolsResponse { repeated Pool pools = 1; string next_page_token = 2; }
message CreatePoolRequest { string name = 1; string range = 2; }
message PoolCreated {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "pool.id"};
  option (berth.options.v1.event) = {object: "pool"};
  Pool pool = 1; repeated berth.common.v1.OperationProgress operations = 2;
}
message PoolChanged {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "pool.id"};
  option (berth.options.v1.event) = {object: "pool"};
  Pool pool = 1; repeated berth.common.v1.OperationProgress operations = 2;
}
message PoolDeleted {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "pool.id"};
  option (berth.options.v1.event) = {object: "pool"};
  Pool pool = 1; repeated berth.common.v1.OperationProgress operations = 2;
}
message RequestRefused {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "object_id"};
  string object_id = 1; repeated berth.common.v1.OperationProgress operations = 2;
}
message ObjectsForgotten {
  option (berth.options.v1.bus) = {kind: KIND_EVENT key: "kind"};
  string kind = 1; int64 gone_before_us = 2;
}
"#;

#[test]
fn what_is_done_with_a_kind_is_found() {
    let found = judge(TOLD).expect("sound");
    let does: Vec<String> = found.ops.iter().map(|op| format!("{:?}", op.does)).collect();
    assert_eq!(does, ["List", "Get", "Tell(\"Create\")"]);
    let command = found.messages.iter().find(|message| message.kind == "Command").expect("the request");
    assert_eq!((command.name.as_str(), command.message.name()), ("CreatePool", "CreatePoolRequest"));
    assert_eq!(found.kinds[0].indexed, ["range"]);
}

#[test]
fn a_kind_that_is_told_things_is_complete() {
    let wrong = |from: &str, to: &str, says: &str| {
        assert!(TOLD.contains(from), "{from} is not in the sample");
        let wrong = judge(&TOLD.replacen(from, to, 1)).expect_err(to);
        // what stands on the broken one may be wrong as well
        assert!(wrong.iter().any(|one| one.contains(says)), "{wrong:#?} do not say {says:?}");
    };
    wrong("{tell: \"pool\"}", "{tell: \"pond\"}", "CreatePool is about \"pond\", which is no kind");
    wrong("{tell: \"pool\"}", "{}", "does nothing: say `list`, `get` or `tell`");
    wrong("rpc CreatePool(", "rpc FillUp(", "is no verb with Pool");
    wrong(
        "CreatePool(CreatePoolRequest) returns (berth.common.v1.OperationResponse)",
        "CreatePool(CreatePoolRequest) returns (Pool)",
        "OperationResponse",
    );
    wrong(
        "CreatePoolRequest { string name = 1;",
        "CreatePoolRequest { string title = 1;",
        "no `string name`",
    );
    wrong(
        "ListPools(berth.common.v1.ListRequest)",
        "ListPools(CreatePoolRequest)",
        "it takes berth.common.v1.ListRequest",
    );
    wrong(
        "{ repeated Pool pools = 1; string next_page_token = 2; }",
        "{ repeated Pool pools = 1; }",
        "answers another page",
    );
    wrong("returns (Pool)", "returns (ListPoolsResponse)", "answers something else than a Pool");
    wrong("message PoolChanged {", "message PoolAltered {", "no event PoolChanged");
    wrong("message RequestRefused {", "message Refused {", "no event RequestRefused");
    wrong("message ObjectsForgotten {", "message Forgotten {", "no event ObjectsForgotten");
    wrong(
        "int64 gone_before_us = 2;",
        "",
        "no event ObjectsForgotten with `string kind` and `int64 gone_before_us`",
    );
    wrong("int64 deleted_at_us = 7;", "", "needs id, name, created_at_us, updated_at_us and deleted_at_us");
    wrong("string range = 9 [", "uint64 range = 9 [", "no `string`");
    wrong("string range = 2; }", "Pool like = 2; }", "nobody could write on a command line");
    wrong("string range = 2; }", "string wait = 2; }", "nobody could write on a command line");
    wrong(
        "{kind: \"pool\" scope: SCOPE_TENANT}",
        "{kind: \"pool\" scope: SCOPE_INTERNAL}",
        "shown to nobody",
    );
    wrong("string range = 2; }", "string range = 2 [(berth.options.v1.secret) = true]; }", "secret");
}

#[test]
fn references_lead_from_objects_and_requests_to_kinds() {
    let refers = |kind: &str| format!(" [(berth.options.v1.field) = {{refers: {kind:?}}}]; }}");
    let in_request =
        |kind: &str| TOLD.replacen("string range = 2; }", &format!("string range = 2{}", refers(kind)), 1);
    let found = judge(&in_request("pool")).expect("sound");
    let create = found.ops.iter().find(|op| op.refers.len() == 1).expect("it refers");
    assert_eq!((create.refers[0].field.as_str(), create.refers[0].list), ("range", false));
    let wrong = |text: &str, says: &str| {
        let wrong = judge(text).expect_err(says);
        assert!(wrong.iter().any(|one| one.contains(says)), "{wrong:#?} do not say {says:?}");
    };
    wrong(&in_request("pond"), "refers in `range` to a \"pond\", which is no kind");
    let number = TOLD.replacen("string range = 2; }", &format!("uint64 range = 2{}", refers("pool")), 1);
    wrong(&number, "which is no text");
    wrong(&format!("{TOLD} message Stray {{ string pool = 1{}", refers("pool")), "where nobody looks");

    let unserved = "message Lake { option (berth.options.v1.object) = {kind: \"lake\" scope: SCOPE_TENANT}; \
                    string id = 1; string tenant = 2; uint64 revision = 3; int64 created_at_us = 4; int64 updated_at_us = 5; }";
    wrong(&(in_request("lake") + unserved), "has no declared methods");
    let of_platform = "message Sea { option (berth.options.v1.object) = {kind: \"sea\" scope: SCOPE_PLATFORM}; \
                       string id = 1; uint64 revision = 3; int64 created_at_us = 4; int64 updated_at_us = 5; \
                       string pool = 6 [(berth.options.v1.field) = {refers: \"pool\"}]; }";
    wrong(
        &format!("{TOLD}{of_platform}"),
        "is the platform's and refers in `pool` to a pool, which is a tenant's",
    );

    // what stands in the way of a request refers to its object
    let delete = |kind: &str| {
        let rpc = format!(
            "rpc DeletePool(DeletePoolRequest) returns (berth.common.v1.OperationResponse) {{ \
             option (berth.options.v1.op) = {{tell: \"pool\" refuse_while_referred: [{kind:?}]}}; }} rpc CreatePool("
        );
        TOLD.replacen("rpc CreatePool(", &rpc, 1) + "message DeletePoolRequest { string name = 1; }"
    };
    wrong(&delete("pool"), "no field of such a one does");
    let within = "string range = 9 [(berth.options.v1.field) = {refers: \"pool\"}];";
    let nested =
        delete("pool").replacen("string range = 9 [(berth.options.v1.field) = {index: true}];", within, 1);
    let found = judge(&nested).expect("pools within pools");
    assert!(found.ops.iter().any(|op| op.refuse_while_referred == ["pool"]));
    assert_eq!(found.kinds[0].refers[0].field, "range");
}

#[test]
fn what_names_a_host_is_not_shown_to_everybody() {
    for field in ["string host_id = 10;", "repeated string failed_host_ids = 10;", "string node = 10;"] {
        let open = TOLD.replacen("string range = 9", &format!("{field} string range = 9"), 1);
        let wrong = judge(&open).expect_err(field);
        assert!(wrong[0].contains("says `needs: \"host.read\"`"), "{wrong:#?}");
        let guarded = field.replace(';', " [(berth.options.v1.field) = {needs: \"host.read\"}];");
        judge(&TOLD.replacen("string range = 9", &format!("{guarded} string range = 9"), 1))
            .expect("guarded");
    }
    judge(&TOLD.replacen("string range = 9", "string hostname = 10; string range = 9", 1))
        .expect("a guest's own");
}
