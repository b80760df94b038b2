//! Requests and answers about objects of declared kinds, by their descriptors.

use super::{redact, status};
use crate::domain::caller::Caller;
use bytes::{BufMut as _, Bytes, BytesMut};
use contracts::ObjectKind;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::DynamicMessage;
use tonic::{Code, Status};

/// The object that a request names; "" = none.
pub fn name(wish: &DynamicMessage) -> String {
    let name = wish.get_field_by_name("name");
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}

/// Bytes that are no request of the method.
pub fn unreadable(error: prost::DecodeError) -> Status {
    let text = format!("the request cannot be read: {error}");
    status::refused(Code::InvalidArgument, kernel::Refusal::new("INVALID_ARGUMENT", text), "")
}

/// No object of the kind is called so, in the caller's reach.
pub fn not_found(kind: &ObjectKind, field: &str, name: &str) -> Status {
    status::not_found(&kind.name.replace('_', " "), field, name)
}

/// What a caller may see of objects of a kind: of most all of it, as their owner encoded it.
pub fn shown<'a>(kind: &ObjectKind, caller: &'a Caller) -> impl Fn(Vec<u8>) -> Bytes + use<'a> {
    let message = contracts::pool().get_message_by_name(kind.message).filter(redact::hides);
    move |snapshot| match &message {
        None => snapshot.into(),
        // what cannot be read is not shown
        Some(message) => DynamicMessage::decode(message.clone(), snapshot.as_slice()).map_or_else(
            |_| Bytes::new(),
            |mut object| {
                redact::strip(&mut object);
                redact::hide(&mut object, &|permission| caller.may(permission));
                object.encode_to_vec().into()
            },
        ),
    }
}

/// A page as every kind answers it: the objects in field 1 as their owner encoded them, the token in field 2.
pub fn page(objects: &[Bytes], token: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    let mut field = |number: u32, content: &[u8]| {
        encode_key(number, WireType::LengthDelimited, &mut bytes);
        encode_varint(content.len() as u64, &mut bytes);
        bytes.put_slice(content);
    };
    objects.iter().for_each(|object| field(1, object));
    if !token.is_empty() {
        field(2, token.as_bytes());
    }
    bytes.freeze()
}
