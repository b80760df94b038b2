//! `berth instance exec`.

use super::super::Session;
use super::super::arguments::duration;
use crate::output::{Format, note, print_bytes};
use clap::Args;
use client::{Exit, Failure, wait_for_operation};
use contracts::gateway::v1::{ExecInstanceRequest, GetExecOutputRequest};
use kernel::limits::{EXEC_ARGV, EXEC_OUTPUT, EXEC_STDIN, EXEC_TIMEOUT_DEFAULT_S, EXEC_TIMEOUT_S};
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// Run a program in the guest through its agent
#[derive(Debug, Args)]
#[command(
    after_help = format!("Standard output and error of the program are printed when it has ended, and its exit code becomes that of berth.
Of each of the two the first {EXEC_OUTPUT} are kept; berth says on standard error when there was more.
Program and arguments have at most {EXEC_ARGV} together, standard input {EXEC_STDIN}: what is larger belongs into a file of the guest.
No shell is involved; name one when you need it. With -o json or yaml the answer is printed (bytes in base64).

Examples:
  berth instance exec web-1 -- uname -a
  berth instance exec web-1 --timeout 5m -- sh -c 'apt-get update && apt-get -y upgrade'
  echo hello | berth instance exec web-1 --stdin -- tee /tmp/greeting")
)]
#[group(skip)]
pub struct ExecArgs {
    /// Name or id
    instance: String,
    #[arg(
        long,
        value_name = "TIME",
        value_parser = limit,
        help = format!(
            "Longest the program may take, such as 90s or 10m, at most {EXEC_TIMEOUT_S}s [default: {EXEC_TIMEOUT_DEFAULT_S}s]"
        )
    )]
    timeout: Option<Duration>,
    #[arg(short = 'i', long, help = format!("Hand standard input to the program, at most {EXEC_STDIN}"))]
    stdin: bool,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    argv: Vec<String>,
}

pub(super) async fn run(args: ExecArgs, session: &Session) -> Result<u8, Failure> {
    let stdin = if args.stdin { read_stdin()? } else { Vec::new() };
    let timeout = args.timeout.unwrap_or(Duration::from_secs(EXEC_TIMEOUT_DEFAULT_S.into()));
    let timeout_s = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
    let request = ExecInstanceRequest { instance: args.instance, argv: args.argv, stdin, timeout_s };
    let gateway = &session.gateway;
    let accepted =
        gateway.change(request, session.key(), async |r| gateway.instances().exec_instance(r).await).await?;
    // the platform ends the program at its limit; some time more for the answer to come back
    let limit = timeout + Duration::from_secs(30);
    // standard error belongs to the guest's program, so nothing is said about the wait
    wait_for_operation(gateway, &accepted.operation_id, Some(limit), async |_| {}).await?;
    let request = GetExecOutputRequest { operation: accepted.operation_id };
    let output = gateway.read(request, async |r| gateway.instances().get_exec_output(r).await).await?;
    if session.format == Format::Table {
        print_bytes(&output.stdout)?;
        let _ = std::io::stderr().lock().write_all(&output.stderr);
        if output.truncated {
            // part of the result, so it is said even when progress is not wanted
            note(&format!(
                "berth: the output was cut off after {EXEC_OUTPUT}; let the program write to a file in the guest"
            ));
        }
    } else {
        session.format.print("GetExecOutputResponse", &output, String::new)?;
    }
    Ok(exit_code(output.exit_code))
}

fn limit(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    match time > Duration::from_secs(EXEC_TIMEOUT_S.into()) {
        true => Err(format!("{text:?}: expected at most {EXEC_TIMEOUT_S}s")),
        false => Ok(time),
    }
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(EXEC_STDIN.0 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read standard input: {error}")))?;
    if bytes.len() > EXEC_STDIN.length() {
        return Err(Failure::usage(format!("standard input is larger than {EXEC_STDIN}")));
    }
    Ok(bytes)
}

/// What does not fit into an exit code must at least not look like success.
fn exit_code(guest: i32) -> u8 {
    u8::try_from(guest).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_time_of_up_to_an_hour() {
        for (text, seconds) in [("9", 9), ("90s", 90), ("10m", 600), ("1h", 3600)] {
            assert_eq!(limit(text), Ok(Duration::from_secs(seconds)));
        }
        assert!(limit("3601").is_err() && limit("0").is_err());
    }

    #[test]
    fn no_failure_of_the_guest_looks_like_success() {
        assert_eq!([0, 1, 255, 256, -1, i32::MIN].map(exit_code), [0, 1, 255, 255, 255, 255]);
    }
}
