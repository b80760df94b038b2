//! One layer of settings, with the origin of each value.

use ::client::Failure;
use config::{Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Values from one place.
#[derive(Debug, Clone, Default)]
pub struct Layer(pub Map<String, Value>);

impl Layer {
    /// Sets a value of the top level.
    pub fn set(&mut self, key: &str, value: impl Into<ValueKind>, origin: &str) {
        self.0.insert(key.to_owned(), Value::new(Some(&origin.to_owned()), value));
    }

    /// Sets a value at a path, making the tables on the way.
    pub fn set_at(&mut self, path: &[&str], value: impl Into<ValueKind>, origin: &str) {
        if let [first, rest @ ..] = path {
            let entry = self.0.entry((*first).to_owned());
            set_in(entry.or_insert_with(|| Value::new(None, ValueKind::Nil)), rest, value.into(), origin);
        }
    }
}

fn set_in(target: &mut Value, path: &[&str], value: ValueKind, origin: &str) {
    let [first, rest @ ..] = path else {
        *target = Value::new(Some(&origin.to_owned()), value);
        return;
    };
    if !matches!(target.kind, ValueKind::Table(_)) {
        target.kind = ValueKind::Table(Map::new());
    }
    if let ValueKind::Table(table) = &mut target.kind {
        set_in(
            table.entry((*first).to_owned()).or_insert_with(|| Value::new(None, ValueKind::Nil)),
            rest,
            value,
            origin,
        );
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// A TOML file, read twice: as a `T`, which refuses what it does not know, and as values that know their line.
pub struct File<T> {
    /// What the file says.
    pub content: T,
    /// The same with origins, `path:line`.
    pub layer: Layer,
}

/// Reads a file; `None` when there is none. Errors name the file, the line and what would be right.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<File<T>>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::usage(format!("settings file {}: {error}", path.display()))),
    };
    parse(&text, path).map(Some)
}

pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<File<T>, Failure> {
    let content = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
    let table = DeTable::parse(text).map_err(|error| explain(&error, text, path))?;
    Ok(File { content, layer: Layer(values(table.get_ref(), text, path)) })
}

/// "…/config.toml:7: unknown field `endpiont`, expected one of `endpoint`, …", with the line itself as a detail.
fn explain(error: &toml::de::Error, text: &str, path: &Path) -> Failure {
    let message = error.message().trim().replace('\n', ", ");
    match error.span() {
        Some(span) => {
            let line = line_of(text, span.start);
            let mut failure = Failure::usage(format!("{}:{line}: {message}", path.display()));
            // a line that may hold a secret is not repeated
            let written = text.lines().nth(line - 1).unwrap_or_default().trim();
            if !written.is_empty() && !written.contains("token") {
                failure.reasons.push(format!("line {line} is: {written}"));
            }
            failure
        }
        None => Failure::usage(format!("{}: {message}", path.display())),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

fn values(table: &DeTable<'_>, text: &str, path: &Path) -> Map<String, Value> {
    table
        .iter()
        .map(|(key, value)| {
            let origin = format!("{}:{}", path.display(), line_of(text, key.span().start));
            (key.get_ref().to_string(), value_of(value.get_ref(), &origin, text, path))
        })
        .collect()
}

fn value_of(value: &DeValue<'_>, origin: &String, text: &str, path: &Path) -> Value {
    let kind = match value {
        DeValue::String(s) => ValueKind::String(s.to_string()),
        DeValue::Boolean(b) => ValueKind::Boolean(*b),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
            .map_or_else(|_| ValueKind::String(i.as_str().to_owned()), ValueKind::I64),
        DeValue::Float(f) => ValueKind::String(f.as_str().to_owned()),
        DeValue::Datetime(d) => ValueKind::String(d.to_string()),
        DeValue::Array(items) => {
            ValueKind::Array(items.iter().map(|item| value_of(item.get_ref(), origin, text, path)).collect())
        }
        DeValue::Table(table) => ValueKind::Table(values(table, text, path)),
    };
    Value::new(Some(origin), kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[derive(Default)]
    struct Sample {
        name: String,
        inner: std::collections::BTreeMap<String, u32>,
    }

    #[test]
    fn values_know_their_line() {
        let text = "name = \"a\"\n\n[inner]\nx = 0x10\n";
        let file: File<Sample> = parse(text, Path::new("/c.toml")).expect("valid");
        assert_eq!((file.content.name.as_str(), file.content.inner["x"]), ("a", 16));
        let inner = file.layer.0["inner"].clone().into_table().expect("a table");
        assert_eq!(inner["x"].origin(), Some("/c.toml:4"));
        assert_eq!(inner["x"].clone().into_int().expect("a number"), 16);
    }

    #[test]
    fn mistakes_name_file_line_and_what_would_be_right() {
        for (text, place, words) in [
            ("name = \"a\"\nnmae = 1\n", "/c.toml:2", "expected `name` or `inner`"),
            ("[inner]\nx = \"many\"\n", "/c.toml:2", "expected u32"),
            ("name = \n", "/c.toml:1", ""),
        ] {
            let Err(failure) = parse::<Sample>(text, Path::new("/c.toml")) else { panic!("{text}") };
            let said = failure.to_string();
            assert!(said.contains(place) && said.contains(words), "{said}");
        }
    }
}
