//! Speaking to qemu-guest-agent. Protocol: https://qemu.readthedocs.io/en/latest/interop/qemu-ga-ref.html

use super::faults;
use super::link::meaning;
use crate::fault::Fault;
use crate::hypervisor::{ExecCall, ExecOutcome};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use virt::domain::Domain;

const PING_SECONDS: i32 = 2;
const COMMAND_SECONDS: i32 = 10;

/// The agent answers.
pub fn ping(domain: &Domain) -> Result<bool, Fault> {
    match domain.qemu_agent_command(r#"{"execute":"guest-ping"}"#, PING_SECONDS, 0) {
        Ok(_) => Ok(true),
        Err(error) if faults::is_agent_silent(&error) => Ok(false),
        Err(error) => Err(faults::fault(&error)),
    }
}

fn command(domain: &Domain, name: &str, arguments: Value) -> Result<Value, Fault> {
    let text = json!({"execute": name, "arguments": arguments}).to_string();
    let answer = meaning(domain.qemu_agent_command(&text, COMMAND_SECONDS, 0))?;
    let answer: Value =
        serde_json::from_str(&answer).map_err(|e| Fault::Failed(format!("the agent's answer: {e}")))?;
    Ok(answer["return"].clone())
}

/// A program that was begun, or that the guest could not begin.
pub enum Begun {
    /// Its process id in the guest.
    Runs(i64),
    /// What came of it: as a shell says it, 127 for a program that is not there and 126 for one that cannot be run.
    Not(ExecOutcome),
}

/// What the agent says when the guest cannot begin a program: glib's words for a failed exec.
const NOT_BEGUN: &str = "Failed to execute child process";

fn not_begun(fault: &Fault) -> Option<ExecOutcome> {
    let Fault::Failed(text) = fault else { return None };
    let why = &text[text.find(NOT_BEGUN)?..];
    let code = if why.contains("No such file or directory") { 127 } else { 126 };
    Some(ExecOutcome::capped(code, Vec::new(), format!("{}\n", why.trim()).into_bytes(), false))
}

/// What the agent says when it will not run programs at all, in the words of QEMU's versions: "The command guest-exec has
/// been disabled for this instance" (up to 5.2), "Command guest-exec has been disabled: the command is not allowed", and
/// "The command guest-exec has not been found" of an agent that was built without it. libvirt passes them on in the text
/// of an internal error.
fn forbidden(fault: &Fault) -> Option<Fault> {
    let Fault::Failed(text) = fault else { return None };
    let of_exec = text.contains("guest-exec");
    if !of_exec || !["has been disabled", "has not been found"].iter().any(|words| text.contains(words)) {
        return None;
    }
    if text.contains("frozen") {
        let why = "the guest's file systems are frozen, as for a backup; its agent runs programs when they are thawed";
        return Some(Fault::permanent("GUEST_FROZEN", why));
    }
    let why = "the guest's agent forbids guest-exec, with which programs are run: allow it in the guest's settings of \
               qemu-guest-agent (RHEL and its kin: BLACKLIST_RPC, or FILTER_RPC_ARGS, in /etc/sysconfig/qemu-ga; others: \
               block-rpcs or allow-rpcs in /etc/qemu/qemu-ga.conf) and restart the agent";
    Some(Fault::permanent("EXEC_FORBIDDEN", why))
}

/// Begins to run a program.
pub fn begin(domain: &Domain, call: &ExecCall) -> Result<Begun, Fault> {
    let (path, arguments) =
        call.argv.split_first().ok_or_else(|| Fault::permanent("NO_PROGRAM", "no program was named"))?;
    let mut request = json!({"path": path, "arg": arguments, "capture-output": true});
    if !call.stdin.is_empty() {
        request["input-data"] = BASE64.encode(&call.stdin).into();
    }
    let answer = match command(domain, "guest-exec", request) {
        Ok(answer) => answer,
        Err(fault) => {
            return match not_begun(&fault) {
                Some(outcome) => Ok(Begun::Not(outcome)),
                None => Err(forbidden(&fault).unwrap_or(fault)),
            };
        }
    };
    let pid = answer["pid"].as_i64();
    pid.map(Begun::Runs).ok_or_else(|| Fault::Failed("the agent named no process".into()))
}

/// What came of it, once it ended.
pub fn status(domain: &Domain, pid: i64) -> Result<Option<ExecOutcome>, Fault> {
    let status = command(domain, "guest-exec-status", json!({"pid": pid}))?;
    if status["exited"] != true {
        return Ok(None);
    }
    let output = |name: &str| {
        let encoded = status[name].as_str().unwrap_or_default();
        BASE64.decode(encoded).map_err(|e| Fault::Failed(format!("the agent's {name}: {e}")))
    };
    let code = |name: &str| status[name].as_i64().and_then(|c| i32::try_from(c).ok());
    let exit_code = code("exitcode").or(code("signal").map(|s| 128 + s)).unwrap_or(-1);
    let truncated = status["out-truncated"] == true || status["err-truncated"] == true;
    Ok(Some(ExecOutcome::capped(exit_code, output("out-data")?, output("err-data")?, truncated)))
}

/// How long to wait before asking for the status again: often at first, then less.
pub fn patience(since: Instant) -> Duration {
    (since.elapsed() / 4).clamp(Duration::from_millis(20), Duration::from_millis(500))
}

/// Ends a program that took too long, as well as a guest allows.
pub fn end(domain: &Domain, pid: i64) -> Result<(), Fault> {
    let arguments = json!({"path": "kill", "arg": ["-9", pid.to_string()]});
    command(domain, "guest-exec", arguments).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Fault {
        Fault::Failed(format!("internal error: unable to execute QEMU agent command 'guest-exec': {text}"))
    }

    #[test]
    fn an_agent_that_runs_no_programs_is_told_from_a_program_that_does_not_run() {
        let code = |text: &str| forbidden(&said(text)).map(|fault| fault.refusal("exec").code);
        for text in [
            "The command guest-exec has been disabled for this instance",
            "Command guest-exec has been disabled",
            "Command guest-exec has been disabled: the command is not allowed",
            "The command guest-exec has not been found",
        ] {
            assert_eq!(code(text).as_deref(), Some("EXEC_FORBIDDEN"), "{text}");
        }
        let frozen = code("Command guest-exec has been disabled: the agent is in frozen state");
        assert_eq!(frozen.as_deref(), Some("GUEST_FROZEN"));
        let missing = "Failed to execute child process \u{201c}x\u{201d} (No such file or directory)";
        assert_eq!((code(missing), not_begun(&said(missing)).map(|o| o.exit_code)), (None, Some(127)));
        assert_eq!(code("Guest agent is not responding"), None);
    }
}
