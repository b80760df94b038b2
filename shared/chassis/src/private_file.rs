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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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
