//! Where files are, and the environment as something tests can replace.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The variables that matter: `BERTH_*`, `HOME`, `XDG_*`.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    root: bool,
}

impl Environment {
    /// Of this process. Values that are no UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let wanted = |name: &str| name.starts_with("BERTH_") || name.starts_with("XDG_") || name == "HOME";
        Self {
            variables: variables.filter(|(name, _)| wanted(name)).collect(),
            root: nix::unistd::geteuid().is_root(),
        }
    }

    /// Of a test.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Self {
            variables: variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            root: false,
        }
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All `BERTH_` variables, for the config crate.
    pub fn berth(&self) -> config::Map<String, String> {
        self.variables
            .iter()
            .filter(|(n, v)| n.starts_with("BERTH_") && !v.is_empty())
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    }

    /// `$BERTH_CONFIG`, or `berth/config.toml` in `$XDG_CONFIG_HOME` or `~/.config`.
    pub(super) fn user_config(&self) -> PathBuf {
        match self.get("BERTH_CONFIG") {
            Some(path) => PathBuf::from(path),
            None => self.home("XDG_CONFIG_HOME", ".config").join("berth/config.toml"),
        }
    }

    /// Where a node keeps its data when nobody says: `/var/lib/berth` for root, `~/.local/share/berth` for others.
    pub fn default_data_dir(&self) -> PathBuf {
        if self.root {
            PathBuf::from("/var/lib/berth")
        } else {
            self.home("XDG_DATA_HOME", ".local/share").join("berth")
        }
    }

    fn home(&self, variable: &str, below_home: &str) -> PathBuf {
        match (self.get(variable), self.get("HOME")) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(home)) => PathBuf::from(home).join(below_home),
            (None, None) => PathBuf::from("/").join(below_home),
        }
    }
}
