//! Who may depend on whom.

use super::{Tree, Violation, check, finds};
use std::collections::BTreeMap;
use toml::{Table, Value};

const SHARED: [&str; 10] =
    ["kernel", "contracts", "store", "bus", "objects", "chassis", "client", "terminal", "checker", "testkit"];

/// What each shared crate may import of the others: always what is below it, never what is above.
const SHARED_IMPORTS: [(&str, &[&str]); 10] = [
    ("kernel", &[]),
    ("contracts", &["kernel"]),
    ("store", &["kernel"]),
    ("bus", &["kernel", "contracts", "store"]),
    ("objects", &["kernel", "contracts", "store", "bus"]),
    ("chassis", &["kernel", "contracts", "store", "bus"]),
    ("client", &["kernel", "contracts"]),
    ("terminal", &["kernel", "contracts", "client"]),
    ("checker", &["kernel", "contracts", "store", "bus"]),
    ("testkit", &["kernel", "contracts", "store", "bus", "objects", "chassis"]),
];

/// Crates that only a few may use directly, and what the others use.
const RESERVED: [(&str, &[&str], &str); 4] = [
    (
        "async-nats",
        &["bus", "testkit", "chassis", "stories", "benches"],
        "messages leave and arrive through bus",
    ),
    ("virt", &["host-driver-adapters", "stories", "benches"], "only host-driver meets hypervisors"),
    ("axum", &["gateway-api", "chassis", "stories"], "gateway is the only public door"),
    (
        "clap",
        &["berth", "terminal", "benches"],
        "services are told things by settings, only berth has a command line",
    ),
];

/// The crates that may put services together.
const COMPOSERS: [&str; 3] = ["node", "stories", "benches"];

/// Services that are made of parts: crates beside the service, in `parts/`, that share its process and its database. From
/// the lowest up; a part depends on parts below it, its service on all of them, and nobody else on any.
pub const PARTS: [(&str, &[&str]); 3] = [
    ("gateway", &["gateway-api", "gateway-access", "gateway-events"]),
    ("scheduler", &["scheduler-placement"]),
    ("host-driver", &["host-driver-domain", "host-driver-adapters"]),
];

/// Parts that are domain as a whole: every file of theirs is as pure as one in `domain/`. The crate and its folder.
pub const PURE_PARTS: [(&str, &str); 1] =
    [("scheduler-placement", "services/scheduler/parts/placement/src/")];

/// The client is for any machine: what it may use of our own crates.
const CLIENT: (&str, &[&str]) = ("berth", &["kernel", "contracts", "client", "terminal"]);

/// The crates that are tests as a whole.
const TESTS: [&str; 2] = ["stories", "benches"];

struct Dependency {
    name: String,
    /// Only built for tests.
    development: bool,
    entry: Value,
}

fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let mut found = Vec::new();
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = std::iter::once(manifest).chain(targets.filter_map(|(_, target)| target.as_table()));
    for table in tables {
        for (kind, development) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            for (name, entry) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                found.push(Dependency { name: name.clone(), development, entry: entry.clone() });
            }
        }
    }
    found
}

fn crate_name(path: &str, manifest: &Table) -> String {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
    name.unwrap_or_else(|| panic!("{path} has no package.name")).to_owned()
}

/// The service that a crate is a part of, and how many parts are below it.
fn part_of(name: &str) -> Option<(&'static str, usize)> {
    PARTS.iter().find_map(|(service, parts)| Some((*service, parts.iter().position(|part| *part == name)?)))
}

/// Parts depend downward only, and only their own service depends on them.
fn parts_are_below_their_service(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, manifest) in tree.members() {
        let name = crate_name(path, &manifest);
        if path.contains("/parts/") && part_of(&name).is_none() {
            found.push(format!("{path}: {name} is not in the list of parts"));
        }
        for dependency in dependencies(&manifest) {
            let Some((service, place)) = part_of(&dependency.name) else { continue };
            let above = part_of(&name).is_some_and(|(of, own)| of == service && own > place);
            if name != service && !above {
                found.push(format!(
                    "{path}: {name} depends on {}, a part of {service}; only {service} and the parts above may",
                    dependency.name
                ));
            }
        }
    }
    found
}

/// A service imports no other service; only the node and the stories compose them. A part imports no service.
fn services_are_alone(tree: &Tree) -> Vec<Violation> {
    let services: BTreeMap<String, &str> = tree
        .members()
        .filter(|(path, _)| path.starts_with("services/") && !path.contains("/parts/"))
        .map(|(path, manifest)| (crate_name(path, &manifest), path))
        .collect();
    let mut found = Vec::new();
    for (path, manifest) in tree.members() {
        let name = crate_name(path, &manifest);
        if COMPOSERS.contains(&name.as_str()) {
            continue;
        }
        let others = dependencies(&manifest).into_iter().filter(|d| services.contains_key(&d.name));
        found.extend(others.map(|d| {
            format!("{path}: {name} depends on the service {}; services talk over the bus, only {COMPOSERS:?} compose them", d.name)
        }));
    }
    found
}

/// The command line builds without databases, hypervisors and services.
fn the_client_is_light(tree: &Tree) -> Vec<Violation> {
    let own: Vec<String> = tree.members().map(|(path, manifest)| crate_name(path, &manifest)).collect();
    let mut found = Vec::new();
    for (path, manifest) in tree.members().filter(|(path, m)| crate_name(path, m) == CLIENT.0) {
        for dependency in dependencies(&manifest).iter().filter(|d| !d.development) {
            let ours = own.contains(&dependency.name) && !CLIENT.1.contains(&dependency.name.as_str());
            if ours || ["sqlx", "virt", "async-nats"].contains(&dependency.name.as_str()) {
                found.push(format!(
                    "{path}: {} depends on {}; it runs on any machine, and what needs a node is in services/node",
                    CLIENT.0, dependency.name
                ));
            }
        }
    }
    found
}

/// Shared crates import only what is below them, and testkit is for tests only.
fn layers_of_shared(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, manifest) in tree.members() {
        let name = crate_name(path, &manifest);
        for dependency in dependencies(&manifest).iter().filter(|d| SHARED.contains(&d.name.as_str())) {
            let testkit =
                dependency.name == "testkit" && !dependency.development && !TESTS.contains(&name.as_str());
            if testkit {
                found.push(format!("{path}: testkit is a dev-dependency only"));
            }
            let Some((_, allowed)) = SHARED_IMPORTS.iter().find(|(shared, _)| *shared == name) else {
                continue;
            };
            if !dependency.development && !testkit && !allowed.contains(&dependency.name.as_str()) {
                found.push(format!("{path}: {name} may import {allowed:?}, not {}", dependency.name));
            }
        }
        if path.starts_with("shared/") && !SHARED.contains(&name.as_str()) {
            found.push(format!("{path}: {name} is not in the list of shared crates"));
        }
    }
    found
}

/// Crates that meet one part of the world are used in one place.
fn reserved_crates(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, manifest) in tree.members() {
        let name = crate_name(path, &manifest);
        for dependency in dependencies(&manifest).iter().filter(|d| !d.development) {
            let reserved = RESERVED.iter().find(|(reserved, ..)| *reserved == dependency.name);
            if let Some((reserved, _, why)) = reserved.filter(|(_, users, _)| !users.contains(&name.as_str()))
            {
                found.push(format!("{path}: {name} depends on {reserved}; {why}"));
            }
        }
    }
    found
}

/// Every version stands in the root manifest, once.
fn versions_in_one_place(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, manifest) in tree.members() {
        for dependency in dependencies(&manifest) {
            let inherited = dependency.entry.get("workspace").and_then(Value::as_bool) == Some(true);
            let own = ["version", "path", "git"].iter().any(|key| dependency.entry.get(key).is_some());
            if !inherited || own {
                found.push(format!(
                    "{path}: {} must be `{}.workspace = true`; its version stands in the root manifest",
                    dependency.name, dependency.name
                ));
            }
        }
        for key in ["edition", "version", "rust-version", "license", "publish"] {
            let package = manifest.get("package").and_then(|package| package.get(key));
            if package.and_then(|value| value.get("workspace")).and_then(Value::as_bool) != Some(true) {
                found.push(format!("{path}: package.{key} must come from the workspace"));
            }
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool)
            != Some(true)
        {
            found.push(format!("{path}: lints must come from the workspace"));
        }
    }
    found
}

fn manifest(name: &str, rest: &str) -> String {
    let inherited = ["edition", "version", "rust-version", "license", "publish"]
        .map(|key| format!("{key}.workspace = true\n"));
    format!("[package]\nname = \"{name}\"\n{}[lints]\nworkspace = true\n{rest}", inherited.concat())
}

#[test]
fn a_service_imports_no_other_service() {
    check(services_are_alone);
    let (gateway, scheduler) =
        (manifest("gateway", ""), manifest("scheduler", "[dev-dependencies]\ngateway.workspace = true\n"));
    let node = manifest("node", "[dependencies]\ngateway.workspace = true\n");
    let sample = [
        ("services/gateway/Cargo.toml", gateway.as_str()),
        ("services/scheduler/Cargo.toml", &scheduler),
        ("services/node/Cargo.toml", &node),
    ];
    finds(services_are_alone, &sample, &["scheduler depends on the service gateway"]);
}

#[test]
fn a_part_depends_on_parts_below_it() {
    check(parts_are_below_their_service);
    check(services_are_alone);
    let gateway = manifest(
        "gateway",
        "[dependencies]\ngateway-api.workspace = true\ngateway-events.workspace = true\n",
    );
    let api = manifest("gateway-api", "[dependencies]\ngateway-access.workspace = true\n");
    let access = manifest("gateway-access", "[dependencies]\ngateway-api.workspace = true\n");
    let stray = manifest("gateway-stray", "");
    let node = manifest("node", "[dev-dependencies]\ngateway-api.workspace = true\n");
    let sample = [
        ("services/gateway/Cargo.toml", gateway.as_str()),
        ("services/gateway/parts/access/Cargo.toml", &access),
        ("services/gateway/parts/api/Cargo.toml", &api),
        ("services/gateway/parts/stray/Cargo.toml", &stray),
        ("services/node/Cargo.toml", &node),
    ];
    let expected =
        ["gateway-api depends on gateway-access", "gateway-stray is not in", "node depends on gateway-api"];
    finds(parts_are_below_their_service, &sample, &expected);
    let upward = manifest("gateway-api", "[dependencies]\ngateway.workspace = true\n");
    let sample = [
        ("services/gateway/Cargo.toml", gateway.as_str()),
        ("services/gateway/parts/api/Cargo.toml", &upward),
    ];
    finds(services_are_alone, &sample, &["gateway-api depends on the service gateway"]);
}

#[test]
fn the_client_builds_without_any_service() {
    check(the_client_is_light);
    let berth = manifest(
        "berth",
        "[dependencies]\nbus.workspace = true\nsqlx.workspace = true\nclient.workspace = true\n",
    );
    let sample = [
        ("services/berth/Cargo.toml", berth.as_str()),
        ("shared/bus/Cargo.toml", &manifest("bus", "")),
        ("shared/client/Cargo.toml", &manifest("client", "")),
    ];
    finds(the_client_is_light, &sample, &["depends on bus", "depends on sqlx"]);
}

#[test]
fn shared_crates_import_what_is_below_them() {
    check(layers_of_shared);
    let store = manifest(
        "store",
        "[dependencies]\nbus.workspace = true\n[dev-dependencies]\ntestkit.workspace = true\n",
    );
    let gateway = manifest("gateway", "[dependencies]\ntestkit.workspace = true\n");
    let stray = manifest("stray", "");
    let sample = [
        ("services/gateway/Cargo.toml", gateway.as_str()),
        ("shared/store/Cargo.toml", &store),
        ("shared/stray/Cargo.toml", &stray),
    ];
    finds(layers_of_shared, &sample, &["testkit is a dev-dependency", "not bus", "stray is not in the list"]);
}

#[test]
fn crates_that_meet_the_world_are_used_in_one_place() {
    check(reserved_crates);
    let scheduler = manifest("scheduler", "[target.'cfg(unix)'.dependencies]\nasync-nats.workspace = true\n");
    finds(reserved_crates, &[("services/scheduler/Cargo.toml", &scheduler)], &["through bus"]);
}

#[test]
fn versions_stand_in_the_root_manifest_only() {
    check(versions_in_one_place);
    let bad = manifest(
        "a",
        "[dependencies]\nserde = \"1\"\nbytes = { workspace = true, features = [\"x\"] }\ntokio = { version = \"1\" }\n",
    );
    let bare = "[package]\nname = \"b\"\nedition = \"2024\"\n";
    let sample = [("shared/a/Cargo.toml", bad.as_str()), ("shared/b/Cargo.toml", bare)];
    let expected = [
        "serde",
        "tokio",
        "package.edition",
        "package.version",
        "rust-version",
        "license",
        "publish",
        "lints",
    ];
    finds(versions_in_one_place, &sample, &expected);
}
