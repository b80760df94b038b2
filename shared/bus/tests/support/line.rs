//! The line between a service and its broker: it can break under an answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub struct Line {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    tight: AtomicBool,
    down: AtomicBool,
    unheard: Mutex<Option<Unheard>>,
    cut: Mutex<CancellationToken>,
}

impl State {
    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().expect("lock")).cancel();
    }
}

impl Line {
    pub async fn to(broker: &str) -> Self {
        let broker = broker.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let line = Self { address, state: Arc::default() };
        let state = line.state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if state.down.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&broker).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (cut, state) = (state.cut.lock().expect("lock").clone(), state.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = pass(from_client, to_server, (&state, false)) => {}
                        () = pass(from_server, to_client, (&state, true)) => {}
                    }
                });
            }
        });
        line
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The next acknowledgement of an event breaks every connection, and does not arrive.
    pub fn breaking(&self) -> impl Fn() + Send + Sync + 'static {
        let state = self.state.clone();
        move || state.tight.store(true, Ordering::SeqCst)
    }

    /// Breaks every connection; there is none until it is put up again.
    pub fn down(&self) {
        self.state.down.store(true, Ordering::SeqCst);
        self.state.cut();
    }

    pub fn up(&self) {
        self.state.down.store(false, Ordering::SeqCst);
    }

    /// From now on what services send to the one subject goes to the other, which is as long.
    pub fn divert(&self, from: &'static str, to: &'static str) {
        assert_eq!(from.len(), to.len(), "a message with another length is none");
        *self.state.unheard.lock().expect("lock") = Some((from, to));
    }

    /// Whether it is still to break.
    pub fn is_tight(&self) -> bool {
        self.state.tight.load(Ordering::SeqCst)
    }
}

type Unheard = (&'static str, &'static str);

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (state, answers): (&State, bool)) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        let bytes = &mut bytes[..read];
        let unheard = *state.unheard.lock().expect("lock");
        if let Some((from, to)) = unheard.filter(|_| !answers) {
            while let Some(at) = bytes.windows(from.len()).position(|window| window == from.as_bytes()) {
                bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            }
        }
        if answers
            && holds(bytes, b"\"stream\":\"EVENTS\"")
            && holds(bytes, b"\"seq\":")
            && state.tight.swap(false, Ordering::SeqCst)
        {
            return state.cut();
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
