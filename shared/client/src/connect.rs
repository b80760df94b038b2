//! The connection to the gateway.

use super::{Exit, Failure};
use bytes::Bytes;
use contracts::Method;
use contracts::codec::AsBytes;
use contracts::gateway::v1::{
    audit_service_client::AuditServiceClient, event_service_client::EventServiceClient,
    external_event_service_client::ExternalEventServiceClient, flavor_service_client::FlavorServiceClient,
    host_service_client::HostServiceClient, image_service_client::ImageServiceClient,
    instance_service_client::InstanceServiceClient, operation_service_client::OperationServiceClient,
    platform_service_client::PlatformServiceClient, quota_service_client::QuotaServiceClient,
    session_service_client::SessionServiceClient, tenant_service_client::TenantServiceClient,
    token_service_client::TokenServiceClient, user_service_client::UserServiceClient,
    webhook_service_client::WebhookServiceClient,
};
use std::path::PathBuf;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Request, Response, Status};

/// Answers with many instances or a long console can be large.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How to reach a gateway.
#[derive(Debug, Clone)]
pub struct Connect {
    /// `https://berth.example.com:7480`, or `http://127.0.0.1:7480`.
    pub endpoint: String,
    /// API token, "" = none.
    pub token: String,
    /// Tenant to act in, "" = the caller's usual one.
    pub tenant: String,
    /// Certificate authority in PEM, for https.
    pub ca_file: Option<PathBuf>,
    /// Let a token and data travel unencrypted to another machine.
    pub allow_plain_http: bool,
    /// How long one call may take.
    pub request_timeout: Duration,
    /// How often a call is sent when the connection fails, 1 = once.
    pub attempts: u32,
}

/// Adds the API token, and the tenant to act in, to each call.
#[derive(Clone)]
pub struct Credentials {
    token: Option<MetadataValue<Ascii>>,
    tenant: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if let Some(tenant) = &self.tenant {
            request.metadata_mut().insert("berth-tenant", tenant.clone());
        }
        Ok(request)
    }
}

type Connection = InterceptedService<Channel, Credentials>;

/// A gateway. Nothing is sent before the first call.
#[derive(Clone)]
pub struct Gateway {
    connection: Connection,
    pub(super) endpoint: String,
    pub(super) request_timeout: Duration,
    pub(super) attempts: u32,
}

impl Gateway {
    /// Checks how to reach the gateway. Must be called inside a tokio runtime.
    pub fn new(connect: &Connect) -> Result<Self, Failure> {
        let endpoint = endpoint_of(connect)?;
        let credentials =
            Credentials { token: token_header(&connect.token)?, tenant: tenant_header(&connect.tenant)? };
        Ok(Self {
            connection: InterceptedService::new(endpoint.connect_lazy(), credentials),
            endpoint: connect.endpoint.clone(),
            request_timeout: connect.request_timeout,
            attempts: connect.attempts.max(1),
        })
    }

    /// Where the gateway is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How often a call is sent when the connection fails, 1 = once.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Instances.
    pub fn instances(&self) -> InstanceServiceClient<Connection> {
        InstanceServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Images.
    pub fn images(&self) -> ImageServiceClient<Connection> {
        ImageServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Flavors.
    pub fn flavors(&self) -> FlavorServiceClient<Connection> {
        FlavorServiceClient::new(self.connection.clone())
    }

    /// Hosts.
    pub fn hosts(&self) -> HostServiceClient<Connection> {
        HostServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Operations.
    pub fn operations(&self) -> OperationServiceClient<Connection> {
        OperationServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The event stream.
    pub fn events(&self) -> EventServiceClient<Connection> {
        EventServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Events of other systems.
    pub fn external_events(&self) -> ExternalEventServiceClient<Connection> {
        ExternalEventServiceClient::new(self.connection.clone())
    }

    /// Records of calls.
    pub fn audit(&self) -> AuditServiceClient<Connection> {
        AuditServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Tenants.
    pub fn tenants(&self) -> TenantServiceClient<Connection> {
        TenantServiceClient::new(self.connection.clone())
    }

    /// What tenants may have.
    pub fn quotas(&self) -> QuotaServiceClient<Connection> {
        QuotaServiceClient::new(self.connection.clone())
    }

    /// Users and roles.
    pub fn users(&self) -> UserServiceClient<Connection> {
        UserServiceClient::new(self.connection.clone())
    }

    /// Tokens.
    pub fn tokens(&self) -> TokenServiceClient<Connection> {
        TokenServiceClient::new(self.connection.clone())
    }

    /// Logging in and out.
    pub fn sessions(&self) -> SessionServiceClient<Connection> {
        SessionServiceClient::new(self.connection.clone())
    }

    /// Receivers of events outside.
    pub fn webhooks(&self) -> WebhookServiceClient<Connection> {
        WebhookServiceClient::new(self.connection.clone())
    }

    /// Calls a method that is only known by its declaration.
    pub async fn call(&self, method: &Method, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let path = method.grpc_path();
        let path = path.parse().map_err(|_| Status::internal(format!("{path} is no path")))?;
        let mut grpc =
            tonic::client::Grpc::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(format!("the gateway is not ready: {error}")))?;
        grpc.unary(request, path, AsBytes).await
    }

    /// Health and dead letters.
    pub fn platform(&self) -> PlatformServiceClient<Connection> {
        PlatformServiceClient::new(self.connection.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

fn tenant_header(tenant: &str) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    if tenant.is_empty() {
        return Ok(None);
    }
    let explain = |_| Failure::usage(format!("{tenant:?} is not the name of a tenant"));
    MetadataValue::<Ascii>::try_from(tenant).map(Some).map_err(explain)
}

fn token_header(token: &str) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    // the token itself must not appear in the message
    let explain = |_| {
        Failure::usage("the API token holds characters that no token has: it was probably cut or mixed up")
    };
    let mut header = MetadataValue::<Ascii>::try_from(format!("Bearer {token}")).map_err(explain)?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn endpoint_of(connect: &Connect) -> Result<Endpoint, Failure> {
    let text = &connect.endpoint;
    let explain = |why: &str| {
        Failure::usage(format!("endpoint {text:?}: {why}"))
            .hint("write https://host:7480, or http://127.0.0.1:7480 for a gateway on this machine")
    };
    let uri: Uri = text.parse().map_err(|_| explain("this is no URL"))?;
    let host = uri.host().ok_or_else(|| explain("the host is missing"))?.trim_matches(['[', ']']).to_owned();
    if !matches!(uri.path(), "" | "/") {
        return Err(explain("a path is not expected"));
    }
    let endpoint = Endpoint::from(uri.clone())
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    match uri.scheme_str() {
        Some("https") => {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_of(connect)?));
            endpoint.tls_config(tls).map_err(|error| {
                let file = connect.ca_file.clone().unwrap_or_default();
                Failure::usage(format!("CA file {}: {}", file.display(), chain(&error)))
                    .hint("a PEM file with the certificate of the authority that signed the gateway's certificate is needed")
            })
        }
        Some("http") if connect.allow_plain_http || is_loopback(&host) => Ok(endpoint),
        Some("http") => {
            Err(explain("plain http to another machine would show the token to everybody on the way")
                .hint("use https:// with a CA file, or set allow_plain_http when the network is yours alone"))
        }
        _ => Err(explain("the scheme must be https or http")),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn ca_of(connect: &Connect) -> Result<Vec<u8>, Failure> {
    let Some(file) = &connect.ca_file else {
        return Err(Failure::usage(format!("{} needs a CA file", connect.endpoint))
            .hint("give it with --ca-file, BERTH_CA_FILE or `ca_file` of the context"));
    };
    let pem = std::fs::read(file)
        .map_err(|error| Failure::usage(format!("CA file {}: {error}", file.display())))?;
    // without this the connection would fail later, with words about certificates nobody gave
    if !pem.windows(27).any(|w| w == b"-----BEGIN CERTIFICATE-----") {
        return Err(Failure::usage(format!("CA file {}: it holds no certificate in PEM", file.display())));
    }
    Ok(pem)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(endpoint: &str) -> Connect {
        Connect {
            endpoint: endpoint.into(),
            token: String::new(),
            tenant: String::new(),
            ca_file: None,
            allow_plain_http: false,
            request_timeout: Duration::from_secs(1),
            attempts: 1,
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for fine in ["http://127.0.0.1:7480", "http://localhost:7480", "http://[::1]:7480/"] {
            assert!(endpoint_of(&connect(fine)).is_ok(), "{fine}");
        }
        for bad in [
            "http://10.0.0.1:7480",
            "http://localhost.example.com:7480",
            "ftp://127.0.0.1",
            "",
            "127.0.0.1:7480",
            "http://127.0.0.1/v1",
        ] {
            let failure = endpoint_of(&connect(bad)).expect_err(bad);
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
            assert!(!failure.hint.is_empty(), "{bad}");
        }
        let said = Connect { allow_plain_http: true, ..connect("http://10.0.0.1:7480") };
        assert!(endpoint_of(&said).is_ok());
    }

    #[test]
    fn https_needs_a_certificate_authority() {
        let failure = endpoint_of(&connect("https://berth.example.com:7480")).expect_err("no CA");
        assert!(failure.message.contains("CA file"), "{failure}");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "hello").expect("writes");
        let wrong =
            Connect { ca_file: Some(file.path().into()), ..connect("https://berth.example.com:7480") };
        let failure = endpoint_of(&wrong).expect_err("no PEM");
        assert!(failure.message.contains("no certificate"), "{failure}");
    }

    #[test]
    fn a_broken_token_is_never_shown() {
        let failure = token_header("secret\nsecond line").expect_err("not a header");
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
}
