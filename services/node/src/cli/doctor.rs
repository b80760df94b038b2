//! `berth doctor`.

use crate::doctor::{ALL, Check, Ground, Report, State, Wanted, examine};
use crate::in_force::read as settings_in_force;
use crate::{config, settings::NodeSettings};
use berth::cli::GlobalArgs;
use berth::cli::local::DoctorArgs;
use client::{Exit, Failure, Gateway};
use std::time::Duration;
use terminal::config::{Environment, load};
use terminal::output::{Format, Table};

/// How long the gateway may take for an answer: a doctor does not wait a minute.
const PATIENCE: Duration = Duration::from_secs(10);

/// Exit code of the program.
pub(super) async fn run(args: DoctorArgs, global: &GlobalArgs) -> Result<u8, Failure> {
    let checks = chosen(&args.only)?;
    let format = global.output.unwrap_or_default();
    if args.list {
        return list(&checks, format).map(|()| 0);
    }
    let ground = Ground::gather(wanted(&args, global)?).await;
    let reports = examine(&ground, &checks).await;
    let count = |state| reports.iter().filter(|report| report.finding.state == state).count();
    let value = serde_json::json!({
        "problems": count(State::Problem), "warnings": count(State::Warning),
        "skipped": count(State::Skipped), "ok": count(State::Ok), "findings": reports,
    });
    let sums = format!(
        "{} problems, {} warnings, {} skipped, {} ok\n",
        count(State::Problem),
        count(State::Warning),
        count(State::Skipped),
        count(State::Ok)
    );
    format.print_value(&value, || format!("{}{sums}", render(&reports)))?;
    let bad = count(State::Problem) > 0 || args.strict && count(State::Warning) > 0;
    Ok(if bad { Exit::Failed as u8 } else { 0 })
}

fn chosen(only: &[String]) -> Result<Vec<&'static dyn Check>, Failure> {
    if let Some(unknown) = only.iter().find(|name| !ALL.iter().any(|check| check.name() == name.as_str())) {
        let names: Vec<&str> = ALL.iter().map(|check| check.name()).collect();
        return Err(Failure::usage(format!("no check is called {unknown:?}"))
            .hint(format!("known are {}", names.join(", "))));
    }
    let wanted =
        |check: &&&'static dyn Check| only.is_empty() || only.iter().any(|name| name == check.name());
    Ok(ALL.iter().filter(wanted).copied().collect())
}

fn list(checks: &[&'static dyn Check], format: Format) -> Result<(), Failure> {
    let value: Vec<_> = checks
        .iter()
        .map(|check| serde_json::json!({"check": check.name(), "about": check.about()}))
        .collect();
    format.print_value(&serde_json::json!({"checks": value}), || {
        let mut table = Table::new(["check", "about"], "no checks");
        for check in checks {
            table.row([check.name().to_owned(), check.about().to_owned()]);
        }
        table.render()
    })
}

/// Whatever of node and gateway there is: that one is missing is a finding, not a failure.
fn wanted(args: &DoctorArgs, global: &GlobalArgs) -> Result<Wanted, Failure> {
    let environment = Environment::of_process();
    let (folder, said_by) = config::data_dir(global.data_dir.as_ref(), &environment);
    let elsewhere = global.endpoint.is_some() || global.context.is_some();
    let node: Option<NodeSettings> = match folder.is_dir() {
        // a gateway elsewhere is not the one of a node that happens to be here
        true if !elsewhere || global.data_dir.is_some() => Some(match settings_in_force(&folder) {
            Some(settings) => settings,
            None => config::load(global.data_dir.as_ref(), &[], &environment)?.settings,
        }),
        false if said_by != "default" && !elsewhere => {
            let text = format!("there is no node in {}", folder.display());
            return Err(Failure::usage(text).hint("name the folder of a node with --data-dir"));
        }
        _ => None,
    };
    let process = match &node {
        Some(_) => super::up::process_of(&folder)?.unwrap_or_default(),
        None => String::new(),
    };
    // without settings for a client there is no gateway to ask; the checks that need one say so
    let gateway = load(&global.client_flags(), &environment).and_then(|mut settings| {
        settings.connect.attempts = 1;
        settings.connect.request_timeout = settings.connect.request_timeout.min(PATIENCE);
        Gateway::new(&settings.connect)
    });
    let gateway = match gateway {
        Err(failure) if elsewhere => return Err(failure),
        other => other.ok(),
    };
    Ok(Wanted { node, process, gateway, nats_monitor: args.nats_monitor.clone() })
}

/// The worst first, and below each what to do.
fn render(reports: &[Report]) -> String {
    let mut sorted: Vec<&Report> = reports.iter().collect();
    sorted.sort_by_key(|report| std::cmp::Reverse(report.finding.state));
    let mut table = Table::new(["check", "state", "finding", "what to do"], "no checks");
    for report in sorted {
        let finding = &report.finding;
        table.row([
            report.check.to_owned(),
            finding.state.word().to_owned(),
            finding.finding.clone(),
            finding.advice.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Finding;

    #[test]
    fn what_is_bad_comes_first_and_skipped_is_never_ok() {
        let report = |check, finding| Report { check, finding };
        let text = render(&[
            report("memory", Finding::ok("enough")),
            report("kvm", Finding::skipped("pretended")),
            report("clock", Finding::problem("9 s off", "use NTP")),
        ]);
        let rows: Vec<&str> =
            text.lines().skip(1).map(|line| line.split("  ").next().unwrap_or_default()).collect();
        assert_eq!(rows, ["clock", "kvm", "memory"]);
        assert!(text.contains("skipped") && text.contains("use NTP"), "{text}");
    }

    #[test]
    fn an_unknown_check_is_a_mistake() {
        let failure = chosen(&["clocks".to_owned()]).err().expect("refused");
        assert!(failure.exit == Exit::Usage && failure.hint.contains("clock, "), "{failure}");
        assert_eq!(chosen(&["clock".to_owned()]).expect("known").len(), 1);
        assert_eq!(chosen(&[]).expect("all").len(), ALL.len());
    }
}
