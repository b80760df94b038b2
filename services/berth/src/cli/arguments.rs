//! What every verb understands, and how values on the command line are read.

use crate::config::ClientFlags;
use crate::output::Format;
use clap::Args;
use client::Failure;
use kernel::limits::VCPUS;
use kernel::{Bytes, MilliVcpus};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Shown below `berth --help`.
pub const HELP_EXITS: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused or in conflict, 5 gateway unreachable, \
6 time is up. `berth instance exec` ends with the exit code of the guest's program.

Settings come from flags, then BERTH_* variables, then ~/.config/berth/config.toml (or $BERTH_CONFIG): see `berth config check`.";

/// What every verb understands.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// How results are printed [default: table]
    #[arg(short, long, global = true, value_enum, hide_possible_values = false)]
    pub output: Option<Format>,
    /// Settings file [env: BERTH_CONFIG] [default: ~/.config/berth/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Context of the settings file to use [env: BERTH_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Gateway, https://host:7480 [env: BERTH_ENDPOINT]
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint: Option<String>,
    /// File with the API token [env: BERTH_TOKEN_FILE; the token itself: BERTH_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Tenant to act in; "platform" = among what belongs to none [env: BERTH_TENANT] [default: your own]
    #[arg(long, global = true, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Certificate authority of the gateway in PEM [env: BERTH_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Data folder of a node on this machine; its client.toml tells how to reach it [env: BERTH_DATA_DIR]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Seconds one call may take [env: BERTH_REQUEST_TIMEOUT_S] [default: 60]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub request_timeout: Option<u32>,
    /// The same key makes a repeated command the same request; without one each invocation has its own
    #[arg(long, global = true, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// No progress on standard error
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

impl GlobalArgs {
    /// The settings among them.
    pub fn client_flags(&self) -> ClientFlags {
        ClientFlags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            context: self.context.clone(),
            endpoint: self.endpoint.clone(),
            token_file: self.token_file.clone(),
            tenant: self.tenant.clone(),
            ca_file: self.ca_file.clone(),
            output: self.output,
            request_timeout_s: self.request_timeout,
        }
    }
}

/// Which objects of a list.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// Only objects with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Only objects that are like this: up to 8 terms joined by AND, each a field, one of = != : < <= > >= and a value
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    pub filter: String,
}

impl ListArgs {
    /// The labels.
    pub fn labels(&self) -> Result<BTreeMap<String, String>, Failure> {
        let labels: BTreeMap<String, String> = self.labels.iter().cloned().collect();
        if labels.len() < self.labels.len() {
            return Err(Failure::usage("--label names one label twice: nothing has both values"));
        }
        Ok(labels)
    }
}

/// Whether to wait for the end of what was begun.
#[derive(Debug, Clone, Default, Args)]
pub struct WaitArgs {
    /// Wait until it is done
    #[arg(long)]
    pub wait: bool,
    /// Longest wait, such as 90s, 10m or 1h [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    pub timeout: Option<Duration>,
}

/// "90", "90s", "10m", "1h".
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let explain = || format!("{text:?} is not a time: write 90s, 10m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| explain())?;
    let factor = match &text[digits..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(explain()),
    };
    match number.checked_mul(factor) {
        // a year: longer waits are mistakes, and clocks overflow on the largest
        Some(seconds) if (1..=31_536_000).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?}: expected 1 second to 365 days")),
    }
}

/// "key=value".
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?}: expected key=value")),
    }
}

/// "512MiB" in bytes, above zero.
pub(super) fn size(text: &str) -> Result<u64, String> {
    match Bytes::parse(text)?.0 {
        0 => Err("expected more than 0".to_owned()),
        bytes => Ok(bytes),
    }
}

/// "0.5" CPUs in thousandths, above zero.
pub(super) fn vcpus(text: &str) -> Result<u64, String> {
    match MilliVcpus::parse(text)?.0 {
        0 => Err("expected more than 0".to_owned()),
        milli => Ok(milli),
    }
}

/// The same of one instance.
pub(super) fn instance_vcpus(text: &str) -> Result<u64, String> {
    match vcpus(text)? {
        milli if milli > VCPUS.0 => Err(format!("an instance has at most {VCPUS} CPUs")),
        milli => Ok(milli),
    }
}

/// 64 hex digits, in lower case.
pub(super) fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("{text:?} is not a SHA-256: expected 64 hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_explained() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for bad in ["", "0", "s", "-1s", "1.5h", "5 parsecs", "99999999999999999999s", "9999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(pair("=b").is_err() && pair("ab").is_err());
        assert!(size("0").is_err() && vcpus("0").is_err());
        assert_eq!((size("1GiB"), vcpus("0.5")), (Ok(1 << 30), Ok(500)));
        assert!(vcpus("1000").is_ok() && instance_vcpus("255").is_ok() && instance_vcpus("255.5").is_err());
        assert!(sha256("abc").is_err() && sha256(&"AB".repeat(32)).is_ok_and(|s| s == "ab".repeat(32)));
    }
}
