//! The services' own settings on a node: `[services.<program>]` in node.toml, `BERTH_NODE__SERVICES__<PROGRAM>__…`.

use crate::assembly::{given, leaves, said_by_the_node};
use crate::services::{SERVICES, named};
use crate::settings::NodeSettings;
use chassis::Service;
use serde_json::Value;
use terminal::config::Effective;

/// A variable of the environment knows no dashes: "services.host_driver.concurrency" is "services.host-driver.concurrency".
pub(crate) fn with_program(key: &str) -> String {
    let mut parts: Vec<&str> = key.split('.').collect();
    if let ["services", name, ..] = parts[..]
        && let Ok(service) = named(name)
    {
        parts[1] = service.program;
    }
    parts.join(".")
}

/// What is wrong with them, one sentence each, with where it was said and what would be right.
pub(crate) fn wrong(settings: &NodeSettings, effective: &[Effective]) -> Vec<String> {
    let mut problems = Vec::new();
    for (program, said) in &settings.services {
        let found = SERVICES.into_iter().find(|service| service.program == program);
        let from = origin(effective, &format!("services.{program}"));
        match found {
            None => {
                let known: Vec<&str> = SERVICES.iter().map(|service| service.program).collect();
                problems.push(format!(
                    "services.{program} ({from}) is no service: expected one of {}",
                    known.join(", ")
                ));
            }
            Some(service) => {
                let unknown = unknown(service, said, settings, effective);
                if unknown.is_empty()
                    && let Err(error) = (service.check)(&given(service, settings, None))
                {
                    problems.push(format!("services.{program} ({from}): {error:#}"));
                }
                problems.extend(unknown);
            }
        }
    }
    problems
}

fn unknown(service: &Service, said: &Value, settings: &NodeSettings, effective: &[Effective]) -> Vec<String> {
    let (of_node, program) = (said_by_the_node(service, settings), service.program);
    let known: Vec<String> =
        leaves(&(service.defaults)()).into_iter().filter(|key| !of_node.contains(key)).collect();
    // a table that is empty by default takes any key: labels, shares of faults
    let is_known = |key: &String| {
        known
            .iter()
            .any(|known| key == known || key.strip_prefix(known.as_str()).is_some_and(|r| r.starts_with('.')))
    };
    let problem = |key: &String| {
        let (full, from) =
            (format!("services.{program}.{key}"), origin(effective, &format!("services.{program}.{key}")));
        if of_node.contains(key) {
            return format!("{full} ({from}): the node says this itself, by its own settings");
        }
        format!("{full} ({from}) is no setting of the {program}: expected one of {}", known.join(", "))
    };
    leaves(said).iter().filter(|key| !is_known(key)).map(problem).collect()
}

/// Settings of services that nobody set, for who wants to know what can be set.
pub(crate) fn defaults(settings: &NodeSettings) -> Vec<Effective> {
    let mut found = Vec::new();
    for service in SERVICES {
        let (of_node, defaults) = (said_by_the_node(service, settings), (service.defaults)());
        let said = settings.services.get(service.program).map(leaves).unwrap_or_default();
        for key in leaves(&defaults).into_iter().filter(|key| !of_node.contains(key) && !said.contains(key)) {
            let value = key.split('.').fold(&defaults, |at, part| &at[part]);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.push(Effective {
                key: format!("services.{}.{key}", service.program),
                value,
                origin: "default".to_owned(),
            });
        }
    }
    found
}

/// Where a setting, or the first one below it, was said.
fn origin(effective: &[Effective], key: &str) -> String {
    let below = |found: &&Effective| {
        found.key == key || found.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
    };
    effective.iter().find(below).map_or_else(|| "default".to_owned(), |found| found.origin.clone())
}
