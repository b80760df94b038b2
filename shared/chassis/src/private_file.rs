//! Files that only their owner reads, made whole or not at all.

use std::io::{ErrorKind, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Makes the file `path`, mode 0600, with `text`, and the folders above it. Answers whether it was made: `false` when
/// the file is there already, also when another process made it in the same moment. Nobody ever reads half of it.
pub fn make_once(path: &Path, text: &str) -> std::io::Result<bool> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    // made with mode 0600; the name appears only when every byte is on the disk
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            std::fs::File::open(folder)?.sync_all()?;
            Ok(true)
        }
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(refused) => Err(refused.error),
    }
}

/// Reads a file; `None` only when it is known that there is none. One that is there and cannot be read is an error:
/// what is in it is not to be made again as something else.
pub fn read(path: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a file, or makes it with what `fresh` says when there is none. Of many processes that start together the first
/// one's text holds for all.
pub fn read_or_make(path: &Path, fresh: impl FnOnce() -> String) -> std::io::Result<String> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    make_once(path, &fresh())?;
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_cannot_be_read_is_not_made_again() {
        let folder = tempfile::tempdir().expect("folder");
        let fresh = || -> String { panic!("nothing is made") };
        let (bytes, place, around) =
            (folder.path().join("bytes"), folder.path().join("place"), folder.path().join("around"));
        std::fs::write(&bytes, [0xff, 0xfe]).expect("written");
        std::fs::create_dir(&place).expect("made");
        // it is there, and nobody can even say what it is
        std::os::unix::fs::symlink(&around, &around).expect("linked");
        for path in [&bytes, &place, &around] {
            read_or_make(path, fresh).expect_err("refused");
        }
        assert_eq!(std::fs::read(&bytes).expect("as it was"), [0xff, 0xfe]);
        std::fs::write(&bytes, "").expect("written");
        assert_eq!(read_or_make(&bytes, fresh).expect("empty is not absent"), "");
        assert_eq!(read_or_make(&folder.path().join("new"), || "x".into()).expect("made"), "x");
    }

    #[test]
    fn of_many_that_make_a_file_one_wins_and_all_read_the_same() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keys/one.key");
        let texts: Vec<(bool, String)> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..16)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || {
                        let made = make_once(path, &format!("{n:04096}")).expect("no maker fails");
                        (made, std::fs::read_to_string(path).expect("whole"))
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().expect("maker")).collect()
        });
        assert_eq!(texts.iter().filter(|(made, _)| *made).count(), 1);
        assert!(texts.iter().all(|(_, text)| text.len() == 4096 && text == &texts[0].1));
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().expect("folder")).expect("read").count(), 1);
    }
}
