//! `berth doctor`: looks at a node, says what is wrong with it and what to do about it.
//!
//! A check looks at one thing and gives findings; it repairs nothing. What it needs to know of the node is gathered once
//! ([`Ground`]), so that a check can be tried on a ground with exactly the fault it looks for.

pub mod checks;
mod finding;
mod ground;
mod http;
mod thresholds;
mod time;

pub use checks::{ALL, Check};
pub use finding::{Finding, Report, State};
pub use ground::{Ground, Wanted};
pub use thresholds::Thresholds;
pub use time::{SystemTime, Time};

use std::time::Duration;

/// How long one check may take; the one that boots a kernel needs most of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the checks, all at once, and answers in their order.
pub async fn examine(ground: &Ground, checks: &[&'static dyn Check]) -> Vec<Report> {
    let looks = checks.iter().map(|check| async {
        let findings = match tokio::time::timeout(PATIENCE, check.look(ground)).await {
            Ok(findings) => findings,
            Err(_) => vec![Finding::problem(
                format!("no answer within {} s", PATIENCE.as_secs()),
                "what this check asks hangs: look at the process and at the disk it waits for",
            )],
        };
        findings.into_iter().map(|finding| Report { check: check.name(), finding }).collect::<Vec<_>>()
    });
    futures::future::join_all(looks).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_name_of_its_own_and_says_what_it_is_about() {
        let names: BTreeSet<&str> = ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), ALL.len());
        for check in ALL {
            assert!(check.name().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", check.name());
            assert!(check.about().len() > 10 && !check.about().ends_with('.'), "{}", check.name());
        }
    }

    #[test]
    fn every_check_is_in_the_readme() {
        let readme = include_str!("../../README.md");
        for check in ALL {
            assert!(readme.contains(&format!("`{}`", check.name())), "{} is not in README.md", check.name());
        }
    }

    #[tokio::test]
    async fn without_anything_to_look_at_nothing_is_called_well() {
        for report in examine(&Ground::empty(), ALL).await {
            // what belongs to the machine and not to a node can be looked at anywhere
            let of_machine = ["memory", "open-files", "prerequisites", "clock", "versions"];
            assert!(
                report.finding.state == State::Skipped || of_machine.contains(&report.check),
                "{}: {:?}",
                report.check,
                report.finding
            );
        }
    }
}
