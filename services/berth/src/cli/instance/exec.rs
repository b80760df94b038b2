//! `berth instance exec`.

use super::super::Session;
use super::super::arguments::duration;
use crate::output::{Format, note, print_bytes};
use clap::Args;
use client::{Exit, Failure, wait_for_operation};
use contracts::gateway::v1::{ExecInstanceRequest, GetExecOutputRequest};
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// A request is far smaller; what is larger belongs into a file of the guest.
const MAX_STDIN_BYTES: u64 = 1 << 20;

/// Run a program in the guest through its agent
#[derive(Debug, Args)]
#[command(
    after_help = "Standard output and error of the program are printed when it has ended, and its exit code becomes that of berth.
Of each of the two the first 64 KiB are kept; berth says on standard error when there was more.
No shell is involved; name one when you need it. With -o json or yaml the answer is printed (bytes in base64).

Examples:
  berth instance exec web-1 -- uname -a
  berth instance exec web-1 --timeout 5m -- sh -c 'apt-get update && apt-get -y upgrade'
  echo hello | berth instance exec web-1 --stdin -- tee /tmp/greeting"
)]
#[group(skip)]
pub struct ExecArgs {
    /// Name or id
    instance: String,
    /// Longest the program may take, such as 90s or 10m, at most 1h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = limit)]
    timeout: Duration,
    /// Hand standard input to the program, at most 1 MiB
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    argv: Vec<String>,
}

pub(super) async fn run(args: ExecArgs, session: &Session) -> Result<u8, Failure> {
    let stdin = if args.stdin { read_stdin()? } else { Vec::new() };
    let timeout_s = u32::try_from(args.timeout.as_secs()).unwrap_or(u32::MAX);
    let request = ExecInstanceRequest { instance: args.instance, argv: args.argv, stdin, timeout_s };
    let gateway = &session.gateway;
    let accepted =
        gateway.change(request, session.key(), async |r| gateway.instances().exec_instance(r).await).await?;
    // the platform ends the program at its limit; some time more for the answer to come back
    let limit = args.timeout + Duration::from_secs(30);
    // standard error belongs to the guest's program, so nothing is said about the wait
    wait_for_operation(gateway, &accepted.operation_id, Some(limit), async |_| {}).await?;
    let request = GetExecOutputRequest { operation: accepted.operation_id };
    let output = gateway.read(request, async |r| gateway.instances().get_exec_output(r).await).await?;
    if session.format == Format::Table {
        print_bytes(&output.stdout)?;
        let _ = std::io::stderr().lock().write_all(&output.stderr);
        if output.truncated {
            // part of the result, so it is said even when progress is not wanted
            note("berth: the output was cut off after 64 KiB; let the program write to a file in the guest");
        }
    } else {
        session.format.print("GetExecOutputResponse", &output, String::new)?;
    }
    Ok(exit_code(output.exit_code))
}

/// The platform takes no more than an hour.
fn limit(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time > Duration::from_hours(1) { Err(format!("{text:?}: expected at most 1h")) } else { Ok(time) }
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_STDIN_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read standard input: {error}")))?;
    if bytes.len() as u64 > MAX_STDIN_BYTES {
        return Err(Failure::usage("standard input is larger than 1 MiB"));
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
