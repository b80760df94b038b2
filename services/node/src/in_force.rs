//! The settings a node was last started with, flags and all: whoever looks at it later has to know them.

use super::NodeSettings;
use anyhow::Context;
use std::io::Write;
use std::path::Path;

const FILE: &str = "in-force.json";

/// Writes the settings beside the node's data, for its owner only: a broker's URL may hold a password.
pub fn write(settings: &NodeSettings) -> anyhow::Result<()> {
    let path = settings.data_dir.join(FILE);
    let place = || format!("writing {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(&settings.data_dir).with_context(place)?;
    file.write_all(&serde_json::to_vec_pretty(settings)?).with_context(place)?;
    file.persist(&path).with_context(place)?;
    Ok(())
}

/// Reads them; `None` = no node was started there, or one of another version.
pub fn read(folder: &Path) -> Option<NodeSettings> {
    let text = std::fs::read(folder.join(FILE)).ok()?;
    let settings: NodeSettings = serde_json::from_slice(&text).ok()?;
    // a folder that was moved is where it is now
    Some(NodeSettings { data_dir: std::path::absolute(folder).ok()?, ..settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(read(folder.path()), None);
        let mut settings = NodeSettings { data_dir: folder.path().to_owned(), ..NodeSettings::default() };
        settings.insecure_dev = true;
        settings.host.labels.insert("zone".into(), "a".into());
        write(&settings).expect("written");
        assert_eq!(read(folder.path()), Some(settings));
        let mode = std::fs::metadata(folder.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
