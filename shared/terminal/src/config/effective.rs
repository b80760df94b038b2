//! What settings are in force, and why.

use config::{Value, ValueKind};
use std::collections::BTreeMap;

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// "endpoint", "host.driver".
    pub key: String,
    /// Secrets are never in here.
    pub value: String,
    /// "--endpoint", "BERTH_ENDPOINT", "/root/.config/berth/config.toml:4", "default".
    pub origin: String,
}

/// Every leaf below `root`; `variable` gives the environment variable of a key.
pub fn leaves(root: &Value, variable: &dyn Fn(&str) -> String) -> Vec<Effective> {
    let mut found = BTreeMap::new();
    walk("", root, variable, &mut found);
    found.into_values().collect()
}

fn walk(
    key: &str,
    value: &Value,
    variable: &dyn Fn(&str) -> String,
    found: &mut BTreeMap<String, Effective>,
) {
    if let ValueKind::Table(table) = &value.kind {
        for (name, inner) in table {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            walk(&key, inner, variable, found);
        }
        return;
    }
    let origin = match value.origin() {
        None => "default".to_owned(),
        Some("the environment") => variable(key),
        Some(origin) => origin.to_owned(),
    };
    let text = |value: &Value| value.clone().into_string().unwrap_or_default();
    let text = match &value.kind {
        ValueKind::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        _ => text(value),
    };
    found.insert(key.to_owned(), Effective { key: key.to_owned(), value: redact(key, &text), origin });
}

/// Hides tokens, and user names and passwords in URLs.
fn redact(key: &str, text: &str) -> String {
    if key == "token" && !text.is_empty() {
        return "(hidden)".to_owned();
    }
    match text
        .split_once("://")
        .and_then(|(scheme, rest)| rest.rsplit_once('@').map(|(_, host)| (scheme, host)))
    {
        Some((scheme, host)) => format!("{scheme}://(hidden)@{host}"),
        None => text.to_owned(),
    }
}

/// Settings as a table.
pub fn render(settings: &[Effective]) -> String {
    let mut table = crate::output::Table::new(["setting", "value", "from"], "no settings");
    for setting in settings {
        table.row([setting.key.clone(), setting.value.clone(), setting.origin.clone()]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(redact("token", "abc"), "(hidden)");
        assert_eq!(redact("nats.url", "nats://user:pass@host:4222"), "nats://(hidden)@host:4222");
        assert_eq!(redact("nats.url", "nats://host:4222"), "nats://host:4222");
        assert_eq!(redact("token", ""), "");
    }
}
