//! Running the program.

use super::fake::Fake;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// How the program ended and what it printed.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub struct Berth {
    home: tempfile::TempDir,
    endpoint: String,
    stdin: Option<Vec<u8>>,
    variables: Vec<(String, String)>,
}

impl Berth {
    pub fn at(fake: &Fake) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            endpoint: fake.endpoint.clone(),
            stdin: None,
            variables: Vec::new(),
        }
    }

    pub fn nowhere() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            endpoint: String::new(),
            stdin: None,
            variables: Vec::new(),
        }
    }

    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = Some(bytes.to_vec());
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in the home folder; its path.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Runs the words of `line` as arguments.
    pub async fn run(&self, line: &str) -> Outcome {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_berth"));
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("RUST_BACKTRACE", "1")
            .env("XDG_DATA_HOME", self.home.path());
        command.env("BERTH_CONFIG", self.file("config.toml", b""));
        if !self.endpoint.is_empty() {
            command.env("BERTH_ENDPOINT", &self.endpoint);
        }
        command.envs(self.variables.clone()).args(line.split_whitespace()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // a program that ends without reading is fine
        let _ = input.write_all(self.stdin.as_deref().unwrap_or_default()).await;
        drop(input);
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("berth {line} did not end within 60 s")).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
