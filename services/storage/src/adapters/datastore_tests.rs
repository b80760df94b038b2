use super::*;
use bytes::Bytes;

async fn both(folder: &Path) -> Vec<Datastore> {
    let open = |url: &str, scratch| Datastore::open(url, scratch).expect(url);
    let (one, other) = (folder.join("store"), folder.join("elsewhere"));
    vec![open(&format!("file://{}", one.display()), None), open("memory:///", Some(&other))]
}

async fn stage(datastore: &Datastore, id: &str, bytes: &'static [u8]) {
    datastore.store().put(&staged(id), Bytes::from_static(bytes).into()).await.expect("staged");
}

async fn scratch_files(datastore: &Datastore) -> usize {
    std::fs::read_dir(datastore.scratch()).expect("scratch").count()
}

#[tokio::test]
async fn a_staged_file_is_measured_and_kept_once() {
    let folder = tempfile::tempdir().expect("folder");
    for datastore in both(folder.path()).await {
        assert!(datastore.take_staged("nothing").await.expect("answer").is_none());
        stage(&datastore, "u1", b"hello").await;
        for _ in 0..2 {
            let file = datastore.take_staged("u1").await.expect("answer").expect("staged");
            assert_eq!(
                file.measure.sha256,
                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
            );
            let sha256 = file.measure.sha256.clone();
            datastore.adopt(file).await.expect("kept");
            assert_eq!(datastore.size_of(&sha256).await.expect("answer"), Some(5));
            assert_eq!(datastore.kept().await.expect("list"), [sha256]);
        }
        assert_eq!(scratch_files(&datastore).await, 0);
        let sha256 = datastore.kept().await.expect("list").remove(0);
        for _ in 0..2 {
            datastore.set_aside(&sha256).await.expect("set aside, also when it is gone");
        }
        let aside = datastore.aside().await.expect("list");
        assert_eq!((aside.len(), aside[0].sha256.as_str()), (1, sha256.as_str()));
        assert_eq!(datastore.size_of(&sha256).await.expect("answer"), None);
        for _ in 0..2 {
            datastore.put_back(&aside[0]).await.expect("put back, also when it is");
            assert_eq!(datastore.size_of(&sha256).await.expect("answer"), Some(5));
        }
        datastore.set_aside(&sha256).await.expect("set aside");
        let aside = datastore.aside().await.expect("list");
        for _ in 0..2 {
            datastore.remove(&aside[0]).await.expect("removed, also when it is gone");
        }
        assert!(datastore.aside().await.expect("list").is_empty());
        assert_eq!(datastore.size_of(&sha256).await.expect("answer"), None);
        assert!(
            datastore.take_staged("u1").await.expect("answer").is_some(),
            "the upload is not the kept file"
        );
    }
}

#[tokio::test]
async fn sweeping_takes_what_is_old_and_nothing_else() {
    let folder = tempfile::tempdir().expect("folder");
    let (never, now) = (Duration::from_secs(3600), Duration::ZERO);
    for datastore in both(folder.path()).await {
        stage(&datastore, "u1", b"hello").await;
        let file = datastore.take_staged("u1").await.expect("answer").expect("staged");
        datastore.adopt(file).await.expect("kept");
        std::fs::write(datastore.scratch().join("import-left-behind"), b"half").expect("written");
        assert_eq!(datastore.sweep(never).await.expect("swept"), 0);
        assert_eq!(datastore.sweep(now).await.expect("swept"), 1);
        assert_eq!(datastore.kept().await.expect("list").len(), 1, "kept files are not swept");
        let staged = datastore.take_staged("u1").await.expect("answer");
        assert!(staged.is_some(), "nor is an upload, for which an import may wait");
    }
    let root = folder.path().join("store");
    std::fs::write(root.join("staging/u2#1"), b"half").expect("written");
    let datastore = Datastore::open(&format!("file://{}", root.display()), None).expect("open");
    assert_eq!(datastore.sweep(now).await.expect("swept"), 1, "an upload whose writer died");
}

#[tokio::test]
async fn an_old_upload_that_was_just_taken_is_not_swept_from_under_the_import() {
    let folder = tempfile::tempdir().expect("folder");
    let root = folder.path().join("store");
    let datastore = Datastore::open(&format!("file://{}", root.display()), None).expect("open");
    stage(&datastore, "u1", b"hello").await;
    #[allow(clippy::disallowed_methods)] // times of files are the machine's own
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let upload = std::fs::File::options().write(true).open(root.join("staging/u1")).expect("upload");
    upload.set_modified(yesterday).expect("old");
    let file = datastore.take_staged("u1").await.expect("answer").expect("staged");
    assert_eq!(datastore.sweep(Duration::from_secs(3600)).await.expect("swept"), 0);
    assert!(file.path.exists());
}

#[test]
fn a_url_of_no_datastore_is_refused() {
    for bad in ["", "/srv/berth", "file://relative", "ftp://host/x", "s3://bucket"] {
        let error = Datastore::open(bad, None).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("file:///"), "{bad}: {error}");
    }
}
