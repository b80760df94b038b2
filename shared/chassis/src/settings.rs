//! Settings from a file and the environment, with errors that say where and what would be right.

use serde::de::DeserializeOwned;
use std::path::Path;

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("settings: {0}")]
pub struct SettingsError(String);

impl SettingsError {
    pub(crate) fn new(reason: impl std::fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// Reads `file` (TOML or YAML, may be missing when `required` is false) and over it the environment:
/// `BERTH_<PREFIX>__BUS__URL` sets `bus.url`.
pub fn load<T: DeserializeOwned>(prefix: &str, file: &Path, required: bool) -> Result<T, SettingsError> {
    // `separator` alone would also be taken for the prefix separator, and BERTH_X_… be ignored silently
    let environment = config::Environment::with_prefix(&variable_prefix(prefix))
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true);
    config::Config::builder()
        .add_source(config::File::from(file).required(required))
        .add_source(environment)
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|e| SettingsError(e.to_string()))
}

/// "host-driver" -> "BERTH_HOST_DRIVER": shells and unit files know no variables with a dash.
fn variable_prefix(process: &str) -> String {
    format!("BERTH_{}", process.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChassisSettings;

    #[test]
    fn every_process_has_variables_that_a_shell_can_set() {
        assert_eq!(variable_prefix("host-driver"), "BERTH_HOST_DRIVER");
        assert_eq!(variable_prefix("storage"), "BERTH_STORAGE");
    }

    #[test]
    fn a_file_is_read_and_a_wrong_name_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("scheduler.toml");
        std::fs::write(&file, "ops_listen = '127.0.0.1:1'\n[bus]\nurl = 'nats://b:4222'\n").expect("write");
        let settings: ChassisSettings = load("nothing_of_this_name", &file, true).expect("read");
        assert_eq!(settings.bus.url, "nats://b:4222");

        std::fs::write(&file, "[bus]\nurll = 'nats://b:4222'\n").expect("write");
        let error =
            load::<ChassisSettings>("nothing_of_this_name", &file, true).expect_err("refused").to_string();
        assert!(error.contains("urll"), "{error}");
        assert!(load::<ChassisSettings>("x", Path::new("/nonexistent.toml"), true).is_err());
    }
}
