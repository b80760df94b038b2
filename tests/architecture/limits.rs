//! Limits that are told in comments of the .proto files, from which the documents of the API are made, are those that
//! are declared (`kernel::limits`); and nobody else tells one of them as a number of their own.

use super::source::is_test;
use super::{Tree, Violation, check, finds};
use kernel::{Bytes, limits};

/// Field of a message ("Message.field") and what its comment has to say.
fn told() -> Vec<(&'static str, String)> {
    let list = [
        ("CreateInstanceRequest.resources", format!("{} CPUs", limits::VCPUS)),
        ("CreateInstanceRequest.resources", format!("{} of memory", limits::MEMORY)),
        ("CreateInstanceRequest.resources", format!("{} of disk", limits::DISK)),
        ("CreateInstanceRequest.user_data", at_most(limits::USER_DATA)),
        ("CreateInstanceRequest.gpus", format!("at most {}", limits::GPUS)),
        ("CreateInstanceRequest.gpu_milli", format!("1 to {}", limits::GPU_MILLI)),
        ("StopInstanceRequest.grace_s", format!("default {}", limits::GRACE_DEFAULT_S)),
        ("StopInstanceRequest.grace_s", format!("at most {}", limits::GRACE_S)),
        ("ExecInstanceRequest.argv", at_most(limits::EXEC_ARGV)),
        ("ExecInstanceRequest.stdin", at_most(limits::EXEC_STDIN)),
        ("ExecInstanceRequest.timeout_s", format!("default {}", limits::EXEC_TIMEOUT_DEFAULT_S)),
        ("ExecInstanceRequest.timeout_s", format!("at most {}", limits::EXEC_TIMEOUT_S)),
        ("GetExecOutputResponse.stdout", at_most(limits::EXEC_OUTPUT)),
        ("GetExecOutputResponse.stderr", at_most(limits::EXEC_OUTPUT)),
        ("ExecOutput.truncated", limits::EXEC_OUTPUT.to_string()),
        ("CreateUserRequest.password", format!("{} to {} bytes", limits::PASSWORD_LEAST, limits::PASSWORD)),
        (
            "RotateWebhookSecretRequest.overlap_s",
            format!("up to {} days", limits::WEBHOOK_OVERLAP_S / 86_400),
        ),
        (
            "RotateWebhookSecretRequest.overlap_s",
            format!("0 = {} hours", limits::WEBHOOK_OVERLAP_DEFAULT_S / 3600),
        ),
    ];
    list.into()
}

fn at_most(limit: Bytes) -> String {
    format!("at most {limit}")
}

/// The comment above a field of a message, in one line; `None`: there is no such field.
fn comment_of(tree: &Tree, message: &str, field: &str) -> Option<(String, String)> {
    for (path, text) in tree.files.iter().filter(|(path, _)| path.ends_with(".proto")) {
        let Some((_, body)) = text.split_once(&format!("\nmessage {message} {{\n")) else { continue };
        let mut comment = String::new();
        for line in body.lines().take_while(|line| *line != "}") {
            match line.trim().strip_prefix("//") {
                Some(words) => comment += words,
                None if line.contains(&format!(" {field} = ")) => return Some((path.clone(), comment)),
                None => comment.clear(),
            }
        }
    }
    None
}

fn what_is_told_is_what_holds(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (place, words) in told() {
        let (message, field) = place.split_once('.').unwrap();
        match comment_of(tree, message, field) {
            None => found.push(format!("{place}: there is no such field; tell the limit where it is now")),
            Some((path, comment)) if !comment.to_lowercase().contains(&words.to_lowercase()) => {
                found.push(format!("{path}: the comment of {place} has to say {words:?} (kernel::limits)"));
            }
            Some(_) => {}
        }
    }
    found
}

/// The command line tells limits in its help: none of them as a number that somebody wrote there.
fn help_tells_no_limit_of_its_own(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("services/berth/src/")) {
        if is_test(path) {
            continue;
        }
        let told = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in told.lines().enumerate() {
            let as_number = |words: &str| {
                line.split(words).skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_digit()))
            };
            if as_number("at most ") || as_number("larger than ") {
                found.push(format!(
                    "{path}:{}: a limit stands here as a number; take it from kernel::limits with `help = format!(…)`",
                    number + 1
                ));
            }
        }
    }
    found
}

#[test]
fn limits_are_told_as_they_are() {
    check(what_is_told_is_what_holds);
    check(help_tells_no_limit_of_its_own);
}

#[test]
fn another_number_is_found() {
    let old = "package x;\n\nmessage ExecInstanceRequest {\n  // What it reads, at most 1 MiB.\n  bytes stdin = 3;\n}\n";
    let tree = Tree::of(&[("proto/x.proto", old)]);
    let found = what_is_told_is_what_holds(&tree);
    assert!(found.iter().any(|one| one.contains("stdin") && one.contains("64 KiB")), "{found:#?}");
    finds(
        help_tells_no_limit_of_its_own,
        &[
            (
                "services/berth/src/a.rs",
                "/// Hand standard input to the program, at most 1 MiB\nstdin: bool,\n",
            ),
            ("services/berth/src/b.rs", "#[arg(help = format!(\"at most {EXEC_STDIN}\"))]\n"),
        ],
        &["a.rs:1"],
    );
}
