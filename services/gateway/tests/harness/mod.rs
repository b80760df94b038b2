//! A gateway on a real socket, with a real broker, and a stand-in for the other services that says what they would.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

pub mod declared;
pub mod readers;
pub mod receiver;

use bus::{Cause, Desk};
use chassis::{Chassis, ChassisSettings};
use contracts::gateway::v1::audit_service_client::AuditServiceClient;
use contracts::gateway::v1::instance_service_client::InstanceServiceClient;
use contracts::gateway::v1::operation_service_client::OperationServiceClient;
use contracts::gateway::v1::{AuditRecord, ExportAuditRequest};
use contracts::scheduler::v1 as scheduler;
use contracts::storage::v1 as storage;
use gateway::Settings;
use kernel::Message;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::NatsServer;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// How long a test waits for what should be a matter of milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with all it needs.
pub struct Gateway {
    /// Ends with the value.
    pub nats: NatsServer,
    /// The process it runs in.
    pub chassis: Chassis,
    /// Where it listens.
    pub address: SocketAddr,
    ops: String,
    /// The administrator's token.
    pub token: String,
    /// Where others would speak from.
    pub others: Desk,
    /// Its data folder and datastore.
    pub folder: tempfile::TempDir,
    /// REST.
    pub http: reqwest::Client,
}

/// Puts the token, and the tenant to act in, on gRPC requests.
#[derive(Clone)]
pub struct Bearer {
    token: String,
    tenant: String,
}

impl Bearer {
    /// With this token.
    pub fn of(token: &str) -> Self {
        Self { token: token.to_owned(), tenant: String::new() }
    }

    /// In this tenant; "" = the usual one.
    pub fn acting_in(self, tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), ..self }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        let value: MetadataValue<_> = format!("Bearer {}", self.token).parse().expect("ascii");
        request.metadata_mut().insert("authorization", value);
        if !self.tenant.is_empty() {
            request.metadata_mut().insert("berth-tenant", self.tenant.parse().expect("ascii"));
        }
        Ok(request)
    }
}

/// A gRPC channel that is signed in.
pub type SignedIn = InterceptedService<Channel, Bearer>;

impl Gateway {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// Starts one with other settings.
    pub async fn start_with(change: impl FnOnce(&mut Settings, &std::path::Path)) -> Self {
        let nats = NatsServer::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let ops = format!("127.0.0.1:{}", testkit::free_port());
        let process = ChassisSettings {
            bus: nats.settings(),
            ops_listen: ops.clone(),
            sealing_key_file: folder.path().join("sealing.key"),
            ..ChassisSettings::default()
        };
        let chassis = Chassis::start("gateway", &process).await.expect("the chassis starts");
        let mut settings = Settings {
            listen: "127.0.0.1:0".into(),
            data_dir: folder.path().join("gateway"),
            datastore_url: format!("file://{}/datastore", folder.path().display()),
            ..Settings::default()
        };
        change(&mut settings, folder.path());
        let address = gateway::start(&settings, &chassis).await.expect("the gateway starts");
        let token = std::fs::read_to_string(settings.admin_token_file()).expect("a token").trim().to_owned();
        let url = format!("sqlite://{}/others.db", folder.path().display());
        let others = chassis.desk("scheduler", &url, &[]).await.expect("a desk for the others");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { nats, chassis, address, ops, token, others, folder, http }
    }

    /// Starts it again with what it left, after its chassis was stopped.
    pub async fn again(&mut self) {
        let process = ChassisSettings {
            bus: self.nats.settings(),
            ops_listen: String::new(),
            sealing_key_file: self.folder.path().join("sealing.key"),
            ..ChassisSettings::default()
        };
        self.chassis = Chassis::start("gateway", &process).await.expect("the chassis starts");
        let settings = Settings {
            listen: "127.0.0.1:0".into(),
            data_dir: self.folder.path().join("gateway"),
            datastore_url: format!("file://{}/datastore", self.folder.path().display()),
            ..Settings::default()
        };
        self.address = gateway::start(&settings, &self.chassis).await.expect("the gateway starts");
    }

    /// All records of calls.
    pub async fn records(&self) -> Vec<AuditRecord> {
        let (channel, bearer) = self.signed_in().await;
        let mut client = AuditServiceClient::with_interceptor(channel, bearer);
        let mut stream =
            client.export_audit(ExportAuditRequest::default()).await.expect("a stream").into_inner();
        let mut all = Vec::new();
        while let Some(answer) = stream.message().await.expect("readable") {
            all.extend(answer.record);
        }
        all
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.chassis.tasks.stop().await;
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The URL of a path for operators.
    pub fn ops_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ops)
    }

    /// A REST request that is signed in.
    pub fn rest(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, self.url(path)).bearer_auth(&self.token)
    }

    /// Status and body of a signed-in request with a JSON body (`Null` = none).
    pub async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.rest(method, path);
        let request = match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        };
        answer(request).await
    }

    /// A REST request with another token, in a tenant ("" = the usual one).
    pub fn request(&self, token: &str, tenant: &str, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.http.request(method, self.url(path)).bearer_auth(token);
        if tenant.is_empty() { request } else { request.header("berth-tenant", tenant) }
    }

    /// Like [`Self::call`], with another token, in a tenant.
    pub async fn ask(
        &self,
        token: &str,
        tenant: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let request = self.request(token, tenant, method, path);
        answer(match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        })
        .await
    }

    /// Makes a tenant.
    pub async fn tenant(&self, name: &str) {
        let (status, answer) = self.call("POST", "/v1/tenants", json!({"name": name})).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// A token of somebody with a role in a tenant.
    pub async fn member(&self, tenant: &str, role: &str) -> String {
        let body = json!({"name": role, "roles": [role]});
        let (status, user) = self.ask(&self.token, tenant, "POST", "/v1/users", body).await;
        assert_eq!(status, 200, "{user}");
        let body = json!({"name": "test", "user": role});
        let (status, token) = self.ask(&self.token, tenant, "POST", "/v1/tokens", body).await;
        assert_eq!(status, 200, "{token}");
        token["secret"].as_str().expect("shown once").to_owned()
    }

    /// The numbers that programs are shown.
    pub async fn metrics(&self) -> String {
        let answer = self.http.get(self.ops_url("/metrics")).send().await.expect("metrics");
        answer.text().await.expect("text")
    }

    /// Like [`Self::call`], with an idempotency key.
    pub async fn keyed(&self, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
        let request = self.rest(method, path).header("idempotency-key", key);
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// A plain gRPC channel.
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.url("")).expect("a url").connect().await.expect("connects")
    }

    fn bearer(&self) -> Bearer {
        Bearer::of(&self.token)
    }

    /// gRPC, signed in.
    pub async fn instances(&self) -> InstanceServiceClient<SignedIn> {
        InstanceServiceClient::with_interceptor(self.channel().await, self.bearer())
    }

    /// gRPC, signed in.
    pub async fn operations(&self) -> OperationServiceClient<SignedIn> {
        OperationServiceClient::with_interceptor(self.channel().await, self.bearer())
    }

    /// A channel for any other client.
    pub async fn signed_in(&self) -> (Channel, Bearer) {
        (self.channel().await, self.bearer())
    }

    /// Says an event as another service would.
    pub async fn say<M: Message>(&self, event: &M) {
        let cause = Cause::own("scheduler").for_tenant("default");
        let mut work = self.others.begin(cause).await.expect("begins");
        work.say(event);
        work.commit().await.expect("commits");
    }

    /// Makes an image known.
    pub async fn image(&self, id: &str, name: &str) {
        let upload = storage::artifact_source::Source::UploadId(format!("upload of {name}"));
        let image = storage::Image {
            id: id.into(),
            tenant: "default".into(),
            name: name.into(),
            revision: 1,
            sources: vec![storage::ArtifactSource { source: Some(upload), ..Default::default() }],
            phase: storage::ImagePhase::Ready as i32,
            ..storage::Image::default()
        };
        self.say(&storage::ImageImported { image: Some(image), operations: vec![] }).await;
        self.until("GET", &format!("/v1/images/{id}"), |(status, _)| *status == 200).await;
    }

    /// Makes a host known.
    pub async fn host(&self, id: &str, name: &str, agent: &str) {
        let host = scheduler::Host {
            id: id.into(),
            name: name.into(),
            agent_id: agent.into(),
            revision: 1,
            ..scheduler::Host::default()
        };
        self.say(&scheduler::HostRegistered { host: Some(host), operations: vec![] }).await;
        self.until("GET", &format!("/v1/hosts/{id}"), |(status, _)| *status == 200).await;
    }

    /// Makes an instance known, ready on a host.
    pub async fn ready(&self, id: &str, name: &str, host_id: &str) {
        let resources =
            contracts::common::v1::Resources { vcpus_milli: 1000, memory_bytes: 1 << 30, disk_bytes: 0 };
        let sealed = self.chassis.sealer.seal(b"password: hunter2");
        let spec = scheduler::InstanceSpec {
            resources: Some(resources),
            user_data: Some(sealed),
            ..Default::default()
        };
        let instance = scheduler::Instance {
            id: id.into(),
            tenant: "default".into(),
            name: name.into(),
            revision: 1,
            phase: scheduler::InstancePhase::Ready as i32,
            host_id: host_id.into(),
            spec: Some(spec),
            ..scheduler::Instance::default()
        };
        self.say(&scheduler::InstanceReady { instance: Some(instance), operations: vec![] }).await;
        self.until("GET", &format!("/v1/instances/{id}"), |(status, _)| *status == 200).await;
    }

    /// Asks until the answer is right.
    pub async fn until(&self, method: &str, path: &str, right: impl Fn(&(u16, Value)) -> bool) -> Value {
        testkit::eventually(PATIENCE, path, async || {
            let answer = self.call(method, path, Value::Null).await;
            right(&answer).then_some(answer.1)
        })
        .await
    }

    /// The commands of a type that are in a service's work queue, oldest first.
    pub async fn commands<M: Message>(&self) -> Vec<M> {
        let stream = bus::topology::command_stream(M::SERVICE);
        let subject = format!("cmd.{}.{}.{}.>", M::SERVICE, M::VERSION, M::NAME);
        let stream = self.chassis.bus.jetstream().get_stream_no_info(stream).await.expect("a work queue");
        let (mut found, mut next) = (Vec::new(), 1);
        while let Ok(message) = stream.direct_get_next_for_subject(subject.clone(), Some(next)).await {
            next = message.sequence + 1;
            found.push(M::from_bytes(&message.payload).expect("a command"));
        }
        found
    }

    /// The first command of a type, once it is there.
    pub async fn command<M: Message>(&self) -> M {
        testkit::eventually(PATIENCE, M::NAME, async || self.commands::<M>().await.into_iter().next()).await
    }
}

/// Status and JSON of an answer.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
