//! A serial console through libvirt's stream, as two channels.

use super::link::meaning;
use crate::fault::Fault;
use crate::hypervisor::Console;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::stream::Stream;

/// How long the pump sleeps when nothing moves, from the last movement on.
const SHORTEST_NAP: Duration = Duration::from_millis(2);
const LONGEST_NAP: Duration = Duration::from_millis(40);
const CHUNK: usize = 8 * 1024;
/// What libvirt returns instead of waiting.
const WOULD_BLOCK: isize = -2;

/// Opens the console of a running domain.
pub fn open(connection: &Connect, domain: &Domain) -> Result<Console, Fault> {
    let stream = meaning(Stream::new(connection, virt_sys::VIR_STREAM_NONBLOCK))?;
    meaning(domain.open_console(None, &stream, virt_sys::VIR_DOMAIN_CONSOLE_FORCE))?;
    let (sender, typed) = mpsc::channel::<Bytes>(64);
    let (written, receiver) = mpsc::channel::<Bytes>(64);
    std::thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || {
            pump(&stream, typed, &written);
            let _ = stream.abort();
        })
        .map_err(|e| Fault::Failed(format!("no thread for a console: {e}")))?;
    Ok(Console { sender, receiver })
}

/// Moves bytes until either side is done. A stream that must not block is asked in turns: its callbacks belong to the
/// event loop, where nothing may wait for a slow reader.
fn pump(stream: &Stream, mut typed: mpsc::Receiver<Bytes>, written: &mpsc::Sender<Bytes>) {
    let mut buffer = vec![0u8; CHUNK];
    let mut unsent = Bytes::new();
    let mut nap = SHORTEST_NAP;
    loop {
        let mut moved = false;
        match stream.recv(&mut buffer) {
            Ok(WOULD_BLOCK) => {}
            Ok(0) | Err(_) => return,
            Ok(length) => {
                moved = true;
                let chunk = Bytes::copy_from_slice(&buffer[..usize::try_from(length).unwrap_or(0)]);
                if written.blocking_send(chunk).is_err() {
                    return;
                }
            }
        }
        if unsent.is_empty() {
            match typed.try_recv() {
                Ok(bytes) => unsent = bytes,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
        }
        if !unsent.is_empty() {
            match stream.send(&unsent) {
                Ok(WOULD_BLOCK) => {}
                Err(_) => return,
                Ok(length) => {
                    moved = true;
                    unsent = unsent.split_off(usize::try_from(length).unwrap_or(0).min(unsent.len()));
                }
            }
        }
        if written.is_closed() {
            return;
        }
        nap = if moved { SHORTEST_NAP } else { (nap * 2).min(LONGEST_NAP) };
        if !moved {
            std::thread::sleep(nap);
        }
    }
}
