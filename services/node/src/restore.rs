//! `berth replay rebuild`: a service's database again from the events, in the place of the one that is there.

use super::assembly::{Folders, given};
use super::compare::Subject;
use super::pki;
use super::settings::NodeSettings;
use super::up::broker_for;
use anyhow::Context;
use bus::Desk;
use bus::rebuild::{Rebuilt, rebuild};
use chassis::Service;
use kernel::{Clock, SystemClock};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A database that was made again.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Restored {
    /// What was read and applied.
    pub rebuilt: Rebuilt,
    /// Where the old database is now; none: there was none.
    pub kept: Option<PathBuf>,
}

/// Makes the database of `service` from the events and puts it in the place of the old one, which is kept beside it.
/// The node must not run: its broker is started for this alone. An error leaves the old database where it was.
pub async fn replay_rebuild(settings: NodeSettings, service: &'static Service) -> anyhow::Result<Restored> {
    let folders = Folders::of(&settings);
    let pki = pki::existing(&folders.pki())?;
    let health = chassis::Health::default();
    let (access, broker) = broker_for(&settings, &folders, pki.as_ref(), &health).await?;
    let outcome = async {
        let open = async |bus| bus::Connection::open(&bus, "replay rebuild", bus::Report::none()).await;
        open(access.setup()).await?;
        let connection = open(access.operator()).await?;
        replace(&connection, &settings, &folders, service).await
    }
    .await;
    if let Some(broker) = broker {
        broker.stop().await;
    }
    outcome
}

async fn replace(
    connection: &bus::Connection,
    settings: &NodeSettings,
    folders: &Folders,
    service: &'static Service,
) -> anyhow::Result<Restored> {
    let subject = Subject { service, given: given(service, settings, None) };
    let (place, fresh) =
        (folders.database_file(service), folders.database_file(service).with_extension("rebuilt"));
    for leftover in files_of(&fresh) {
        remove(&leftover)?;
    }
    let store = subject.open(&format!("sqlite://{}", fresh.display())).await?;
    let desk = Desk::new(service.name, store.clone(), Arc::new(SystemClock));
    let rebuilt = rebuild(connection, &desk, &*subject.tables(&store)?).await;
    store.close().await;
    let rebuilt = rebuilt.context("the old database is as it was")?;
    let kept = set_aside(&place)?;
    for (from, to) in files_of(&fresh).into_iter().zip(files_of(&place)) {
        rename(&from, &to)?;
    }
    Ok(Restored { rebuilt, kept })
}

/// A SQLite database and what may lie beside it.
fn files_of(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = database.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}

/// Moves an old database and what lies beside it out of the way. Also of one that is missing, what lies beside it may
/// hold the last of its transactions. Answers where it is now.
fn set_aside(database: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".{}", SystemClock.now().micros()));
    let aside = PathBuf::from(name);
    // also what lies beside a missing database: it may hold what was written last
    let mut kept = false;
    for (from, to) in files_of(database).into_iter().zip(files_of(&aside)) {
        kept |= rename(&from, &to)?;
    }
    Ok(kept.then_some(aside))
}

/// Gives a file another name. False: there is none.
fn rename(from: &Path, to: &Path) -> anyhow::Result<bool> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("renaming {}", from.display())),
    }
}

/// Removes what a rebuild that was cut short left behind: nobody ever served from it.
fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_missing_database_is_set_aside_too() {
        let folder = tempfile::tempdir().expect("folder");
        let database = folder.path().join("x.db");
        assert_eq!(set_aside(&database).expect("nothing there"), None);
        let log = files_of(&database)[1].clone();
        std::fs::write(&log, "written last").expect("written");
        let aside = set_aside(&database).expect("set aside").expect("something was there");
        assert!(!log.exists());
        assert_eq!(std::fs::read_to_string(&files_of(&aside)[1]).expect("kept"), "written last");
    }
}
