//! Objects of declared kinds: listed, got and told things by their declaration alone. The gateway knows kinds, not the
//! services that own them.

use super::accept::{Accepted, Requests};
use super::caller;
use crate::domain::caller::Caller;
use crate::domain::page::Page;
use crate::domain::violation::Violation;
use crate::domain::{labels, names};
use crate::store::operations;
use crate::translate::{kinds as translate, status};
use crate::wakeups::Wakeups;
use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bus::Desk;
use bytes::Bytes;
use contracts::codec::AsBytes;
use contracts::common::v1::{GetRequest, ListRequest, OperationResponse};
use contracts::options::v1::Scope;
use contracts::{Does, Entry, Method, ObjectKind, Op, canonical, check};
use kernel::{ObjectId, PLATFORM};
use objects::Found;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

/// Longest request about a declared kind.
pub const KIND_LIMIT: usize = 256 << 10;
/// How long an object that was just accepted may take to show in the read model.
const OWN_WRITES: Duration = Duration::from_secs(3);

/// All methods of all declared kinds.
pub struct Kinds {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Takes requests on.
    pub requests: Requests,
    /// Wakes those who wait for an object.
    pub wakeups: Wakeups,
}

impl Kinds {
    /// One gRPC route for each method.
    pub fn routes(self) -> Router {
        let kinds = Arc::new(self);
        let declared = contracts::methods().iter().filter_map(|method| Some((method, method.op?)));
        declared.fold(Router::new(), |router, (method, op)| {
            let call = Call { kinds: kinds.clone(), method, op };
            let serve = move |request: http::Request<Body>| {
                let call = call.clone();
                async move {
                    Grpc::new(AsBytes).max_decoding_message_size(KIND_LIMIT).unary(call, request).await
                }
            };
            router.route(&method.grpc_path(), post(serve))
        })
    }

    async fn list(&self, op: Op, request: Request<Bytes>) -> Result<Bytes, Status> {
        let caller = caller(&request)?;
        let wish = ListRequest::decode(request.into_inner()).map_err(translate::unreadable)?;
        let page = Page::read(wish.page_size, &wish.page_token, 2).map_err(status::invalid)?;
        labels::check("labels", &wish.labels).map_err(status::invalid)?;
        let after = |at: usize| page.after.get(at).map_or("", String::as_str);
        let (reader, tenant) = (self.desk.store().reader(), of(op.kind, &caller));
        let found =
            objects::page(reader, op.kind, tenant, &wish.labels, (after(0), after(1)), page.probe()).await;
        let (found, token) =
            page.cut(found.map_err(status::broken)?, |one| vec![one.name.clone(), one.id.clone()]);
        Ok(translate::page(&found, &token))
    }

    async fn get(&self, op: Op, request: Request<Bytes>) -> Result<Bytes, Status> {
        let caller = caller(&request)?;
        let wish = GetRequest::decode(request.into_inner()).map_err(translate::unreadable)?;
        Ok(self.find(op.kind, &caller, &wish.name).await?.snapshot.into())
    }

    async fn tell(
        &self,
        method: &'static Method,
        op: Op,
        request: Request<Bytes>,
        wish: &DynamicMessage,
    ) -> Result<Bytes, Status> {
        let (name, bytes) = (translate::name(wish), Bytes::from(canonical(wish)));
        let asked = self.requests.asked_encoded(&request, method.descriptor.name(), &bytes)?;
        let take = async {
            let id = if op.creates() {
                ObjectId::new().to_string()
            } else {
                let found = self.find(op.kind, &asked.caller, &name).await?;
                if found.gone {
                    return Err(translate::not_found(op.kind, &name));
                }
                asked.found(&found.id, &found.name, found.revision);
                found.id
            };
            let command = command(method)?;
            self.requests.intake.accept_encoded(&asked, &id, command, bytes.clone()).await
        };
        let Accepted { operation_id, object_id } = self.requests.once(&asked, take).await?;
        Ok(OperationResponse { operation_id, object_id }.encode_to_vec().into())
    }

    /// An object by name or id, gone ones by id only.
    async fn find(&self, kind: &'static ObjectKind, caller: &Caller, name: &str) -> Result<Found, Status> {
        names::reference("name", name).map_err(status::invalid)?;
        let tenant = of(kind, caller);
        let find = || objects::find(self.desk.store().reader(), kind, tenant, name);
        let missing = || translate::not_found(kind, name);
        if let Some(found) = find().await.map_err(status::broken)? {
            return Ok(found);
        }
        if name.parse::<ObjectId>().is_err() {
            return Err(missing());
        }
        // whoever was just told this id may use it at once: the owner's word of it is on its way
        let end = tokio::time::Instant::now() + OWN_WRITES;
        let mut listener = self.wakeups.listen();
        while self.is_being_made(kind, tenant, name).await? && tokio::time::Instant::now() < end {
            let _ = tokio::time::timeout_at(end, listener.changed(name)).await;
            if let Some(found) = find().await.map_err(status::broken)? {
                return Ok(found);
            }
        }
        find().await.map_err(status::broken)?.ok_or_else(missing)
    }

    async fn is_being_made(&self, kind: &ObjectKind, tenant: &str, id: &str) -> Result<bool, Status> {
        let Some(create) = translate::create_of(kind) else { return Ok(false) };
        let found = operations::unfinished(self.desk.store().reader(), tenant, create, id).await;
        Ok(found.map_err(status::broken)?.is_some())
    }
}

/// Whose objects of the kind a caller sees.
fn of<'a>(kind: &ObjectKind, caller: &'a Caller) -> &'a str {
    if kind.scope == Scope::Platform { PLATFORM } else { &caller.tenant }
}

/// The command that the request of a method is.
fn command(method: &Method) -> Result<&'static Entry, Status> {
    let input = method.descriptor.input();
    let entry = contracts::CATALOGUE.iter().find(|entry| entry.full_name == input.full_name());
    entry.ok_or_else(|| Status::internal("a request that is no command"))
}

/// One call of one method.
#[derive(Clone)]
struct Call {
    kinds: Arc<Kinds>,
    method: &'static Method,
    op: Op,
}

impl UnaryService<Bytes> for Call {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let Self { kinds, method, op } = self.clone();
        Box::pin(async move {
            let input = method.descriptor.input();
            let wish =
                DynamicMessage::decode(input, request.get_ref().clone()).map_err(translate::unreadable)?;
            check::check(&wish).map_err(|wrong| status::invalid(Violation::new(wrong.field, wrong.why)))?;
            let answer = match op.does {
                Does::List => kinds.list(op, request).await,
                Does::Get => kinds.get(op, request).await,
                Does::Tell(_) => kinds.tell(method, op, request, &wish).await,
            };
            answer.map(Response::new)
        })
    }
}
