//! Waiting for the broker: the client has no time limit of its own for handing over a message, and never answers what
//! was under way when its connection broke. So nothing of it is awaited as it is.

use super::source::{has_word, is_test, production};
use super::{Tree, Violation, check, finds};

/// What asks the broker, or hands it something.
const CALLS: [&str; 24] = [
    "publish",
    "publish_with_headers",
    "publish_with_reply",
    "publish_with_reply_and_headers",
    "send_publish",
    "subscribe",
    "queue_subscribe",
    "request",
    "request_with_headers",
    "send_request",
    "flush",
    "ack",
    "ack_with",
    "double_ack",
    "get_stream",
    "get_stream_no_info",
    "create_consumer",
    "consumer_info",
    "delete_consumer",
    "messages",
    "direct_get",
    "direct_get_next_for_subject",
    "direct_get_last_for_subject",
    "delete_message",
];

/// All of it runs within `Connection::ensure_streams`, which has a deadline.
const BOUNDED: &str = "shared/bus/src/topology.rs";

/// What follows the parenthesis that closes the one at the beginning of `text`.
fn after_arguments(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    ""
}

/// The client's calls stand inside something that ends the waiting.
fn nobody_waits_for_the_broker_without_an_end(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let ours = path.starts_with("shared/bus/src/") || has_word(text, "async_nats");
        if is_test(path) || !ours || path == BOUNDED {
            continue;
        }
        let code = production(text);
        for call in CALLS {
            let needle = format!(".{call}(");
            for (at, _) in code.match_indices(&needle) {
                let rest = after_arguments(&code[at + needle.len() - 1..]);
                if rest.trim_start().starts_with(".await") {
                    let line = code[..at].matches('\n').count() + 1;
                    found.push(format!(
                        "{path}:{line}: {call} is awaited without an end; hand it to Wait::answer (shared/bus/src/wait.rs)"
                    ));
                }
            }
        }
    }
    found
}

#[test]
fn waiting_for_the_broker_ends() {
    check(nobody_waits_for_the_broker_without_an_end);
    let sample = [
        ("shared/bus/src/a.rs", "async fn f() {\n    m.ack().await;\n    wait.answer(m.ack()).await;\n}\n"),
        ("shared/bus/src/b.rs", "let s = context\n    .get_stream(name(1))\n    .await;\n// m.ack().await\n"),
        ("services/x/src/c.rs", "fn f() { form.request(1).await; }\n"),
        ("shared/bus/tests/d.rs", "m.ack().await;\n"),
        ("shared/bus/src/e.rs", "#[cfg(test)]\nmod tests {\n    m.ack().await;\n}\n"),
    ];
    finds(
        nobody_waits_for_the_broker_without_an_end,
        &sample,
        &["a.rs:2: ack is awaited", "b.rs:2: get_stream is awaited"],
    );
}
