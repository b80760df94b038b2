//! Files that name services are written from the list of services: a service is in all of them or in none.
//!
//! A file is written whole, or a part of it between two marker lines. What stands there is compared; with
//! `BERTH_WRITE_GOLDEN=1` it is written.

mod compose;
mod dockerfile;
mod grafana;
mod nats;
mod postgres;
mod prometheus;
mod readme;
mod settings;
mod units;

use chassis::Service;
use node::SERVICES;
use std::path::{Path, PathBuf};

/// What a writer has to say of one file.
pub(super) enum Piece {
    /// All of it.
    Whole { path: String, text: String },
    /// What stands between the comment `<name>: written` and the comment `<name>: end`.
    Part { path: String, name: &'static str, text: String },
}

/// All pieces of all files.
fn pieces(services: &[&Service]) -> Vec<Piece> {
    [
        compose::write(services),
        nats::write(services),
        dockerfile::write(services),
        postgres::write(services),
        units::write(services),
        settings::write(services),
        prometheus::write(services),
        grafana::write(services),
        readme::write(services),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The file with the piece in it; the error says what is missing in the file.
fn with(piece: &Piece, before: &str) -> Result<String, String> {
    let Piece::Part { path, name, text } = piece else {
        let Piece::Whole { text, .. } = piece else { unreachable!("the other kind") };
        return Ok(text.clone());
    };
    let place = |end: &str| {
        let at = before.lines().scan(0, |at, line| {
            let start = *at;
            *at += line.len() + 1;
            Some((start, line))
        });
        let comment = |line: &str| line.trim_matches(['#', '-', '<', '>', '!', ' ']).to_owned();
        let marks = |line: &str| comment(line) == format!("{name}: {end}");
        let mut found =
            at.filter(|(_, line)| marks(line)).map(|(start, line)| (start, start + line.len() + 1));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(format!("{path}: one line has to be the comment `{name}: {end}`")),
        }
    };
    let ((_, begin), (end, _)) = (place("written")?, place("end")?);
    if begin > end {
        return Err(format!("{path}: `{name}: end` stands before `{name}: written`"));
    }
    Ok(format!("{}{text}{}", &before[..begin], &before[end..]))
}

fn path_of(piece: &Piece) -> &str {
    match piece {
        Piece::Whole { path, .. } | Piece::Part { path, .. } => path,
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// "gateway, scheduler and storage".
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// "BERTH_HOST_DRIVER".
fn variable(service: &Service) -> String {
    format!("BERTH_{}", service.name.to_uppercase())
}

#[test]
fn files_that_name_services_are_as_the_list_of_services_says() {
    let (write, mut wrong) = (std::env::var_os("BERTH_WRITE_GOLDEN").is_some(), Vec::new());
    for piece in pieces(&SERVICES) {
        let file = repository().join(path_of(&piece));
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        match with(&piece, &before) {
            Ok(text) if text == before => {}
            Ok(text) if write => std::fs::write(&file, text).unwrap(),
            Ok(_) => wrong.push(format!("{} is not what the services say", path_of(&piece))),
            Err(why) => wrong.push(why),
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nwrite them: BERTH_WRITE_GOLDEN=1 cargo nextest run --workspace -E 'test(files_that_name_services)'",
        wrong.join("\n")
    );
}

/// A unit, a settings file, a target… of a service that is not there any more would go on being installed.
#[test]
fn there_is_no_file_of_a_service_that_is_not_there() {
    let written: Vec<String> = pieces(&SERVICES).iter().map(|piece| path_of(piece).to_owned()).collect();
    // those of the node, of the broker and of who makes its streams belong to no service
    let others = [
        "deploy/systemd/berth-node.service",
        "deploy/systemd/berth-nats.service",
        "deploy/systemd/berth-setup.service",
        "deploy/docker/setup.toml",
    ];
    for (folder, end) in [("deploy/systemd", ".service"), ("deploy/docker", ".toml")] {
        for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
            let known = written.contains(&path) || others.contains(&path.as_str());
            assert!(known || !path.ends_with(end), "{path} belongs to no service: remove it");
        }
    }
}

/// A service that no other is like, so that a writer that knows the present ones by heart is found out.
fn sample() -> Service {
    use chassis::service::{Access, Needs, Reach};
    Service {
        name: "moon_light",
        program: "moon-light",
        krate: "moon_light",
        about: "the light of the moon",
        migrations: &[],
        tables: |_, _| anyhow::bail!("none"),
        defaults: || serde_json::json!({}),
        check: |_| Ok(()),
        settings: |_| serde_json::json!({}),
        start: |_, _| Box::pin(async { anyhow::bail!("never") }),
        health: &[],
        listens_to_events: true,
        tells: &["scheduler"],
        reach: Reach { samples_of: &["scheduler"], ..Reach::NONE },
        needs: Needs {
            datastore: Access::Read,
            sealing_key: Access::None,
            postgres: true,
            folders: &["craters"],
            packages: &["xz-utils"],
            after: &["gateway"],
            hypervisors: false,
            port: 1969,
            container: "craters = 3\n",
        },
    }
}

#[test]
fn a_service_that_is_added_is_in_every_file() {
    let sample = sample();
    let more: Vec<&Service> = SERVICES.into_iter().chain([&sample]).collect();
    let (before, after) = (pieces(&SERVICES), pieces(&more));
    let text = |piece: &Piece| match piece {
        Piece::Whole { text, .. } | Piece::Part { text, .. } => text.clone(),
    };
    for piece in &before {
        let new: Vec<&Piece> = after.iter().filter(|p| path_of(p) == path_of(piece)).collect();
        if let Piece::Part { path, .. } = piece {
            let all: String = new.iter().map(|p| text(p)).collect();
            let named = all.contains("moon-light") || all.contains("moon_light") || all.contains("craters");
            assert!(named, "{path} does not name it");
        }
    }
    let whole = |path: &str| {
        let found = after.iter().find(|p| path_of(p) == path).map(text);
        found.unwrap_or_else(|| panic!("{path} is not written"))
    };
    let broker: String = after.iter().filter(|p| path_of(p) == "deploy/nats/nats.conf").map(text).collect();
    let user = "{ user: moon_light, password: $NATS_PASSWORD_MOON_LIGHT, permissions: { publish: { allow: [";
    assert!(broker.contains(user) && broker.contains(", moon_light ]"), "{broker}");
    assert!(whole("deploy/systemd/berth-moon-light.service").contains("the light of the moon"));
    assert!(whole("deploy/docker/moon-light.toml").ends_with("[service]\ncraters = 3\n"));
    let compose: String = after.iter().filter(|p| path_of(p) == "compose.yaml").map(text).collect();
    for line in [
        "  moon-light:\n",
        "BERTH_MOON_LIGHT__SERVICE__DATABASE_URL: postgres://",
        "BERTH_MOON_LIGHT__BUS__PASSWORD: ${BERTH_NATS_PASSWORD_MOON_LIGHT:-local-only-moon_light}\n",
        "      NATS_PASSWORD_MOON_LIGHT: ${BERTH_NATS_PASSWORD_MOON_LIGHT:-local-only-moon_light}\n",
        "@postgres/moon_light\n",
        "      gateway: { condition: service_healthy }\n",
        "      - craters:/var/lib/berth/craters\n",
        "      - datastore:/var/lib/berth/datastore:ro\n",
        "    ports: [\"127.0.0.1:1969:1969\"]\n",
        "  craters:\n",
    ] {
        assert!(compose.contains(line), "{line:?} in {compose}");
    }
    let one = compose.split("  moon-light:\n").nth(1).unwrap();
    assert!(!one.split("\n\n").next().unwrap().contains("keys"), "it needs no key: {one}");
}

#[test]
fn a_part_is_put_between_its_markers_and_nowhere_else() {
    let piece = |text: &str| Piece::Part { path: "f".into(), name: "services", text: text.into() };
    let file = "a\n# services: written\nold\n# services: end\nz\n";
    assert_eq!(with(&piece("new\n"), file).unwrap(), "a\n# services: written\nnew\n# services: end\nz\n");
    assert_eq!(
        with(&piece(""), "<!-- services: written -->\nx\n<!-- services: end -->\n").unwrap().lines().count(),
        2
    );
    for bad in ["", "# services: written\n", "# services: end\n# services: written\n"] {
        assert!(with(&piece("x"), bad).is_err(), "{bad:?}");
    }
}
