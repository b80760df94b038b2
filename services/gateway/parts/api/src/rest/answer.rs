//! From protobuf to the JSON that REST answers.
//!
//! Names are those of the .proto file; fields at their default are shown, unset messages are left out. Whole numbers
//! of 64 bits are JSON numbers up to 2^53 and strings beyond, because readers with doubles would round them.
//! Sealed secrets are left out.

use crate::translate::redact;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;
use tonic::Status;

/// One answer as JSON.
pub fn json(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<Value, Status> {
    let broken = |e: String| Status::internal(format!("an answer that cannot be read: {e}"));
    let mut message = DynamicMessage::decode(descriptor.clone(), bytes).map_err(|e| broken(e.to_string()))?;
    redact::strip(&mut message);
    contracts::json_of(&message).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::common::v1::{Resources, Sealed};
    use contracts::gateway::v1::{Flavor, GetOperationResponse, Operation};
    use prost::Message as _;
    use serde_json::json;

    fn answer(name: &str, bytes: &[u8]) -> Value {
        json(&contracts::pool().get_message_by_name(name).expect("known"), bytes).expect("readable")
    }

    #[test]
    fn defaults_are_shown_and_big_numbers_stay_exact() {
        let resources = Resources { vcpus_milli: 0, memory_bytes: 1 << 30, disk_bytes: u64::MAX };
        let flavor = Flavor { name: "small".into(), resources: Some(resources), ..Flavor::default() };
        assert_eq!(
            answer("berth.gateway.v1.Flavor", &flavor.encode_to_vec()),
            json!({"name": "small", "description": "", "revision": 0, "created_at_us": 0,
                   "resources": {"vcpus_milli": 0, "memory_bytes": 1073741824, "disk_bytes": "18446744073709551615"}})
        );
    }

    #[test]
    fn sealed_blobs_are_left_out_and_unset_messages_too() {
        let output = Some(Sealed { key_id: "k".into(), nonce: vec![1], ciphertext: vec![2] });
        let operation = Operation { id: "o".into(), output, ..Operation::default() };
        let value = answer(
            "berth.gateway.v1.GetOperationResponse",
            &GetOperationResponse { operation: Some(operation) }.encode_to_vec(),
        );
        assert_eq!(value["operation"].get("output"), None);
        assert_eq!(value["operation"].get("refusal"), None);
        assert_eq!(value["operation"]["state"], "OPERATION_STATE_UNSPECIFIED");
        assert_eq!(value["operation"]["steps"], json!([]));
    }
}
