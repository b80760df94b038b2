//! A bad network between services and broker: deliveries come twice, late and out of order, publications are sent
//! twice, connections break. It understands the lines of the NATS client protocol
//! (docs.nats.io/reference/reference-protocols/nats-protocol) and nothing of what they carry.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages are held back for at most this long.
const LONGEST_DELAY_MS: u64 = 1_500;

/// How often something happens to a message, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nuisance {
    /// It comes twice.
    pub twice: u32,
    /// It is held back, and others overtake it.
    pub late: u32,
}

/// What was done to messages.
#[derive(Debug, Default)]
pub struct Counts {
    /// Deliveries that came twice.
    pub delivered_twice: AtomicU64,
    /// Deliveries that came late.
    pub delivered_late: AtomicU64,
    /// Publications that were sent twice.
    pub published_twice: AtomicU64,
}

impl Counts {
    /// Messages to which anything was done.
    pub fn messages(&self) -> u64 {
        [&self.delivered_twice, &self.delivered_late, &self.published_twice]
            .map(|count| count.load(Ordering::Relaxed))
            .iter()
            .sum()
    }
}

/// A listener that passes everything on to a broker.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    broker: String,
    nuisance: Mutex<Nuisance>,
    seed: AtomicU64,
    line: Mutex<Line>,
    /// How often each client introduced itself, by its name.
    greeted: Mutex<BTreeMap<String, u64>>,
    counts: Counts,
    calm: AtomicBool,
}

/// The connections that break together.
#[derive(Clone, Default)]
struct Line {
    cut: CancellationToken,
    /// One copy for each connection that is open.
    open: Arc<()>,
}

impl Proxy {
    /// Listens on a free port, for the broker at `host:port`.
    pub async fn start(broker: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            broker: broker.to_owned(),
            nuisance: Mutex::default(),
            seed: AtomicU64::new(seed),
            line: Mutex::default(),
            greeted: Mutex::default(),
            counts: Counts::default(),
            calm: AtomicBool::new(true),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// `nats://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// From now on this happens to messages.
    pub fn set(&self, nuisance: Nuisance) {
        *self.shared.nuisance.lock().unwrap_or_else(PoisonError::into_inner) = nuisance;
        self.shared.calm.store(nuisance.twice == 0 && nuisance.late == 0, Ordering::SeqCst);
    }

    /// Breaks every connection. Answers how many there were.
    pub fn cut(&self) -> usize {
        let mut line = self.shared.line.lock().unwrap_or_else(PoisonError::into_inner);
        let Line { cut, open } = std::mem::take(&mut *line);
        let broken = Arc::strong_count(&open) - 1;
        cut.cancel();
        broken
    }

    /// How often a client of this name has connected.
    pub fn connected(&self, name: &str) -> u64 {
        let greeted = self.shared.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        greeted.get(name).copied().unwrap_or(0)
    }

    /// What was done so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        // an unreachable broker is a connection that ends
        let Ok(server) = TcpStream::connect(&shared.broker).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let line = shared.line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let open = Arc::new(line.open);
        for (from, to, down) in [(from_client, to_server, false), (from_server, to_client, true)] {
            let (shared, cut, open) = (shared.clone(), line.cut.clone(), open.clone());
            tokio::spawn(async move {
                let _open = open;
                let (sender, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
                let mut to = to;
                let writing = async {
                    while let Some(frame) = queue.recv().await {
                        if to.write_all(&frame).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    () = cut.cancelled() => {}
                    _ = pass(from, sender, down, &shared) => {}
                    () = writing => {}
                }
            });
        }
    }
}

/// Passes frames on, one by one.
async fn pass(
    from: OwnedReadHalf,
    to: mpsc::UnboundedSender<Vec<u8>>,
    down: bool,
    shared: &Shared,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, from);
    let seed = shared.seed.fetch_add(1, Ordering::SeqCst);
    let mut chance = SmallRng::seed_from_u64(seed);
    loop {
        let Some(frame) = read(&mut reader).await? else { return Ok(()) };
        if let Some(name) = introduction(&frame).filter(|_| !down) {
            *shared.greeted.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        }
        let kind = if shared.calm.load(Ordering::SeqCst) { Kind::Other } else { kind(&frame, down) };
        let nuisance = *shared.nuisance.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = |chance: &mut SmallRng, percent| chance.random_range(0..100) < percent;
        match kind {
            Kind::Other => send(&to, frame)?,
            Kind::Publication => {
                if hit(&mut chance, nuisance.twice) {
                    shared.counts.published_twice.fetch_add(1, Ordering::Relaxed);
                    send(&to, frame.clone())?;
                }
                send(&to, frame)?;
            }
            Kind::Delivery => {
                if hit(&mut chance, nuisance.twice) {
                    shared.counts.delivered_twice.fetch_add(1, Ordering::Relaxed);
                    send(&to, frame.clone())?;
                }
                if hit(&mut chance, nuisance.late) {
                    shared.counts.delivered_late.fetch_add(1, Ordering::Relaxed);
                    let (to, pause) = (to.clone(), chance.random_range(1..LONGEST_DELAY_MS));
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                        let _ = to.send(frame);
                    });
                } else {
                    send(&to, frame)?;
                }
            }
        }
    }
}

fn send(to: &mpsc::UnboundedSender<Vec<u8>>, frame: Vec<u8>) -> io::Result<()> {
    to.send(frame).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
}

/// The name of a client that introduces itself: CONNECT {"name": …}
fn introduction(frame: &[u8]) -> Option<String> {
    let options: serde_json::Value = serde_json::from_slice(frame.strip_prefix(b"CONNECT ")?).ok()?;
    Some(options["name"].as_str().unwrap_or_default().to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// From a stream to a consumer: it has a subject to acknowledge it on.
    Delivery,
    /// Into a stream, and no part of a batch.
    Publication,
    /// Everything else must arrive as it is.
    Other,
}

fn kind(frame: &[u8], down: bool) -> Kind {
    let end = frame.windows(2).position(|w| w == b"\r\n").unwrap_or(frame.len());
    let line = String::from_utf8_lossy(&frame[..end]);
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        // HMSG <subject> <sid> <reply> <headers> <total>
        ["HMSG", _, _, reply, _, _] if down && reply.starts_with("$JS.ACK.") => Kind::Delivery,
        // HPUB <subject> <reply> <headers> <total>
        ["HPUB", subject, _, _, _]
            if !down && (subject.starts_with("evt.") || subject.starts_with("cmd.")) =>
        {
            let batch = frame[end..].windows(14).any(|w| w == b"Nats-Batch-Id:");
            if batch { Kind::Other } else { Kind::Publication }
        }
        _ => Kind::Other,
    }
}

/// One line, and the payload that it announces.
async fn read(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut frame = Vec::new();
    if reader.read_until(b'\n', &mut frame).await? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&frame);
    let mut words = line.split_ascii_whitespace();
    let carries = matches!(words.next(), Some("MSG" | "HMSG" | "PUB" | "HPUB"));
    if carries && let Some(bytes) = words.next_back().and_then(|word| word.parse::<usize>().ok()) {
        let begin = frame.len();
        // the payload ends with a line break of its own
        frame.resize(begin + bytes + 2, 0);
        reader.read_exact(&mut frame[begin..]).await?;
    }
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_come_twice_does() {
        let hmsg = b"HMSG evt.a.v1.B.t.k 7 $JS.ACK.EVENTS.c.1.2.3.4.5 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";
        assert_eq!(kind(hmsg, true), Kind::Delivery);
        assert_eq!(kind(b"HMSG _INBOX.x 7 12 14\r\n", true), Kind::Other);
        assert_eq!(
            kind(b"HPUB evt.a _INBOX.1 12 14\r\nNATS/1.0\r\nNats-Msg-Id: 1\r\n\r\nhi\r\n", false),
            Kind::Publication
        );
        assert_eq!(
            kind(b"HPUB evt.a _INBOX.1 12 14\r\nNATS/1.0\r\nNats-Batch-Id: 1\r\n\r\nhi\r\n", false),
            Kind::Other
        );
        assert_eq!(kind(b"PUB $JS.API.INFO _INBOX.1 0\r\n\r\n", false), Kind::Other);
        assert_eq!(kind(b"PING\r\n", true), Kind::Other);
    }

    #[test]
    fn a_client_is_known_by_its_introduction() {
        let said = introduction(b"CONNECT {\"verbose\":false,\"name\":\"gateway\"}\r\n");
        assert_eq!(said.as_deref(), Some("gateway"));
        assert_eq!(introduction(b"PING\r\n"), None);
    }
}
