//! The token of a login, in the user's settings file.

use super::contexts::{ClientFile, read_or_empty, replace};
use super::{ClientFlags, Environment, layer};
use ::client::{Connect, Failure};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table, TableLike, value};

/// Keeps the token of a session, and says under which context and in which file. The context in use gets it when it
/// stands in the user's file; otherwise one called after the user is made. It is the one in use from then on.
pub fn keep_session(
    connect: &Connect,
    user: &str,
    token: &str,
    flags: &ClientFlags,
    environment: &Environment,
) -> Result<(String, PathBuf), Failure> {
    let path = super::client::user_file(flags, environment);
    let own: Option<layer::File<ClientFile>> = layer::read(&path)?;
    let contexts = own.map(|file| file.content.contexts).unwrap_or_default();
    let files = super::client::files(flags, environment)?;
    let chosen = super::client::chosen_context(flags, environment, &files).map(|(name, _)| name);
    // a session at another gateway is another context
    let same = |name: &String| contexts.get(name).is_some_and(|known| known.endpoint == connect.endpoint);
    let name = chosen.filter(same).unwrap_or_else(|| user.replace('@', "."));
    let text = with_session(&read_or_empty(&path)?, &name, connect, token)
        .map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    replace(&path, &text)?;
    Ok((name, path))
}

/// Takes the token out of the context in use, when it stands in the user's file.
pub fn forget_session(flags: &ClientFlags, environment: &Environment) -> Result<Option<PathBuf>, Failure> {
    let path = super::client::user_file(flags, environment);
    let files = super::client::files(flags, environment)?;
    let Some((name, _)) = super::client::chosen_context(flags, environment, &files) else { return Ok(None) };
    let mut document = parse(&read_or_empty(&path)?, &path)?;
    let context = document.get_mut("contexts").and_then(|all| all.get_mut(&name));
    let taken = context.and_then(Item::as_table_like_mut).and_then(|context| context.remove("token"));
    if taken.is_none() {
        return Ok(None);
    }
    replace(&path, &document.to_string())?;
    Ok(Some(path))
}

fn parse(text: &str, path: &Path) -> Result<DocumentMut, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The settings file with the token in a context; comments and everything else stay as they are.
fn with_session(text: &str, name: &str, connect: &Connect, token: &str) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let contexts = document.entry("contexts").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let contexts = contexts.as_table_like_mut().ok_or("contexts is no table")?;
    let context = contexts.entry(name).or_insert_with(|| Item::Table(Table::new()));
    let context = context.as_table_like_mut().ok_or_else(|| format!("contexts.{name} is no table"))?;
    set(context, "endpoint", value(connect.endpoint.as_str()));
    set(context, "token", value(token));
    context.remove("token_file");
    if let Some(file) = &connect.ca_file {
        let whole = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        set(context, "ca_file", value(whole.display().to_string()));
    }
    if connect.allow_plain_http {
        set(context, "allow_plain_http", value(true));
    }
    set(document.as_table_mut(), "current", value(name));
    Ok(document.to_string())
}

/// Sets a key; one that is there keeps the comments around it.
fn set(table: &mut dyn TableLike, key: &str, value: Item) {
    match table.get_mut(key) {
        Some(present) => *present = value,
        None => drop(table.insert(key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn connect(endpoint: &str) -> Connect {
        Connect {
            endpoint: endpoint.into(),
            token: String::new(),
            tenant: String::new(),
            ca_file: None,
            allow_plain_http: false,
            request_timeout: Duration::from_secs(1),
            attempts: 1,
        }
    }

    fn place(text: &str) -> (tempfile::TempDir, PathBuf, Environment) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).expect("writes");
        let home = folder.path().display().to_string();
        let environment = Environment::of(&[("HOME", &home), ("BERTH_CONFIG", &path.display().to_string())]);
        (folder, path, environment)
    }

    fn read(path: &Path) -> ClientFile {
        let read: layer::File<ClientFile> = layer::read(path).expect("valid").expect("there");
        read.content
    }

    #[test]
    fn the_context_in_use_gets_the_token_and_the_rest_stays() {
        let text = "# mine\ncurrent = \"a\"\n\n[contexts.a] # here\nendpoint = \"http://127.0.0.1:1\"\ntoken_file = \"x\"\ntenant = \"acme\"\n";
        let (_folder, path, environment) = place(text);
        let flags = ClientFlags::default();
        let kept = keep_session(&connect("http://127.0.0.1:1"), "ann@acme", "secret", &flags, &environment);
        assert_eq!(kept.expect("kept"), ("a".to_owned(), path.clone()));
        let written = std::fs::read_to_string(&path).expect("reads");
        assert!(written.starts_with("# mine\n") && written.contains("[contexts.a] # here"), "{written}");
        let context = &read(&path).contexts["a"];
        assert_eq!((context.token.as_str(), &context.token_file), ("secret", &None));
        assert_eq!(context.tenant, "acme");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(forget_session(&flags, &environment).expect("forgotten"), Some(path.clone()));
        assert!(!std::fs::read_to_string(&path).expect("reads").contains("secret"));
        assert_eq!(forget_session(&flags, &environment).expect("nothing left"), None);
    }

    #[test]
    fn another_gateway_is_another_context() {
        let text = "current = \"a\"\n[contexts.a]\nendpoint = \"http://127.0.0.1:1\"\ntoken = \"of a\"\n";
        let (_folder, path, environment) = place(text);
        let flags = ClientFlags::default();
        let kept = keep_session(&connect("http://127.0.0.1:2"), "ann@acme", "secret", &flags, &environment);
        assert_eq!(kept.expect("kept").0, "ann.acme");
        let file = read(&path);
        assert_eq!(file.current.as_deref(), Some("ann.acme"));
        assert_eq!(
            (file.contexts["a"].token.as_str(), file.contexts["ann.acme"].token.as_str()),
            ("of a", "secret")
        );
    }
}
