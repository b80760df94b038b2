//! The source tree in memory: every text file of the repository, by its path.

use std::collections::BTreeMap;
use std::path::Path;

pub struct Tree {
    /// Path relative to the root, with '/', and the text.
    pub files: BTreeMap<String, String>,
    /// Names of everything at the top level, folders with a '/' at the end.
    pub top_level: Vec<String>,
}

const TEXT: [&str; 5] = ["rs", "toml", "proto", "md", "sql"];

impl Tree {
    /// What stands in the repository this test was built from.
    pub fn of_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut tree = Self { files: BTreeMap::new(), top_level: Vec::new() };
        for entry in std::fs::read_dir(&root).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let folder = entry.file_type().unwrap().is_dir();
            tree.top_level.push(if folder { format!("{name}/") } else { name.clone() });
            if name != "target" && !name.starts_with('.') {
                tree.read(&entry.path(), &name);
            }
        }
        assert!(tree.files.len() > 50, "the source tree was not found at {}", root.display());
        tree
    }

    fn read(&mut self, path: &Path, name: &str) {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let inner = entry.file_name().into_string().unwrap();
                if inner != "target" && !inner.starts_with('.') {
                    self.read(&entry.path(), &format!("{name}/{inner}"));
                }
            }
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| TEXT.contains(&e)) {
            self.files.insert(name.to_owned(), std::fs::read_to_string(path).unwrap());
        }
    }

    /// A sample for a test. Top-level names are derived from the paths.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut top_level: Vec<String> = files
            .iter()
            .map(|(path, _)| {
                path.split_once('/').map_or((*path).to_owned(), |(folder, _)| format!("{folder}/"))
            })
            .collect();
        top_level.dedup();
        Self { files: files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect(), top_level }
    }

    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The manifests of the members, not the root.
    pub fn members(&self) -> impl Iterator<Item = (&str, toml::Table)> {
        self.files.iter().filter(|(path, _)| path.ends_with("/Cargo.toml")).map(|(path, text)| {
            (path.as_str(), text.parse().unwrap_or_else(|error| panic!("{path}: {error}")))
        })
    }

    /// Names of the services that are more than an empty crate.
    pub fn services(&self) -> Vec<&str> {
        let mains =
            self.files.keys().filter_map(|path| path.strip_prefix("services/")?.strip_suffix("/src/main.rs"));
        mains.filter(|name| !name.contains('/')).collect()
    }
}
