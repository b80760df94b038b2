//! What a command prints: tables for people, JSON and YAML for programs. Results go to standard output, everything
//! else to standard error.

mod document;
mod human;
mod progress;
mod table;

pub use document::json_of;
pub use human::{age, bytes, local_time, milliseconds, refusal_line, resources, since, word};
pub use progress::ProgressLine;
pub use table::{Table, fields, lines_of};

use client::{Exit, Failure};
use std::io::{ErrorKind, Write as _};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// The answer of the gateway in protobuf's JSON mapping, with the names of the .proto files.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Format {
    /// Prints a result: `human` as it is, or the document of `message`, the answer called `berth.gateway.v1.<name>`.
    pub fn print<M: prost::Message>(
        self,
        name: &str,
        message: &M,
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Table => print(&human()),
            Self::Json | Self::Yaml => {
                self.print_value(&json_of(&format!("berth.gateway.v1.{name}"), message)?, String::new)
            }
        }
    }

    /// Prints a result that is no message.
    pub fn print_value(
        self,
        value: &serde_json::Value,
        human: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Table => print(&human()),
            Self::Json => print(&format!("{value:#}\n")),
            Self::Yaml => {
                let text = serde_norway::to_string(value).map_err(|error| {
                    Failure::new(Exit::Failed, format!("cannot be written as YAML: {error}"))
                })?;
                print(&text)
            }
        }
    }
}

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Writes bytes to standard output, at once.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Exit::Failed, format!("cannot write to standard output: {error}"))),
    }
}

/// Writes a line to standard error; nobody is told when that fails.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
