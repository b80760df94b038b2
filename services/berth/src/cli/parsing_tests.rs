//! The command line as a whole.

use super::*;
use clap::CommandFactory as _;
use clap::error::ErrorKind;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("berth").chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_explains_itself_with_an_example() {
    fn visit(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} says nothing about itself");
        for argument in command.get_arguments().filter(|a| a.get_id() != "help") {
            assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
        }
        // groups of verbs as well: their help is the first that is read
        if path.contains(' ') && path.trim() != "berth" {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                examples.contains("Examples:\n  berth ") || examples.contains("| berth "),
                "{path} has no example"
            );
        }
        command.get_subcommands().for_each(|inner| visit(inner, &path));
    }
    visit(&Cli::command(), "");
}

#[test]
fn examples_in_the_help_are_right() {
    fn visit(command: &clap::Command, found: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.split_once("Examples:\n").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        found.extend(
            lines.lines().map(str::trim).filter(|line| line.starts_with("berth ")).map(str::to_owned),
        );
        command.get_subcommands().for_each(|inner| visit(inner, found));
    }
    let mut found = Vec::new();
    visit(&Cli::command(), &mut found);
    assert!(found.len() > 30, "{found:?}");
    for example in found {
        // what stands in quotes is one word, as a shell reads it; the digests and ids in examples are cut short
        let words = example.split('\'').enumerate();
        let line: String = words.map(|(at, part)| if at % 2 == 1 { "x" } else { part }).collect();
        let line = line.split(['|', '>', '<', '&']).next().unwrap_or_default();
        let line = line.replace("3b1e…", &"ab".repeat(32));
        let line = line
            .split(" -- ")
            .next()
            .map(|head| if line.contains(" -- ") { format!("{head} -- x") } else { head.to_owned() });
        let line = line.unwrap_or_default();
        if let Err(error) = parse(line.trim_start_matches("berth ")) {
            panic!("{example}: {error}");
        }
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (line, kind) in [
        ("instance create a --image i", ErrorKind::MissingRequiredArgument),
        (
            "instance create a --image i --flavor f --vcpus 1 --memory 1GiB --disk 1GiB",
            ErrorKind::ArgumentConflict,
        ),
        ("instance create a --image i --vcpus 1", ErrorKind::MissingRequiredArgument),
        ("instance create a --image i --flavor f --label novalue", ErrorKind::ValueValidation),
        ("instance create a --image i --flavor f --memory 1parsec", ErrorKind::ValueValidation),
        ("instance exec a", ErrorKind::MissingRequiredArgument),
        ("image import a", ErrorKind::MissingRequiredArgument),
        ("image import a --url http://x", ErrorKind::MissingRequiredArgument),
        ("image import --file x", ErrorKind::MissingRequiredArgument),
        ("image import a --file x --manifest m", ErrorKind::ArgumentConflict),
        ("image import a --initramfs x", ErrorKind::MissingRequiredArgument),
        ("events --after 1 --last 1", ErrorKind::ArgumentConflict),
        ("dead show many", ErrorKind::ValueValidation),
        ("instance lsit", ErrorKind::InvalidSubcommand),
        ("status -o xml", ErrorKind::InvalidValue),
    ] {
        match parse(line) {
            Ok(_) => panic!("{line} was taken"),
            Err(error) => assert_eq!(error.kind(), kind, "{line}: {error}"),
        }
    }
}

#[test]
fn global_options_go_anywhere() {
    let cli = parse("-o json instance list --endpoint http://127.0.0.1:1 -q").expect("valid");
    assert_eq!((cli.global.output, cli.global.quiet), (Some(Format::Json), true));
    assert_eq!(cli.global.endpoint.as_deref(), Some("http://127.0.0.1:1"));
}
