//! Which setting wins, and where it is said to come from.

use super::*;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.toml"), config).expect("writes");
        Self { folder }
    }

    fn load(&self, flags: ClientFlags, variables: &[(&str, &str)]) -> Result<ClientSettings, Failure> {
        let home = self.folder.path().display().to_string();
        let file = self.folder.path().join("config.toml").display().to_string();
        let mut all = vec![("HOME", home.as_str()), ("BERTH_CONFIG", file.as_str())];
        all.extend_from_slice(variables);
        load(&flags, &Environment::of(&all))
    }
}

fn from<'a>(settings: &'a ClientSettings, key: &str) -> (&'a str, &'a str) {
    let found = settings.effective.iter().find(|e| e.key == key).unwrap_or_else(|| panic!("no {key}"));
    (found.value.as_str(), found.origin.as_str())
}

const TWO: &str = "current = \"a\"\noutput = \"yaml\"\n[contexts.a]\nendpoint = \"http://127.0.0.1:1\"\ntoken = \"of-a\"\n\
                   [contexts.b]\nendpoint = \"http://127.0.0.1:2\"\ntoken_file = \"b.token\"\n";

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let place = Place::with(TWO);
    let settings = place.load(ClientFlags::default(), &[]).expect("valid");
    assert_eq!(settings.connect.endpoint, "http://127.0.0.1:1");
    assert_eq!((settings.output, settings.connect.token.as_str()), (Format::Yaml, "of-a"));
    assert!(from(&settings, "endpoint").1.ends_with("config.toml:4"), "{:?}", from(&settings, "endpoint"));
    assert_eq!(from(&settings, "token").0, "(hidden)");
    assert_eq!(from(&settings, "attempts"), ("5", "default"));

    let env = [("BERTH_OUTPUT", "json"), ("BERTH_ATTEMPTS", "2")];
    let settings = place.load(ClientFlags::default(), &env).expect("valid");
    assert_eq!((settings.output, settings.connect.attempts), (Format::Json, 2));
    assert_eq!(from(&settings, "output"), ("json", "BERTH_OUTPUT"));

    let flags = ClientFlags { output: Some(Format::Table), ..ClientFlags::default() };
    let settings = place.load(flags, &env).expect("valid");
    assert_eq!(from(&settings, "output"), ("table", "--output"));
}

#[test]
fn a_context_can_be_named_and_its_paths_are_relative_to_its_file() {
    let place = Place::with(TWO);
    std::fs::write(place.folder.path().join("b.token"), "of-b\n").expect("writes");
    let settings = place.load(ClientFlags::default(), &[("BERTH_CONTEXT", "b")]).expect("valid");
    assert_eq!(
        (settings.connect.endpoint.as_str(), settings.connect.token.as_str()),
        ("http://127.0.0.1:2", "of-b")
    );
    assert_eq!(from(&settings, "context"), ("b", "BERTH_CONTEXT"));
    let flags = ClientFlags { context: Some("c".into()), ..ClientFlags::default() };
    let failure = place.load(flags, &[]).expect_err("no such context");
    assert!(failure.hint.contains("a, b"), "{failure}");
}

#[test]
fn a_token_of_a_context_never_goes_to_another_endpoint() {
    let place = Place::with(TWO);
    let other = ClientFlags { endpoint: Some("http://127.0.0.1:9".into()), ..ClientFlags::default() };
    assert_eq!(place.load(other.clone(), &[]).expect("valid").connect.token, "");
    let on_purpose = ClientFlags { context: Some("a".into()), ..other };
    assert_eq!(place.load(on_purpose, &[]).expect("valid").connect.token, "of-a");
}

#[test]
fn the_strongest_layer_with_a_credential_decides() {
    let place = Place::with(TWO);
    std::fs::write(place.folder.path().join("b.token"), "of-b").expect("writes");
    let settings = place
        .load(ClientFlags::default(), &[("BERTH_CONTEXT", "b"), ("BERTH_TOKEN", "of-env")])
        .expect("valid");
    assert_eq!(settings.connect.token, "of-env");
    let failure = place
        .load(ClientFlags::default(), &[("BERTH_TOKEN", "x"), ("BERTH_TOKEN_FILE", "/y")])
        .expect_err("contradiction");
    assert_eq!(failure.exit, Exit::Usage);
}

#[test]
fn the_file_of_a_named_node_beats_the_users() {
    let place = Place::with(TWO);
    let node = tempfile::tempdir().expect("a folder");
    let ready = super::super::contexts::Ready {
        endpoint: "http://127.0.0.1:77".into(),
        token: "n".into(),
        ca_file: None,
    };
    crate::config::write_local_context(node.path(), &ready).expect("writes");
    let flags = ClientFlags { data_dir: Some(node.path().into()), ..ClientFlags::default() };
    let settings = place.load(flags, &[]).expect("valid");
    assert_eq!(
        (settings.connect.endpoint.as_str(), settings.connect.token.as_str()),
        ("http://127.0.0.1:77", "n")
    );
}

#[test]
fn a_named_folder_without_a_node_is_a_mistake() {
    let place = Place::with("");
    let flags = ClientFlags { data_dir: Some("/nowhere/berth".into()), ..ClientFlags::default() };
    let failure = place.load(flags, &[]).expect_err("no node");
    assert!(failure.message.contains("no node was started in /nowhere/berth"), "{failure}");
    assert!(place.load(ClientFlags::default(), &[("BERTH_DATA_DIR", "/nowhere/berth")]).is_err());
}

#[test]
fn mistakes_are_told_with_their_place() {
    let failure = Place::with("[contexts.a]\nendpiont = 1\n")
        .load(ClientFlags::default(), &[])
        .expect_err("unknown field");
    assert!(failure.message.contains("config.toml:2") && failure.message.contains("`endpoint`"), "{failure}");
    let place = Place::with("");
    for (name, value) in [("BERTH_OUTPUT", "xml"), ("BERTH_ATTEMPTS", "many"), ("BERTH_ATTEMPTS", "0")] {
        let failure = place.load(ClientFlags::default(), &[(name, value)]).expect_err(value);
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
        assert!(failure.to_string().contains(name) || failure.message.contains("attempts"), "{failure}");
    }
    let failure =
        place.load(ClientFlags::default(), &[("BERTH_CONFIG", "/nowhere/c.toml")]).expect_err("no file");
    assert!(failure.message.contains("/nowhere/c.toml"), "{failure}");
}
