//! What a story that failed leaves behind for whoever looks into it: stores, streams and logs, without being asked.

use crate::programs::target;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// So many are kept; older ones go.
const NEWEST: usize = 5;

/// The name of the story that runs in this thread.
pub fn running_story() -> String {
    std::thread::current().name().unwrap_or("story").to_owned()
}

/// What this process kept: a story may have several platforms.
static KEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Copies folders, each under a name of its own, to `target/kept/<story>` and says so. In place of what an earlier
/// failure of the same story left.
pub fn keep(story: &str, folders: &[(&str, &Path)]) -> PathBuf {
    let all = target().join("kept");
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let plain: String = story.replace("::", "-").chars().map(plain).collect();
    let mut before = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let names = std::iter::once(plain.clone()).chain((2..).map(|number| format!("{plain}-{number}")));
    let name = names.into_iter().find(|name| !before.contains(name)).unwrap_or(plain);
    let place = all.join(&name);
    before.insert(name);
    drop(before);
    let _ = std::fs::remove_dir_all(&place);
    // a story that fails must not fail for another reason now
    if let Err(error) = std::fs::create_dir_all(&place) {
        eprintln!("nothing is kept: {}: {error}", place.display());
        return place;
    }
    for (name, folder) in folders {
        let copied = Command::new("cp").arg("-a").args([*folder, &place.join(name)]).status();
        if !copied.is_ok_and(|status| status.success()) {
            eprintln!("not all is kept: {}", folder.display());
        }
    }
    forget_older(&all);
    eprintln!("kept: {}", place.display());
    place
}

fn forget_older(all: &Path) {
    let mut there: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(all)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    there.sort();
    for (_, old) in there.iter().rev().skip(NEWEST) {
        let _ = std::fs::remove_dir_all(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_the_newest_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        for age in 0..NEWEST as u64 + 3 {
            let place = folder.path().join(age.to_string());
            std::fs::create_dir(&place).expect("our own folder");
            let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
            std::fs::File::open(&place).and_then(|f| f.set_modified(made)).expect("our own folder");
        }
        forget_older(folder.path());
        let mut left: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").flatten().collect();
        left.sort_by_key(std::fs::DirEntry::file_name);
        let names: Vec<_> =
            left.iter().map(|entry| entry.file_name().into_string().expect("a name")).collect();
        assert_eq!(names, ["0", "1", "2", "3", "4"]);
    }
}
