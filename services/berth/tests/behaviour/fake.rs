//! A gateway that answers what a test says, behind a proxy that can cut every connection.

use super::services::Services;
use prost::Message;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tonic::{Request, Response, Status};

/// What a method does when it is called.
pub enum Answer {
    Message(Vec<u8>),
    Status(Status),
    /// The request arrived, the answer never leaves: the connection is cut.
    Cut,
}

/// One call that arrived.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub method: &'static str,
    pub key: String,
    pub authorization: String,
    pub body: Vec<u8>,
}

impl Call {
    pub fn read<M: Message + Default>(&self) -> M {
        M::decode(self.body.as_slice()).unwrap()
    }
}

#[derive(Default)]
struct State {
    script: HashMap<&'static str, VecDeque<Answer>>,
    calls: Vec<Call>,
    connections: Vec<AbortHandle>,
}

/// The gateway of one test.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    pub endpoint: String,
}

impl Fake {
    pub async fn start() -> Self {
        Self::serve("http", tonic::transport::Server::builder()).await
    }

    /// A gateway that speaks TLS with this certificate and key, both in PEM.
    pub async fn start_tls(certificate: &str, key: &str) -> Self {
        let identity = tonic::transport::Identity::from_pem(certificate, key);
        let tls = tonic::transport::ServerTlsConfig::new().identity(identity);
        Self::serve("https", tonic::transport::Server::builder().tls_config(tls).unwrap()).await
    }

    async fn serve(scheme: &str, server: tonic::transport::Server) -> Self {
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let back = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("{scheme}://{}", front.local_addr().unwrap());
        let fake = Self { state: Arc::default(), endpoint };
        let address = back.local_addr().unwrap();
        let (proxy, services) = (fake.clone(), Services(fake.clone()));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = front.accept().await {
                let connection = tokio::spawn(async move {
                    let mut server = TcpStream::connect(address).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
                proxy.state().connections.push(connection.abort_handle());
            }
        });
        tokio::spawn(async move {
            let incoming = tonic::transport::server::TcpIncoming::from(back);
            services.router(server).serve_with_incoming(incoming).await.unwrap();
        });
        fake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next answer of a method. The last one said is given again and again.
    pub fn say(&self, method: &'static str, answer: Answer) {
        self.state().script.entry(method).or_default().push_back(answer);
    }

    pub fn answer(&self, method: &'static str, message: &impl Message) {
        self.say(method, Answer::Message(message.encode_to_vec()));
    }

    pub fn refuse(&self, method: &'static str, status: Status) {
        self.say(method, Answer::Status(status));
    }

    pub fn calls(&self, method: &str) -> Vec<Call> {
        self.state().calls.iter().filter(|call| call.method == method).cloned().collect()
    }

    pub fn all_calls(&self) -> Vec<&'static str> {
        self.state().calls.iter().map(|call| call.method).collect()
    }

    pub fn cut_connections(&self) {
        self.state().connections.drain(..).for_each(|connection| connection.abort());
    }

    pub fn record(&self, method: &'static str, headers: &tonic::metadata::MetadataMap, body: Vec<u8>) {
        let text =
            |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let call = Call { method, key: text("idempotency-key"), authorization: text("authorization"), body };
        self.state().calls.push(call);
    }

    pub fn next(&self, method: &'static str) -> Answer {
        let mut state = self.state();
        let Some(answers) = state.script.get_mut(method) else {
            return Answer::Status(Status::unimplemented(format!("the test says nothing about {method}")));
        };
        match (answers.len(), answers.front()) {
            (1, Some(Answer::Message(bytes))) => Answer::Message(bytes.clone()),
            (1, Some(Answer::Status(status))) => Answer::Status(status.clone()),
            _ => answers.pop_front().unwrap_or(Answer::Cut),
        }
    }

    /// Does what the test says for the next call of a method.
    pub async fn reply<M: Message + Default>(&self, method: &'static str) -> Result<M, Status> {
        match self.next(method) {
            Answer::Message(bytes) => Ok(M::decode(bytes.as_slice()).unwrap()),
            Answer::Status(status) => Err(status),
            Answer::Cut => {
                self.cut_connections();
                std::future::pending().await
            }
        }
    }

    pub async fn unary<Q: Message, M: Message + Default>(
        &self,
        method: &'static str,
        request: Request<Q>,
    ) -> Result<Response<M>, Status> {
        self.record(method, request.metadata(), request.get_ref().encode_to_vec());
        self.reply(method).await.map(Response::new)
    }
}
