//! Objects of declared kinds: listed, got and told things by their declaration alone. The gateway knows kinds, not the
//! services that own them.

use super::accept::{Accepted, Requests};
use super::caller;
use super::lookup::Lookup;
use crate::domain::caller::Caller;
use crate::domain::page::Page;
use crate::domain::violation::Violation;
use crate::translate::{kinds as translate, redact, status};
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
use objects::{Filter, Order, Query};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, Value};
use std::pin::Pin;
use std::sync::Arc;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

/// Longest request about a declared kind.
pub const KIND_LIMIT: usize = 256 << 10;

/// All methods of all declared kinds.
pub struct Kinds {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Takes requests on.
    pub requests: Requests,
    /// Finds what requests name.
    pub lookup: Lookup,
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
        let List { filter, order, name } = List::read(op.kind, &wish, &caller).map_err(status::invalid)?;
        let page = Page::of(&name, wish.page_size, &wish.page_token, 2).map_err(status::invalid)?;
        let query = Query {
            kind: op.kind,
            tenant: of(op.kind, &caller),
            filter: &filter,
            order,
            gone: wish.include_gone,
            after: page.after.first().zip(page.after.get(1)).map(|(key, id)| (key.as_str(), id.as_str())),
            size: page.size as usize,
        };
        let found = objects::page(self.desk.store().reader(), &query).await.map_err(status::broken)?;
        let token = found.next.map(|(key, id)| Page::token(&name, [key, id])).unwrap_or_default();
        let shown = translate::shown(op.kind, &caller);
        let objects: Vec<Bytes> = found.objects.into_iter().map(|one| shown(one.snapshot)).collect();
        Ok(translate::page(&objects, &token))
    }

    async fn get(&self, op: Op, request: Request<Bytes>) -> Result<Bytes, Status> {
        let caller = caller(&request)?;
        let wish = GetRequest::decode(request.into_inner()).map_err(translate::unreadable)?;
        let found = self.lookup.find(op.kind, of(op.kind, &caller), ("name", &wish.name)).await?;
        Ok(translate::shown(op.kind, &caller)(found.snapshot))
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
                let found = self.lookup.find(op.kind, of(op.kind, &asked.caller), ("name", &name)).await?;
                if found.gone {
                    return Err(translate::not_found(op.kind, "name", &name));
                }
                asked.found(&found.id, &found.name, found.revision);
                found.id
            };
            let command = command(method)?;
            // what the caller sent tells requests apart, whatever it is called by then
            let payload = match self.resolved(wish, &asked.caller).await? {
                Some(resolved) => Bytes::from(canonical(&resolved)),
                None => bytes.clone(),
            };
            self.requests.intake.accept_encoded(&asked, &id, command, payload).await
        };
        let Accepted { operation_id, object_id, outcome } = self.requests.once(&asked, take).await?;
        Ok(OperationResponse { operation_id, object_id, outcome }.encode_to_vec().into())
    }

    /// The request with ids instead of names wherever it refers to objects; `None`: it refers to none.
    async fn resolved(
        &self,
        wish: &DynamicMessage,
        caller: &Caller,
    ) -> Result<Option<DynamicMessage>, Status> {
        let referring = |field: FieldDescriptor| {
            let kind = check::rules(&field).refers?;
            wish.has_field(&field).then_some((field, kind))
        };
        let fields: Vec<_> = wish.descriptor().fields().filter_map(referring).collect();
        if fields.is_empty() {
            return Ok(None);
        }
        let mut resolved = wish.clone();
        for (field, kind) in fields {
            let value = match wish.get_field(&field).as_ref() {
                Value::List(items) => {
                    let mut ids = Vec::with_capacity(items.len());
                    for (index, item) in items.iter().enumerate() {
                        let at = format!("{}[{index}]", field.name());
                        ids.push(self.id_of(kind, caller, &at, item).await?);
                    }
                    Value::List(ids)
                }
                value => self.id_of(kind, caller, field.name(), value).await?,
            };
            resolved.set_field(&field, value);
        }
        Ok(Some(resolved))
    }

    /// The id of the living object that a field names.
    async fn id_of(
        &self,
        kind: &'static ObjectKind,
        caller: &Caller,
        at: &str,
        name: &Value,
    ) -> Result<Value, Status> {
        let name = name.as_str().unwrap_or_default();
        match self.lookup.find(kind, of(kind, caller), (at, name)).await? {
            found if found.gone => Err(translate::not_found(kind, at, name)),
            found => Ok(Value::String(found.id)),
        }
    }
}

/// Which list is asked for.
struct List {
    filter: Filter,
    order: Order,
    /// Tells it from all others.
    name: String,
}

impl List {
    fn read(kind: &ObjectKind, wish: &ListRequest, caller: &Caller) -> Result<Self, Violation> {
        let filter = redact::filter(kind, &wish.filter, &wish.labels, &[], caller)?;
        let order = Order::read(&wish.order_by).map_err(|why| Violation::new("order_by", why))?;
        let name = format!("{} {order:?} {} {}", kind.name, wish.include_gone, filter.canonical());
        Ok(Self { filter, order, name })
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
