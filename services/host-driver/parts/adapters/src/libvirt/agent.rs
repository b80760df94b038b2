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
        Err(fault) => return not_begun(&fault).map(Begun::Not).ok_or(fault),
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
