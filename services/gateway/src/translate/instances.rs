//! "Create instance" on the wire.

use super::resources;
use crate::domain::instance::{Size, Wish};
use contracts::common::v1::{Driver, Resources, RestartPolicy, Sealed};
use contracts::gateway::v1::CreateInstanceRequest;
use contracts::scheduler::v1::{InstanceSpec, PlacementPolicy};
use gateway_api::domain::user_data;
use gateway_api::domain::violation::Violation;

/// What of a request needs no checking beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices {
    /// Unspecified = any that can boot the image.
    pub driver: Driver,
    /// Default: always.
    pub restart_policy: RestartPolicy,
    /// Default: spread.
    pub placement_policy: PlacementPolicy,
}

/// Reads and checks a request.
pub fn read(request: CreateInstanceRequest) -> Result<(Wish, Choices), Violation> {
    let choices = Choices {
        driver: known(request.driver, "driver")?,
        restart_policy: match known(request.restart_policy, "restart_policy")? {
            RestartPolicy::Unspecified => RestartPolicy::Always,
            policy => policy,
        },
        placement_policy: match known(request.placement_policy, "placement_policy")? {
            PlacementPolicy::Unspecified => PlacementPolicy::Spread,
            policy => policy,
        },
    };
    let size = match (request.flavor.is_empty(), request.resources) {
        (false, None) => Size::Flavor(request.flavor),
        (true, Some(given)) => Size::Custom(resources::unchecked(Some(given))),
        (false, Some(_)) => return Err(Violation::new("resources", "give a flavor or resources, not both")),
        (true, None) => {
            return Err(Violation::new("flavor", "say how big it should be: a flavor or resources"));
        }
    };
    let user_data = match (request.user_data.is_empty(), request.user_data_bytes.is_empty()) {
        (false, false) => {
            let text = "give user_data or user_data_bytes, not both";
            return Err(Violation::new("user_data_bytes", text));
        }
        (false, true) => request.user_data.into_bytes(),
        (true, _) => request.user_data_bytes,
    };
    let hostname = if request.hostname.is_empty() { request.name.clone() } else { request.hostname };
    let wish = Wish {
        name: request.name,
        image: request.image,
        size,
        hostname,
        ssh_authorized_keys: request.ssh_authorized_keys,
        user_data,
        labels: request.labels,
        require_host_labels: request.require_host_labels,
        avoid_host_labels: request.avoid_host_labels,
        affinity_group: request.affinity_group,
        anti_affinity_group: request.anti_affinity_group,
        max_per_host: request.max_per_host,
        gpus: request.gpus,
        gpu_milli: request.gpu_milli,
    };
    Ok((wish.checked()?, choices))
}

/// What whoever asks should know, though nothing is refused for it.
pub fn hints(request: &CreateInstanceRequest) -> Vec<String> {
    let bytes = match request.user_data.as_bytes() {
        [] => request.user_data_bytes.as_slice(),
        text => text,
    };
    user_data::hint(bytes).map(|hint| format!("user data, {hint}")).into_iter().collect()
}

/// An enum value that our definitions name; gRPC clients may send any number.
fn known<E: TryFrom<i32>>(number: i32, field: &str) -> Result<E, Violation> {
    E::try_from(number).map_err(|_| Violation::new(field, format!("{number} is not a value of this field")))
}

/// What the names in a wish turned out to be.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Id of the image.
    pub image_id: String,
    /// Its name.
    pub image_name: String,
    /// Sizes of the flavor, or those given.
    pub resources: Resources,
    /// Sealed user data, if there was any.
    pub user_data: Option<Sealed>,
}

/// What the scheduler is told.
pub fn spec(wish: Wish, choices: Choices, resolved: Resolved) -> InstanceSpec {
    InstanceSpec {
        image_id: resolved.image_id,
        image_name: resolved.image_name,
        flavor_name: match wish.size {
            Size::Flavor(name) => name,
            Size::Custom(_) => String::new(),
        },
        resources: Some(resolved.resources),
        hostname: wish.hostname,
        ssh_authorized_keys: wish.ssh_authorized_keys,
        user_data: resolved.user_data,
        labels: wish.labels,
        driver: choices.driver as i32,
        require_host_labels: wish.require_host_labels,
        avoid_host_labels: wish.avoid_host_labels,
        affinity_group: wish.affinity_group,
        anti_affinity_group: wish.anti_affinity_group,
        restart_policy: choices.restart_policy as i32,
        placement_policy: choices.placement_policy as i32,
        gpus: wish.gpus,
        gpu_milli: wish.gpu_milli,
        max_per_host: wish.max_per_host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CreateInstanceRequest {
        CreateInstanceRequest {
            name: "web-1".into(),
            image: "debian".into(),
            flavor: "small".into(),
            ..CreateInstanceRequest::default()
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let (wish, choices) = read(request()).expect("right");
        assert_eq!(wish.hostname, "web-1");
        assert_eq!(choices.restart_policy, RestartPolicy::Always);
        assert_eq!(choices.placement_policy, PlacementPolicy::Spread);
    }

    #[test]
    fn a_size_is_given_once() {
        let both = CreateInstanceRequest { resources: Some(Resources::default()), ..request() };
        assert_eq!(read(both).expect_err("both").field, "resources");
        let none = CreateInstanceRequest { flavor: String::new(), ..request() };
        assert_eq!(read(none).expect_err("none").field, "flavor");
    }

    #[test]
    fn user_data_are_text_or_bytes_and_never_both() {
        let zipped = vec![0x1f, 0x8b, 0, 0xff];
        let bytes = CreateInstanceRequest { user_data_bytes: zipped.clone(), ..request() };
        assert_eq!((hints(&bytes), read(bytes).expect("right").0.user_data), (vec![], zipped.clone()));
        let text = CreateInstanceRequest { user_data: "packages: []".into(), ..request() };
        assert!(hints(&text)[0].starts_with("user data, line 1: "), "{:?}", hints(&text));
        assert_eq!(read(text.clone()).expect("taken all the same").0.user_data, b"packages: []");
        let both = CreateInstanceRequest { user_data_bytes: zipped, ..text };
        assert_eq!(read(both).expect_err("both").field, "user_data_bytes");
    }

    #[test]
    fn an_unknown_number_is_no_choice() {
        let wrong = CreateInstanceRequest { restart_policy: 77, ..request() };
        assert_eq!(read(wrong).expect_err("77").field, "restart_policy");
    }
}
