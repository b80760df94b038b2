//! Which setting of a node wins, and what is refused.

use super::*;
use crate::assembly::settings_of;
use crate::settings::LogFormat;

fn folder_with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("node.toml"), text).expect("writes");
    folder
}

fn load_in(
    folder: &tempfile::TempDir,
    flags: &[Flag],
    variables: &[(&str, &str)],
) -> Result<Loaded, Failure> {
    load(Some(&folder.path().to_path_buf()), flags, &Environment::of(variables))
}

#[test]
fn nothing_said_gives_the_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let loaded = load_in(&folder, &[], &[]).expect("valid");
    let expected = NodeSettings { data_dir: folder.path().into(), ..NodeSettings::default() };
    assert_eq!(loaded.settings, expected);
}

#[test]
fn flags_beat_environment_beats_file() {
    let folder = folder_with(
        "listen = \"127.0.0.1:1\"\nops_listen = \"127.0.0.1:2\"\n[host]\nlabels = { \"example.com/zone\" = \"a\" }\n[telemetry]\nlog_format = \"json\"\n",
    );
    let variables = [
        ("BERTH_NODE__OPS_LISTEN", "127.0.0.1:3"),
        ("BERTH_NODE__HOST__LABELS__RACK", "7"),
        ("BERTH_NODE__NATS__PORT", "4222"),
    ];
    let flags: [Flag; 1] = [(&["host", "driver"], "simulated".into(), "--driver")];
    let loaded = load_in(&folder, &flags, &variables).expect("valid");
    let settings = &loaded.settings;
    assert_eq!((settings.listen.port(), settings.ops_listen.port(), settings.nats.port), (1, 3, 4222));
    assert_eq!(
        (settings.host.driver, settings.telemetry.log_format),
        (NodeDriver::Simulated, LogFormat::Json)
    );
    assert_eq!(
        settings.host.labels,
        [("example.com/zone".into(), "a".into()), ("rack".into(), "7".into())].into()
    );
    let origin = |key| origin_of(&loaded.effective, key);
    assert!(origin("listen").ends_with("node.toml:1"), "{}", origin("listen"));
    assert_eq!((origin("ops_listen"), origin("host.driver")), ("BERTH_NODE__OPS_LISTEN", "--driver"));
    assert_eq!(origin("nats.sync_always"), "default");
}

#[test]
fn every_check_is_about_a_setting_that_exists() {
    let known = known_keys();
    for (key, ..) in CHECKS {
        assert!(known.iter().any(|k| k == key), "{key}");
    }
}

#[test]
fn wrong_values_are_told_with_place_and_what_would_be_right() {
    for (name, value, expected) in [
        ("BERTH_NODE__LISTEN", "here", "127.0.0.1:7480"),
        ("BERTH_NODE__NATS__PORT", "99999", "65535"),
        ("BERTH_NODE__NATS__LISTEN", "here", "0.0.0.0"),
        ("BERTH_NODE__HOST__DRIVER", "qemu", "libvirt or simulated"),
        ("BERTH_NODE__HOST__SIMULATED_HOSTS", "0", "1 to 100000"),
        ("BERTH_NODE__INSECURE_DEV", "yes", "true or false"),
        ("BERTH_NODE__WEBHOOKS__ALLOW", "10.0.0.0/8, everything", "10.0.0.0/8,fd12::/16"),
        ("BERTH_NODE__LISTEN", "127.0.0.1:7481", "two different ports"),
        ("BERTH_NODE__NATS__URL", "http://x", "nats://"),
        ("BERTH_NODE__LISTNE", "x", "BERTH_NODE__LISTEN"),
        ("BERTH_NODE__HOST__NAME", "A b", "lower case"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let failure = load_in(&folder, &[], &[(name, value)]).expect_err(name).to_string();
        assert!(failure.contains(expected), "{name}: {failure}");
    }
    let failure = load_in(&folder_with("[nats]\nserver = 1\n"), &[], &[]).expect_err("unknown").to_string();
    assert!(failure.contains("node.toml:2") && failure.contains("`server_path`"), "{failure}");
    let failure = load_in(&folder_with("data_dir = \"/x\"\n"), &[], &[]).expect_err("circular").to_string();
    assert!(failure.contains("--data-dir"), "{failure}");
}

#[test]
fn several_mistakes_are_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let variables = [("BERTH_NODE__LISTEN", "x"), ("BERTH_NODE__NATS__PORT", "y")];
    let failure = load_in(&folder, &[], &variables).expect_err("two mistakes");
    assert_eq!(failure.reasons.len(), 2, "{failure}");
    let failure = load_in(&folder_with("\nlisten = \"x\"\n"), &[], &[]).expect_err("one mistake").to_string();
    assert!(failure.contains("node.toml:2"), "{failure}");
}

#[test]
fn without_tls_only_this_machine_may_connect() {
    let folder = folder_with("insecure_dev = true\nlisten = \"0.0.0.0:7480\"\n");
    let failure = load_in(&folder, &[], &[]).expect_err("open to the world").to_string();
    assert!(failure.contains("without TLS"), "{failure}");
    let folder = folder_with("insecure_dev = true\n[nats]\nlisten = \"0.0.0.0\"\n");
    let failure = load_in(&folder, &[], &[]).expect_err("the broker open to the world").to_string();
    assert!(failure.contains("nats.listen") && failure.contains("without TLS"), "{failure}");
    assert!(load_in(&folder_with("listen = \"0.0.0.0:7480\"\n"), &[], &[]).is_ok());
}

#[test]
fn services_are_told_in_their_own_words() {
    let folder = folder_with(
        "[services.scheduler]\norder_patience_s = 60\n[services.gateway.webhooks]\nlog_days = 3\n[services.host-driver.simulated.host.faults.failures]\nstart = 0.5\n",
    );
    let variables =
        [("BERTH_NODE__SERVICES__HOST_DRIVER__CONCURRENCY", "3"), ("BERTH_NODE__HOST__DRIVER", "simulated")];
    let loaded = load_in(&folder, &[], &variables).expect("valid");
    let scheduler: scheduler::Settings = settings_of(&scheduler::SERVICE, &loaded.settings).expect("read");
    assert_eq!(
        (scheduler.order_patience_s, scheduler.max_hosts),
        (60, scheduler::Settings::default().max_hosts)
    );
    let driver: host_driver::Settings = settings_of(&host_driver::SERVICE, &loaded.settings).expect("read");
    assert_eq!((driver.concurrency, driver.drivers.as_slice()), (3, ["simulated".to_owned()].as_slice()));
    assert_eq!(driver.simulated.host.faults.failures["start"], 0.5);
    let gateway: gateway::Settings = settings_of(&gateway::SERVICE, &loaded.settings).expect("read");
    assert_eq!((gateway.webhooks.log_days, gateway.data_dir), (3, folder.path().join("gateway")));
    let origin = |key| origin_of(&loaded.effective, key);
    assert!(origin("services.scheduler.order_patience_s").ends_with("node.toml:2"));
    assert_eq!(origin("services.scheduler.max_hosts"), "default");
    assert_eq!(origin("services.host-driver.concurrency"), "BERTH_NODE__SERVICES__HOST_DRIVER__CONCURRENCY");
}

#[test]
fn a_mistake_in_the_settings_of_a_service_is_told_with_its_place() {
    for (text, words) in [
        (
            "[services.sheduler]\nmax_hosts = 1\n",
            "services.sheduler (PATH:2) is no service: expected one of storage, scheduler",
        ),
        (
            "[services.scheduler]\nmax_host = 1\n",
            "services.scheduler.max_host (PATH:2) is no setting of the scheduler: expected one of",
        ),
        (
            "[services.scheduler]\nmax_hosts = 0\n",
            "services.scheduler (PATH:2): scheduler: max_hosts is 0; set it to 1 or more",
        ),
        ("[services.scheduler]\nmax_hosts = \"many\"\n", "services.scheduler (PATH:2)"),
        (
            "[services.scheduler]\ndatabase_url = \"x\"\n",
            "services.scheduler.database_url (PATH:2): the node says this itself",
        ),
        (
            "[services.host-driver.libvirt]\nuri = \"x\"\n",
            "services.host-driver.libvirt.uri (PATH:2): the node says this itself",
        ),
        ("[services.archive]\nsegment_bytes = 0\n", "segment_bytes is 0"),
        ("[services.gateway]\nkeep_ended_tokens_days = 0\n", "keep_ended_tokens_days is 0: write 1 or more"),
        ("services = 3\n", "services"),
    ] {
        let folder = folder_with(text);
        let said = load_in(&folder, &[], &[]).expect_err(text).to_string();
        let words = words.replace("PATH", &folder.path().join("node.toml").display().to_string());
        assert!(said.contains(&words), "{said}\nexpected {words}");
    }
    let variables = [("BERTH_NODE__SERVICES__SCHEDULER__MAX_HOST", "3")];
    let folder = tempfile::tempdir().expect("a folder");
    let said = load_in(&folder, &[], &variables).expect_err("refused").to_string();
    assert!(
        said.contains("services.scheduler.max_host (BERTH_NODE__SERVICES__SCHEDULER__MAX_HOST)"),
        "{said}"
    );
}
