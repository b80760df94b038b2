//! What a simulated guest writes to a disk that is a file, and looks for whenever it boots.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Behind the last byte that qcow2 knows of: QEMU passes over it.
const MARK: &[u8] = b"written by the guest: ";
const ID_LENGTH: usize = 36;

/// What the guest wrote when it ran on this disk for the first time; written now if this is the first time.
pub fn find_or_write(disk: &Path) -> io::Result<String> {
    if let Some(found) = find(disk)? {
        return Ok(found);
    }
    let id = kernel::MessageId::new().to_string();
    let mut file = OpenOptions::new().append(true).open(disk)?;
    file.write_all(&[MARK, id.as_bytes()].concat())?;
    Ok(id)
}

/// What a guest wrote to this disk; `None` = none ever ran on it.
pub fn find(disk: &Path) -> io::Result<Option<String>> {
    let mut file = OpenOptions::new().read(true).open(disk)?;
    let length = MARK.len() + ID_LENGTH;
    let size = file.metadata()?.len();
    if size < length as u64 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(size - length as u64))?;
    let mut end = vec![0; length];
    file.read_exact(&mut end)?;
    Ok(end.strip_prefix(MARK).map(|id| String::from_utf8_lossy(id).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_finds_what_it_wrote() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = folder.path().join("disk.qcow2");
        assert!(find_or_write(&disk).is_err(), "no disk, no data");
        std::fs::write(&disk, vec![7; 1000]).expect("a disk");
        assert_eq!(find(&disk).expect("read"), None);
        let written = find_or_write(&disk).expect("written");
        assert_eq!(find_or_write(&disk).expect("found"), written);
        assert_eq!(std::fs::read(&disk).expect("read")[..1000], vec![7; 1000]);
    }
}
