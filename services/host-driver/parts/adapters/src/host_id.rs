//! The id of this host, in a file of the data folder. Every VM here is known by it: under another id all of them would
//! be strangers, so one is made only where nobody lived before.

use anyhow::{Context, bail};
use chassis::private_file;
use kernel::HostId;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads `<data>/host-id`. Makes one when there is none and nothing shows that a host lived here: no disks, none set
/// aside, no database at `database_url`.
pub fn read_or_make(data: &Path, database_url: &str) -> anyhow::Result<HostId> {
    let path = data.join("host-id");
    let place = || path.display().to_string();
    if let Some(text) = private_file::read(&path).with_context(|| format!("the host's id {}", place()))? {
        return text.trim().parse().with_context(|| {
            format!(
                "{} does not hold a host id: put its content back (`berth host list` shows the ids of hosts)",
                place()
            )
        });
    }
    if let Some(trace) = lived_here(data, database_url)? {
        bail!(
            "{} is missing, and {} shows that a host lived here: its VMs are known by that id and nobody would look after \
             them under another. Put the file back (`berth host list` shows the ids of hosts); to begin as a new host on \
             purpose, move {0} away first",
            place(),
            trace.display()
        );
    }
    std::fs::create_dir_all(data).with_context(|| format!("data_dir {}", data.display()))?;
    let made = private_file::read_or_make(&path, || format!("{}\n", HostId::new()));
    let made = made.with_context(|| format!("writing {}", place()))?;
    made.trim().parse().with_context(|| format!("{} does not hold a host id", place()))
}

/// What a host left behind.
fn lived_here(data: &Path, database_url: &str) -> anyhow::Result<Option<PathBuf>> {
    for folder in ["instances", "quarantine"].map(|name| data.join(name)) {
        let found = match std::fs::read_dir(&folder) {
            Ok(mut entries) => entries.next().transpose().map(|entry| entry.is_some()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        if found.with_context(|| format!("looking into {}", folder.display()))? {
            return Ok(Some(folder));
        }
    }
    let Some(database) = store::file_of(database_url) else { return Ok(None) };
    let there = database.try_exists().with_context(|| format!("looking for {}", database.display()))?;
    Ok(there.then_some(database))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(data: &Path) -> anyhow::Result<HostId> {
        read_or_make(data, &format!("sqlite://{}", data.join("db/host.db").display()))
    }

    fn refused(data: &Path, with: &str) {
        let error = format!("{:#}", made(data).expect_err("refused"));
        assert!(error.contains(with), "{error}");
    }

    #[test]
    fn an_id_is_made_once() {
        let data = tempfile::tempdir().expect("folder");
        let first = made(data.path()).expect("made");
        std::fs::create_dir_all(data.path().join("instances/some")).expect("made");
        assert_eq!(made(data.path()).expect("read"), first);
    }

    #[test]
    fn an_id_that_cannot_be_read_is_not_made_anew() {
        let data = tempfile::tempdir().expect("folder");
        let path = data.path().join("host-id");
        for garbled in [&b""[..], b"\xff\xfe", b"not an id"] {
            std::fs::write(&path, garbled).expect("written");
            refused(data.path(), "host-id");
            assert_eq!(std::fs::read(&path).expect("as it was"), garbled);
        }
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("made");
        refused(data.path(), "host-id");
    }

    #[test]
    fn a_missing_id_is_not_made_anew_where_a_host_lived() {
        for trace in ["instances/some", "quarantine/some-1", "db/host.db"] {
            let data = tempfile::tempdir().expect("folder");
            for empty in ["instances", "quarantine", "db"] {
                std::fs::create_dir(data.path().join(empty)).expect("made");
            }
            std::fs::write(data.path().join(trace), "").expect("written");
            refused(data.path(), "a host lived here");
            assert!(!data.path().join("host-id").exists());
            std::fs::remove_file(data.path().join(trace)).expect("moved away");
            made(data.path()).expect("a new host on purpose");
        }
    }
}
