//! `berth instance expect-agent`, and who is told of it.

use super::super::Session;
use super::super::arguments::WaitArgs;
use clap::{Args, ValueEnum};
use client::Failure;
use contracts::gateway::v1::ExpectGuestAgentRequest;
use contracts::scheduler::v1::{Instance, InstancePhase};

/// Say whether the agent in the guest is waited for
///
/// An instance with one is ready when it answered; one without is up when it runs. Say no where the image has no
/// qemu-guest-agent, yes where it was installed since. Nothing is done to the guest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth instance expect-agent web-1 no
  berth instance expect-agent web-1 yes")]
#[group(skip)]
pub struct ExpectAgentArgs {
    /// Name or id
    instance: String,
    /// Whether qemu-guest-agent runs in it
    #[arg(value_enum)]
    expected: YesNo,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

pub(super) async fn run(args: ExpectAgentArgs, session: &Session) -> Result<(), Failure> {
    let ExpectAgentArgs { instance, expected, wait } = args;
    let expected = expected == YesNo::Yes;
    let done = format!("the agent of {instance} is {}waited for", if expected { "" } else { "not " });
    let request = ExpectGuestAgentRequest { instance, expected };
    let gateway = &session.gateway;
    let answer = gateway
        .change(request, session.key(), async |r| gateway.instances().expect_guest_agent(r).await)
        .await?;
    session.accepted(&answer, &wait, &done).await
}

/// What somebody can do who waits for a guest whose agent is silent; `None`: it is not the agent that is waited for.
pub(in super::super) fn advice(instance: &Instance) -> Option<String> {
    let expected = instance.boot.as_ref().is_some_and(|boot| boot.guest_agent);
    if instance.phase() != InstancePhase::Running || !expected {
        return None;
    }
    let name = &instance.name;
    let address = instance.addresses.first().map(|it| format!(" at {it}")).unwrap_or_default();
    Some(format!(
        "{name} runs{address}, and the agent in its guest has not answered yet. If it still boots, berth instance console {name} \
         shows it; if its image has no qemu-guest-agent, say so: berth instance expect-agent {name} no"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::scheduler::v1::BootSource;

    #[test]
    fn only_who_waits_for_an_agent_is_told_what_to_do() {
        let boot = |guest_agent| Some(BootSource { guest_agent, ..BootSource::default() });
        let silent = Instance {
            name: "web-1".into(),
            phase: InstancePhase::Running.into(),
            boot: boot(true),
            addresses: vec!["192.0.2.7".into()],
            ..Instance::default()
        };
        let told = advice(&silent).expect("told");
        assert!(
            told.starts_with("web-1 runs at 192.0.2.7, and") && told.contains("expect-agent web-1 no"),
            "{told}"
        );
        assert_eq!(advice(&Instance { boot: boot(false), ..silent.clone() }), None);
        assert_eq!(advice(&Instance { phase: InstancePhase::Starting.into(), ..silent }), None);
    }
}
