//! `berth` as a user types it.

use crate::machine::Machine;
use crate::programs::program;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A command line that finds its node through a data folder.
#[derive(Debug, Clone)]
pub struct Cli {
    data_dir: PathBuf,
    /// What stands before the program, when it is to run elsewhere.
    through: Vec<OsString>,
}

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The words of the command, for messages.
    pub words: String,
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Cli {
    /// Commands for the node in `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), through: Vec::new() }
    }

    /// Commands that run inside a machine of the test.
    pub fn inside(machine: &Machine, data_dir: &Path) -> Self {
        let way = machine.command(program("berth"));
        let through = std::iter::once(way.get_program()).chain(way.get_args()).map(OsString::from).collect();
        Self { data_dir: data_dir.to_owned(), through }
    }

    /// The command, not yet run.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.through.split_first() {
            None => Command::new(program("berth")),
            Some((program, before)) => {
                let mut command = Command::new(program);
                command.args(before);
                command
            }
        };
        command
            .args(words)
            .env("BERTH_DATA_DIR", &self.data_dir)
            .env("RUST_BACKTRACE", "0")
            .env_remove("BERTH_CONFIG")
            .stdin(Stdio::null());
        command
    }

    /// Runs the command, whatever comes of it.
    pub fn run(&self, words: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(words).output().expect("berth runs");
        Ran {
            words: words.join(" "),
            code: status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs the command; it has to succeed.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "berth {}\n{}{}", ran.words, ran.out, ran.err);
        ran.out
    }

    /// Runs the command with `-o json`; it has to succeed.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.ok(&[words, &["-o", "json"]].concat());
        serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("berth {} -o json: {e}\n{text}", words.join(" ")))
    }

    /// Runs the command; it has to end with this exit code. Returns what it said on standard error.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, code, "berth {}\n{}{}", ran.words, ran.out, ran.err);
        ran.err
    }

    /// All events as JSON, oldest first.
    pub fn events(&self, words: &[&str]) -> Vec<Value> {
        let text = self.ok(&[&["events", "-o", "json"], words].concat());
        text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
    }
}
