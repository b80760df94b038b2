//! The archive on a real broker: nothing missing and nothing twice, whenever it was killed; and nothing changed unseen.

mod bed;

use archive::adapters::key::Key;
use archive::adapters::vault::Vault;
use archive::{MIGRATIONS, Verdict, verify};
use bed::{Bed, flavors};
use contracts::archive::v1::{Entry, Linked, entry};
use prost::Message as _;
use std::path::Path;
use testkit::{Database, databases};

#[tokio::test]
async fn every_event_is_archived_once_and_in_order_also_after_kills() {
    for database in databases(MIGRATIONS).await {
        let mut bed = Bed::start().await;
        bed.say(12).await;
        let archiving = bed.archiving(&database.store, 5, 3_600);
        archiving.pass().await.expect("a pass");
        assert_eq!(bed.names().await, flavors(1..=10), "{}: what fills no segment waits", database.name);
        archiving.pass().await.expect("a pass");
        assert_eq!(bed.names().await.len(), 10, "nothing twice");

        // killed while it wrote the third: a file, and no checkpoint yet
        std::fs::write(bed.store().join("segments/0000000003.zst"), b"half of it").expect("written");
        bed.say(3).await;
        bed.archiving(&database.store, 5, 3_600).pass().await.expect("a pass");
        assert_eq!(bed.names().await, flavors(1..=15));

        // killed after the checkpoint and before the commit: the database knows nothing of any segment
        let fresh = Database::sqlite(MIGRATIONS).await;
        bed.say(1).await;
        let again = bed.archiving(&fresh.store, 5, 0);
        again.pass().await.expect("a pass");
        again.pass().await.expect("a pass");
        assert_eq!(bed.names().await, flavors(1..=16), "{}", database.name);
        let said: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM outbox")
            .fetch_one(fresh.store.reader())
            .await
            .expect("a row");
        assert_eq!(said, 4, "each segment is told of");
    }
}

#[tokio::test]
async fn an_archive_is_not_begun_anew_beside_the_old_one() {
    let mut bed = Bed::start().await;
    let database = Database::sqlite(MIGRATIONS).await;
    let settings = bed.settings(5, 3_600);
    archive::went_before(&settings, &database.store).await.expect("a new archive may be begun");
    assert!(!settings.key_file.exists());
    bed.say(5).await;
    let archiving = bed.archiving(&database.store, 5, 3_600);
    archiving.pass().await.expect("a pass");
    archive::went_before(&settings, &database.store).await.expect("it is gone on with");

    // the disk with the archive is not mounted: an empty folder is in its place
    let aside = bed.folder.path().join("aside");
    std::fs::rename(bed.store(), &aside).expect("moved");
    let error = archive::went_before(&settings, &database.store).await.expect_err("refused").to_string();
    assert!(error.contains("no such folder"), "{error}");
    std::fs::create_dir(bed.store()).expect("made");
    bed.say(5).await;
    let error = archiving.pass().await.expect_err("refused").to_string();
    assert!(error.contains("segment 1") && error.contains("mounted"), "{error}");
    assert_eq!(std::fs::read_dir(bed.store()).expect("listed").count(), 0, "nothing is written");
    std::fs::remove_dir(bed.store()).expect("removed");
    std::fs::rename(&aside, bed.store()).expect("mounted");
    archiving.pass().await.expect("a pass");
    assert_eq!(bed.names().await, flavors(1..=10));

    let key = bed.folder.path().join("archive.key");
    std::fs::rename(&key, bed.folder.path().join("kept.key")).expect("moved");
    let error = archive::went_before(&settings, &database.store).await.expect_err("refused").to_string();
    assert!(error.contains("Put the key file back"), "{error}");
    assert!(!key.exists(), "no other key is made");
}

#[tokio::test]
async fn a_stream_made_anew_or_trimmed_is_told_as_what_it_is() {
    let mut bed = Bed::start().await;
    let database = Database::sqlite(MIGRATIONS).await;
    let archiving = bed.archiving(&database.store, 100, 0);
    bed.say(6).await;
    let stream = bed.bus.jetstream().get_stream("EVENTS").await.expect("a stream");
    stream.purge().sequence(3).await.expect("purged");
    archiving.pass().await.expect("a pass");
    let mut expected = vec!["gap: not kept".to_owned()];
    expected.extend(flavors(3..=6));
    assert_eq!(bed.names().await, expected);

    bed.bus.jetstream().delete_stream("EVENTS").await.expect("deleted");
    bed.bus.ensure_streams().await.expect("made anew");
    bed.say(2).await;
    archiving.pass().await.expect("a pass");
    expected.push("gap: made anew".to_owned());
    expected.extend(flavors(7..=8));
    assert_eq!(bed.names().await, expected);
    drop(bed.nats);
}

#[tokio::test]
async fn an_archive_that_is_somebody_elses_is_not_written_over() {
    let mut bed = Bed::start().await;
    let database = Database::sqlite(MIGRATIONS).await;
    bed.say(5).await;
    bed.archiving(&database.store, 5, 3_600).pass().await.expect("a pass");
    std::fs::remove_file(bed.folder.path().join("archive.key")).expect("removed");
    let fresh = Database::sqlite(MIGRATIONS).await;
    let refused = bed.archiving(&fresh.store, 5, 3_600).pass().await.expect_err("another key");
    assert!(format!("{refused:#}").contains("signed by another key"), "{refused:#}");
}

/// The entries of a segment's file as they stand in it.
fn unpack(file: &Path) -> Vec<Linked> {
    let plain = zstd::decode_all(std::fs::File::open(file).expect("a file")).expect("unpacked");
    let mut left = plain.as_slice();
    let mut all = Vec::new();
    while !left.is_empty() {
        all.push(Linked::decode_length_delimited(&mut left).expect("an entry"));
    }
    all
}

fn pack(file: &Path, entries: &[Linked]) {
    let plain: Vec<u8> = entries.iter().flat_map(Linked::encode_length_delimited_to_vec).collect();
    std::fs::write(file, zstd::encode_all(plain.as_slice(), 3).expect("packed")).expect("written");
}

fn with_payload(linked: &Linked, payload: &[u8]) -> Linked {
    let mut entry = Entry::decode(&*linked.entry).expect("an entry");
    if let Some(entry::What::Event(event)) = &mut entry.what {
        event.payload = payload.to_vec();
    }
    Linked { entry: entry.encode_to_vec(), link: linked.link.clone() }
}

#[tokio::test]
async fn whatever_is_changed_is_found_and_the_first_is_named() {
    let mut bed = Bed::start().await;
    let database = Database::sqlite(MIGRATIONS).await;
    bed.say(20).await;
    bed.archiving(&database.store, 5, 3_600).pass().await.expect("a pass");
    let key = Key::read(&bed.folder.path().join("archive.key")).expect("a key").public();
    let proven = async |folder: &Path, expected: &[String]| -> Verdict {
        let vault = Vault::open(&folder.display().to_string(), false).expect("opens");
        verify(&vault, &key, expected).await.expect("read")
    };
    let whole = proven(&bed.store(), &[]).await;
    assert_eq!((whole.segments, whole.events, whole.first_problem), (4, 20, None));

    type Change = fn(&Path);
    let changes: [(&str, Change, &str); 12] = [
        (
            "a changed record",
            |s| {
                let file = s.join("0000000002.zst");
                let mut all = unpack(&file);
                all[2] = with_payload(&all[2], b"other");
                pack(&file, &all);
            },
            "segment 2: record 3 (event 8 of the stream",
        ),
        (
            "a missing record",
            |s| {
                let file = s.join("0000000002.zst");
                let mut all = unpack(&file);
                all.remove(1);
                pack(&file, &all);
            },
            "segment 2: record 2 (event 8 of the stream",
        ),
        (
            "a record missing at the end",
            |s| {
                let file = s.join("0000000003.zst");
                let mut all = unpack(&file);
                all.pop();
                pack(&file, &all);
            },
            "segment 3: record 5 is missing",
        ),
        (
            "an inserted record",
            |s| {
                let file = s.join("0000000002.zst");
                let mut all = unpack(&file);
                all.insert(3, with_payload(&all[0], b"new"));
                pack(&file, &all);
            },
            "segment 2: record 4 (event 6 of the stream",
        ),
        (
            "records that changed places",
            |s| {
                let file = s.join("0000000001.zst");
                let mut all = unpack(&file);
                all.swap(0, 1);
                pack(&file, &all);
            },
            "segment 1: record 1 (event 2 of the stream",
        ),
        (
            "a packed byte",
            |s| {
                let file = s.join("0000000004.zst");
                let mut bytes = std::fs::read(&file).expect("read");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&file, bytes).expect("written");
            },
            "segment 4: ",
        ),
        (
            "the same records packed again",
            |s| {
                let file = s.join("0000000002.zst");
                let plain: Vec<u8> =
                    unpack(&file).iter().flat_map(Linked::encode_length_delimited_to_vec).collect();
                std::fs::write(&file, zstd::encode_all(plain.as_slice(), 9).expect("packed"))
                    .expect("written");
            },
            "segment 2: its file was changed",
        ),
        (
            "a missing file",
            |s| std::fs::remove_file(s.join("0000000002.zst")).expect("removed"),
            "segment 2: its file is missing",
        ),
        (
            "a missing checkpoint",
            |s| std::fs::remove_file(s.join("0000000003.head")).expect("removed"),
            "segment 3: its checkpoint is missing",
        ),
        (
            "segments that changed places",
            |s| {
                for kind in ["zst", "head"] {
                    let [a, b, c] =
                        ["0000000002", "0000000003", "away"].map(|n| s.join(format!("{n}.{kind}")));
                    std::fs::rename(&a, &c)
                        .and_then(|()| std::fs::rename(&b, &a))
                        .and_then(|()| std::fs::rename(&c, &b))
                        .expect("renamed");
                }
            },
            "segment 2: segment 3 stands in its place",
        ),
        (
            "a changed checkpoint",
            |s| {
                let file = s.join("0000000002.head");
                let mut bytes = std::fs::read(&file).expect("read");
                bytes[10] ^= 1;
                std::fs::write(&file, bytes).expect("written");
            },
            "segment 2: ",
        ),
        (
            "a segment of its own",
            |s| {
                for kind in ["zst", "head"] {
                    std::fs::copy(s.join(format!("0000000004.{kind}")), s.join(format!("0000000005.{kind}")))
                        .expect("copied");
                }
            },
            "segment 5: segment 4 stands in its place",
        ),
    ];
    for (what, change, problem) in changes {
        let copy = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(copy.path().join("segments")).expect("made");
        for entry in std::fs::read_dir(bed.store().join("segments")).expect("a folder") {
            let path = entry.expect("an entry").path();
            std::fs::copy(&path, copy.path().join("segments").join(path.file_name().expect("a name")))
                .expect("copied");
        }
        change(&copy.path().join("segments"));
        let found = proven(copy.path(), &[]).await.first_problem.unwrap_or_default();
        assert!(found.starts_with(problem), "{what}: {found:?}");
    }

    // what is taken from the end is missed by whoever kept the hash
    for kind in ["zst", "head"] {
        std::fs::remove_file(bed.store().join(format!("segments/0000000004.{kind}"))).expect("removed");
    }
    assert_eq!(proven(&bed.store(), &[]).await.first_problem, None);
    let cut = proven(&bed.store(), std::slice::from_ref(&whole.newest)).await.first_problem;
    assert!(cut.is_some_and(|text| text.starts_with("segment 4: it is missing")));
}
