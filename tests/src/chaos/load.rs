//! A machine that is busy with other things: loops that never rest, and one that has every write synced.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Set to anything but 0, a story runs beside this load.
pub const SWITCH: &str = "BERTH_LOAD";
/// Busy loops: twice as many as two cores can run.
const BUSY: usize = 4;
/// Bytes of one synchronous write.
const WRITE: usize = 4096;

/// Loops in threads of this process: they end with the value, and at the latest with the process.
pub struct Load {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    loops: Vec<JoinHandle<()>>,
}

impl Load {
    /// The load, if the environment asks for it. Writes go to a file in `folder`.
    pub fn of_environment(folder: &Path) -> Option<Self> {
        let asked = std::env::var(SWITCH).is_ok_and(|value| !value.is_empty() && value != "0");
        asked.then(|| Self::start(folder))
    }

    /// The load; writes go to a file in `folder`.
    pub fn start(folder: &Path) -> Self {
        let (stop, writes) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut loops: Vec<JoinHandle<()>> = (0..BUSY)
            .map(|_| {
                let stop = stop.clone();
                std::thread::spawn(move || busy(&stop))
            })
            .collect();
        let file = tempfile::tempfile_in(folder).expect("a file to write to");
        let (stopped, written) = (stop.clone(), writes.clone());
        loops.push(std::thread::spawn(move || write(file, &stopped, &written)));
        Self { stop, writes, loops }
    }

    /// Synchronous writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

fn busy(stop: &AtomicBool) {
    let mut number = 1_u64;
    while !stop.load(Ordering::Relaxed) {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn write(mut file: std::fs::File, stop: &AtomicBool, writes: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&[0x5a; WRITE]))
            .and_then(|()| file.sync_all());
        written.expect("our own file");
        writes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for one in self.loops.drain(..) {
            let _ = one.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_writes_and_ends_with_the_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let load = Load::start(folder.path());
        testkit::eventually(Duration::from_secs(30), "synchronous writes", async || {
            (load.writes() > 2).then_some(())
        })
        .await;
        let stop = load.stop.clone();
        drop(load);
        assert_eq!(Arc::strong_count(&stop), 1, "every loop is gone");
    }
}
