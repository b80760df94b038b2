//! The archive of a node, as seen from the command line.

use super::assembly::{Folders, settings_of};
use super::settings::NodeSettings;
use anyhow::{Context, bail, ensure};
use archive::Reader;
use archive::adapters::key::{Key, PublicKey};
use archive::adapters::vault::Vault;
use bus::Envelope;
use checker::store::objects;
use contracts::archive::v1::entry;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Where a node's archive is, and what proves it.
pub struct Archive {
    /// `file:///folder` or `s3://bucket/prefix`.
    pub url: String,
    /// The key that signs it.
    pub key_file: PathBuf,
    database: PathBuf,
}

/// The archive of the node in `settings.data_dir`.
pub fn archive(settings: &NodeSettings) -> anyhow::Result<Archive> {
    let made: archive::Settings = settings_of(&archive::SERVICE, settings)?;
    let database = Folders::of(settings).database_file(&archive::SERVICE);
    Ok(Archive { url: made.url, key_file: made.key_file, database })
}

impl Archive {
    /// Opens it for reading.
    pub fn open(&self) -> anyhow::Result<Vault> {
        Vault::open(&self.url, false)
    }

    /// What its checkpoints are checked with.
    pub fn public_key(&self) -> anyhow::Result<PublicKey> {
        Ok(Key::read(&self.key_file)?.public())
    }

    /// Whether there is an archive at all.
    pub fn is_there(&self) -> anyhow::Result<bool> {
        self.key_file.try_exists().with_context(|| format!("looking for {}", self.key_file.display()))
    }

    /// Hash of the newest segment that the node wrote: it has to be there. `None`: the node knows of none.
    pub async fn newest(&self) -> anyhow::Result<Option<String>> {
        // a database that cannot be looked for is not one that knows of nothing: what is cut off would look whole
        let there = self.database.try_exists();
        if !there.with_context(|| format!("looking for {}", self.database.display()))? {
            return Ok(None);
        }
        let newest =
            objects::newest_segment(&format!("sqlite://{}?mode=ro", self.database.display())).await?;
        Ok(newest.as_ref().map(archive::hash))
    }

    /// Everything that happened before event `first` of the stream that is there now.
    pub async fn past(&self, incarnation: &str, first: u64) -> anyhow::Result<Past> {
        ensure!(
            self.is_there()?,
            "the stream begins at event {first}, and there is no archive of what was before"
        );
        let reader = Reader::new(self.open()?, self.public_key()?).await?;
        let (incarnation, waiting) = (incarnation.to_owned(), VecDeque::new());
        Ok(Past { reader, incarnation, first, reached: 0, waiting })
    }
}

/// The events that a trimmed stream does not hold any more, out of the archive, which is proven on the way.
pub struct Past {
    reader: Reader,
    incarnation: String,
    first: u64,
    /// The last place of the present stream that was read.
    reached: u64,
    waiting: VecDeque<(u64, Envelope)>,
}

impl Past {
    /// The next event and its place in its stream. An error when there is something that neither archive nor stream holds.
    pub async fn next(&mut self) -> anyhow::Result<Option<(u64, Envelope)>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let read = self.reader.next().await.context("the archive is not as it was written")?;
            let Some((segment, entries)) = read else { break };
            let present = segment.incarnation == self.incarnation;
            if present {
                self.reached = segment.last_sequence;
            }
            for entry in entries {
                match entry.what {
                    // what the stream still holds is read there
                    Some(entry::What::Event(event)) if !present || event.sequence < self.first => {
                        let envelope = archive::envelope(&event).with_context(|| {
                            format!("event {} of segment {}", event.sequence, segment.number)
                        })?;
                        self.waiting.push_back((event.sequence, envelope));
                    }
                    Some(entry::What::Gap(gap)) if gap.kind == "not kept" => {
                        bail!("segment {} of the archive has a gap: {}", segment.number, gap.reason);
                    }
                    _ => {}
                }
            }
        }
        ensure!(
            self.reached + 1 >= self.first,
            "events {} to {} are neither in the archive nor in the stream",
            self.reached + 1,
            self.first - 1
        );
        Ok(None)
    }
}
