//! `berth instance exec`.

use super::super::Session;
use crate::client::{Exit, Failure, wait_for_operation};
use crate::output::{Format, print_bytes};
use clap::Args;
use contracts::gateway::v1::{ExecInstanceRequest, GetExecOutputRequest};
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// A request is far smaller; what is larger belongs into a file of the guest.
const MAX_STDIN_BYTES: u64 = 1 << 20;

/// Run a program in the guest through its agent
#[derive(Debug, Args)]
#[command(
    after_help = "Standard output and error of the program are printed when it has ended, and its exit code becomes that of berth.
No shell is involved; name one when you need it. With -o json or yaml the answer is printed (bytes in base64).

Examples:
  berth instance exec web-1 -- uname -a
  berth instance exec web-1 --timeout 300 -- sh -c 'apt-get update && apt-get -y upgrade'
  echo hello | berth instance exec web-1 --stdin -- tee /tmp/greeting"
)]
#[group(skip)]
pub struct ExecArgs {
    /// Name or id
    instance: String,
    /// Seconds the program may take, at most 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Hand standard input to the program, at most 1 MiB
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    argv: Vec<String>,
}

pub(super) async fn run(args: ExecArgs, session: &Session) -> Result<u8, Failure> {
    let stdin = if args.stdin { read_stdin()? } else { Vec::new() };
    let request =
        ExecInstanceRequest { instance: args.instance, argv: args.argv, stdin, timeout_s: args.timeout };
    let gateway = &session.gateway;
    let accepted =
        gateway.change(request, session.key(), async |r| gateway.instances().exec_instance(r).await).await?;
    // the platform ends the program at its limit; some time more for the answer to come back
    let limit = Duration::from_secs(u64::from(args.timeout) + 30);
    // standard error belongs to the guest's program, so nothing is said about the wait
    wait_for_operation(gateway, &accepted.operation_id, Some(limit), async |_| {}).await?;
    let request = GetExecOutputRequest { operation: accepted.operation_id };
    let output = gateway.read(request, async |r| gateway.instances().get_exec_output(r).await).await?;
    if session.format == Format::Table {
        print_bytes(&output.stdout)?;
        let _ = std::io::stderr().lock().write_all(&output.stderr);
        if output.truncated {
            session.note("berth: the output was cut off; write to a file in the guest when there is more");
        }
    } else {
        session.format.print("GetExecOutputResponse", &output, String::new)?;
    }
    Ok(exit_code(output.exit_code))
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
    fn no_failure_of_the_guest_looks_like_success() {
        assert_eq!([0, 1, 255, 256, -1, i32::MIN].map(exit_code), [0, 1, 255, 255, 255, 255]);
    }
}
