//! Any message as a JSON document, by its descriptor.

use client::{Exit, Failure};
use prost_reflect::DynamicMessage;
use serde_json::Value;

/// The message called `full_name` as JSON: protobuf's JSON mapping with the names of the .proto files, the same that REST
/// answers. Unlike the mapping's default every field is there, also those at their default, and 64-bit integers are
/// numbers up to 2^53: a script may rely on both.
pub fn json_of<M: prost::Message>(full_name: &str, message: &M) -> Result<Value, Failure> {
    let broken =
        |why: String| Failure::new(Exit::Failed, format!("{full_name} cannot be written as JSON: {why}"));
    let descriptor = contracts::pool()
        .get_message_by_name(full_name)
        .ok_or_else(|| broken("no message has this name".into()))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|e| broken(e.to_string()))?;
    contracts::json_of(&dynamic).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::gateway::v1::{Flavor, GetExecOutputResponse, ListFlavorsResponse};

    #[test]
    fn fields_keep_their_names_and_are_all_there() {
        let list = ListFlavorsResponse {
            flavors: vec![Flavor {
                name: "small".into(),
                created_at_us: 1_700_000_000_000_000,
                ..Flavor::default()
            }],
        };
        let json = json_of("berth.gateway.v1.ListFlavorsResponse", &list).expect("a document");
        assert_eq!(json["flavors"][0]["created_at_us"], 1_700_000_000_000_000_i64);
        assert_eq!(json["flavors"][0]["description"], "");
        let empty = json_of("berth.gateway.v1.ListFlavorsResponse", &ListFlavorsResponse::default())
            .expect("a document");
        assert_eq!(empty, serde_json::json!({"flavors": []}));
    }

    #[test]
    fn bytes_are_base64() {
        let output = GetExecOutputResponse { stdout: b"hi\xff".to_vec(), ..Default::default() };
        let json = json_of("berth.gateway.v1.GetExecOutputResponse", &output).expect("a document");
        assert_eq!((json["stdout"].as_str(), json["exit_code"].as_i64()), (Some("aGn/"), Some(0)));
        assert!(json_of("berth.gateway.v1.Nothing", &output).is_err());
    }
}
