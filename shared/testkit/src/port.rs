//! Ports that a test may give to a process it starts.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// The lowest that is tried.
const FIRST: u16 = 10_240;
/// Where this system begins to give ports to connections that go out, unless it says otherwise.
const OUTGOING: u16 = 32_768;

/// What this process holds: as long as it lives, no other test is given the same.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 on which nobody listens, given to no other test, also of another process, while this one lives.
///
/// A port that the system chose would be one of those that it gives to outgoing connections as well: until the process
/// that is to listen is up (and while it is down in between), another one may have it.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("berth-test-ports");
    std::fs::create_dir_all(&folder).expect("a folder for what is taken");
    let ports = FIRST..first_outgoing();
    // each process begins elsewhere, so that they seldom meet
    let start = usize::try_from(std::process::id()).unwrap_or_default() * 64 % ports.len();
    let from_there = ports.clone().skip(start).chain(ports.take(start));
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    for port in from_there {
        let file = File::options().create(true).append(true).open(folder.join(port.to_string()));
        let Ok(file) = file else { continue };
        if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            held.push(file);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", first_outgoing());
}

fn first_outgoing() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok());
    // a system that gives everything away leaves no better choice than the usual
    first.filter(|&first| first > FIRST + 1_000).unwrap_or(OUTGOING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_or_goes_to_outgoing_connections() {
        let (one, other) = (free_port(), free_port());
        assert_ne!(one, other, "nobody listens on the first yet, and it is taken all the same");
        assert!(one < first_outgoing() && other < first_outgoing());
    }
}
