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
                let Ok(server) = TcpStream::connect(&broker).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (cut, state) = (state.cut.lock().expect("lock").clone(), state.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = pass(from_client, to_server, None) => {}
                        () = pass(from_server, to_client, Some(&state)) => {}
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

    /// Whether it is still to break.
    pub fn is_tight(&self) -> bool {
        self.state.tight.load(Ordering::SeqCst)
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: Option<&State>) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        let bytes = &bytes[..read];
        if let Some(state) = answers
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
