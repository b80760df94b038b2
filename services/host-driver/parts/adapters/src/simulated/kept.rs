//! A simulated host in a file: it outlives the process that drives it, as a real hypervisor does.

use super::world::{Vm, Words};
use crate::disks::about::About;
use host_driver_domain::{Ended, Files, Held, Ours, Power};
use kernel::InstanceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// Where a host is kept.
pub(super) struct Kept {
    file: PathBuf,
    written: Vec<u8>,
}

#[derive(Serialize, Deserialize, Default)]
struct Document {
    vms: BTreeMap<String, VmText>,
    files: BTreeMap<String, FilesText>,
    /// Instances that ran on the files they have.
    #[serde(default)]
    ran: Vec<String>,
    #[serde(default)]
    quarantine: BTreeMap<String, About>,
    /// What each guest wrote to its disk when it ran for the first time.
    #[serde(default)]
    written: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct VmText {
    generation: u64,
    marked: String,
    actual: String,
    /// "running"; why it is held: "paused", "io_error", "suspended", "busy", "crashed_in_memory"; or how it ended:
    /// "by_guest", "killed", "crashed", "never".
    power: String,
    boot: u64,
    deaf: bool,
    #[serde(default)]
    unwritable: bool,
    address: String,
    has_agent: bool,
}

#[derive(Serialize, Deserialize)]
struct FilesText {
    /// "partial", "lost", "ready".
    state: String,
    generation: u64,
}

type Vms = BTreeMap<InstanceId, Vm>;
type Written = BTreeMap<InstanceId, String>;

impl Kept {
    /// Opens the file, if there is one, and says what it holds.
    pub fn open(file: &Path) -> io::Result<(Self, Vms, Words, Written)> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // a file that is there and says nothing is damaged: a host is not begun anew over it
        let (written, document) = match std::fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), Document::default()),
            read => {
                let bytes = read?;
                let document = serde_json::from_slice(&bytes)?;
                (bytes, document)
            }
        };
        let id = |text: &str| text.parse::<InstanceId>().map_err(io::Error::other);
        let mut vms = Vms::new();
        for (instance, vm) in document.vms {
            vms.insert(id(&instance)?, vm.read()?);
        }
        let mut disks = Words::default();
        for (instance, text) in document.files {
            disks.files.insert(id(&instance)?, text.read()?);
        }
        for instance in document.ran {
            disks.ran.insert(id(&instance)?);
        }
        for (id, text) in document.quarantine {
            let id = id.parse().map_err(io::Error::other)?;
            disks.quarantine.push(text.read(id).map_err(io::Error::other)?);
        }
        let mut by_guests = Written::new();
        for (instance, text) in document.written {
            by_guests.insert(id(&instance)?, text);
        }
        Ok((Self { file: file.to_owned(), written }, vms, disks, by_guests))
    }

    /// Writes what changed since it was last written. A process that is killed leaves the old file or the new one.
    pub fn save(&mut self, vms: &Vms, disks: &Words, written: &Written) -> io::Result<()> {
        let document = Document {
            vms: vms.iter().map(|(id, vm)| (id.to_string(), VmText::of(vm))).collect(),
            files: disks
                .files
                .iter()
                .filter_map(|(id, f)| Some((id.to_string(), FilesText::of(*f)?)))
                .collect(),
            ran: disks.ran.iter().map(ToString::to_string).collect(),
            quarantine: disks.quarantine.iter().map(|item| (item.id.to_string(), About::of(item))).collect(),
            written: written.iter().map(|(id, text)| (id.to_string(), text.clone())).collect(),
        };
        let text = serde_json::to_vec_pretty(&document)?;
        if text == self.written {
            return Ok(());
        }
        let unfinished = self.file.with_extension("new");
        std::fs::write(&unfinished, &text)?;
        std::fs::rename(&unfinished, &self.file)?;
        self.written = text;
        Ok(())
    }
}

const POWERS: [(Power, &str); 10] = [
    (Power::Running, "running"),
    (Power::Paused(Held::ByHand), "paused"),
    (Power::Paused(Held::IoError), "io_error"),
    (Power::Paused(Held::Suspended), "suspended"),
    (Power::Paused(Held::Busy), "busy"),
    (Power::Paused(Held::Crashed), "crashed_in_memory"),
    (Power::Off(Ended::ByGuest), "by_guest"),
    (Power::Off(Ended::Killed), "killed"),
    (Power::Off(Ended::Crashed), "crashed"),
    (Power::Off(Ended::Never), "never"),
];

impl VmText {
    fn of(vm: &Vm) -> Self {
        let Ours { generation, marked, actual, power, boot, .. } = vm.domain.clone();
        let power = POWERS.iter().find(|(known, _)| *known == power).map_or("never", |(_, word)| word);
        Self {
            generation,
            marked,
            actual,
            power: power.to_owned(),
            boot,
            deaf: vm.deaf,
            unwritable: vm.unwritable,
            address: vm.address.clone(),
            has_agent: vm.has_agent,
        }
    }

    fn read(self) -> io::Result<Vm> {
        let power = POWERS.iter().find(|(_, word)| *word == self.power).map(|(power, _)| *power);
        let power = power.ok_or_else(|| io::Error::other(format!("{:?} is no power", self.power)))?;
        let Self { generation, marked, actual, boot, deaf, unwritable, address, has_agent, .. } = self;
        let domain = Ours { generation, marked, actual, persistent: true, power, words: "", boot };
        // how long it has been up is not known any more: its guest takes its time once more
        let booted_at = (power == Power::Running).then(Instant::now);
        Ok(Vm { domain, booted_at, deaf, unwritable, address, has_agent })
    }
}

impl FilesText {
    fn of(files: Files) -> Option<Self> {
        let (state, generation) = match files {
            Files::Missing => return None,
            Files::Partial => ("partial", 0),
            Files::Lost { generation } => ("lost", generation),
            Files::Ready { generation } => ("ready", generation),
        };
        Some(Self { state: state.to_owned(), generation })
    }

    fn read(self) -> io::Result<Files> {
        let generation = self.generation;
        match self.state.as_str() {
            "partial" => Ok(Files::Partial),
            "lost" => Ok(Files::Lost { generation }),
            "ready" => Ok(Files::Ready { generation }),
            other => Err(io::Error::other(format!("{other:?} is no state of files"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{World, WorldSettings};
    use super::*;
    use crate::fault::Fault;

    #[tokio::test]
    async fn a_kept_host_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hosts/1.json");
        let open = || World::kept_in(WorldSettings::default(), &file).expect("a host");
        let world = open();
        for (number, (power, _)) in POWERS.iter().enumerate() {
            let id = InstanceId::from_u128(number as u128);
            let vm = VmText { power: "never".into(), ..text() }.read().expect("a VM");
            let made = world.operate("define", |vms, files| {
                vms.insert(id, vm);
                files.insert(id, Files::Ready { generation: 7 });
                Ok::<(), Fault>(())
            });
            made.await.expect("made");
            world.set_power(id, *power);
        }
        let again = open();
        assert_eq!((again.powers(), again.files()), (world.powers(), world.files()));
        assert_eq!(again.powers().len(), POWERS.len());
        again.forget(InstanceId::from_u128(0));
        assert_eq!(open().powers().len(), POWERS.len() - 1, "what went is gone for good");
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("1.json");
        for damaged in ["{", ""] {
            std::fs::write(&file, damaged).expect("written");
            assert!(World::kept_in(WorldSettings::default(), &file).is_err(), "{damaged:?}");
        }
    }

    fn text() -> VmText {
        VmText {
            generation: 3,
            marked: "a".into(),
            actual: "a".into(),
            power: "running".into(),
            boot: 2,
            deaf: false,
            unwritable: false,
            address: "10.0.0.1".into(),
            has_agent: true,
        }
    }
}
