//! A wish for an instance, and whether it makes sense.

use super::resources::Resources;
use gateway_api::domain::labels;
use gateway_api::domain::names;
use gateway_api::domain::public_keys;
use gateway_api::domain::violation::Violation;
use kernel::limits::{GPU_MILLI, GPUS, GRACE_DEFAULT_S, GRACE_S, USER_DATA};
use std::collections::BTreeMap;

/// How big an instance should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Size {
    /// A named size.
    Flavor(String),
    /// Sizes one by one.
    Custom(Resources),
}

/// What the caller of "create instance" wants; names are not resolved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Unique per tenant.
    pub name: String,
    /// Name or id.
    pub image: String,
    /// Flavor or resources.
    pub size: Size,
    /// The name when none was given.
    pub hostname: String,
    /// In authorized_keys format.
    pub ssh_authorized_keys: Vec<String>,
    /// cloud-config, script, MIME or gzip, in clear.
    pub user_data: Vec<u8>,
    /// Of the instance.
    pub labels: BTreeMap<String, String>,
    /// That its host must have.
    pub require_host_labels: BTreeMap<String, String>,
    /// That its host must not have.
    pub avoid_host_labels: BTreeMap<String, String>,
    /// "" = none.
    pub affinity_group: String,
    /// "" = none.
    pub anti_affinity_group: String,
    /// Members of the anti-affinity group on one host; 0 = 1.
    pub max_per_host: u32,
    /// 0 = none.
    pub gpus: u32,
    /// Thousandths of each GPU; 0 = 1000.
    pub gpu_milli: u32,
}

impl Wish {
    /// The same wish when everything in it is right; the first wrong field otherwise.
    pub fn checked(self) -> Result<Self, Violation> {
        names::instance("name", &self.name)?;
        names::reference("image", &self.image)?;
        match &self.size {
            Size::Flavor(flavor) => names::dotted("flavor", flavor)?,
            Size::Custom(resources) => {
                resources.checked().map_err(|v| v.inside("resources"))?;
            }
        }
        names::hostname("hostname", &self.hostname)?;
        public_keys::check("ssh_authorized_keys", &self.ssh_authorized_keys)?;
        if self.user_data.len() > USER_DATA.length() {
            return Err(Violation::new(
                "user_data",
                format!("{} bytes are too many: at most {USER_DATA}", self.user_data.len()),
            ));
        }
        labels::check("labels", &self.labels)?;
        labels::check("require_host_labels", &self.require_host_labels)?;
        labels::check("avoid_host_labels", &self.avoid_host_labels)?;
        if let Some((key, _)) = self
            .require_host_labels
            .iter()
            .find(|(key, value)| self.avoid_host_labels.get(*key) == Some(value))
        {
            return Err(Violation::new(
                format!("avoid_host_labels.{key}"),
                "the same label is required and avoided: no host can do both",
            ));
        }
        labels::group("affinity_group", &self.affinity_group)?;
        labels::group("anti_affinity_group", &self.anti_affinity_group)?;
        self.check_gpus()?;
        if self.max_per_host > 0 && self.anti_affinity_group.is_empty() {
            let text = "it limits the members of a group on one host: name the group in anti_affinity_group";
            return Err(Violation::new("max_per_host", text));
        }
        Ok(self)
    }

    fn check_gpus(&self) -> Result<(), Violation> {
        let milli = self.gpu_milli;
        if self.gpus > GPUS {
            return Err(Violation::new("gpus", format!("{} are too many: at most {GPUS}", self.gpus)));
        }
        let problem = match (self.gpus, milli) {
            _ if milli > GPU_MILLI => format!("{milli} thousandths are more than a GPU: write 1 to 1000"),
            (0, 1..) => "a share of no GPU: set gpus to 1".to_owned(),
            (2.., 1..=999) => "a share is of one GPU: set gpus to 1, or leave gpu_milli out".to_owned(),
            _ => return Ok(()),
        };
        Err(Violation::new("gpu_milli", problem))
    }
}

/// Seconds a guest gets to shut down: as given, or the default.
pub fn grace(given: Option<u32>) -> Result<u32, Violation> {
    match given {
        Some(seconds) if seconds > GRACE_S => Err(Violation::new(
            "grace_s",
            format!("{seconds} seconds are too many: at most {GRACE_S}; 0 pulls the plug at once"),
        )),
        Some(seconds) => Ok(seconds),
        None => Ok(GRACE_DEFAULT_S),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{Bytes, MilliVcpus};

    fn wish() -> Wish {
        Wish {
            name: "web-1".into(),
            image: "debian-12".into(),
            size: Size::Flavor("small".into()),
            hostname: "web-1".into(),
            ssh_authorized_keys: Vec::new(),
            user_data: Vec::new(),
            labels: BTreeMap::new(),
            require_host_labels: BTreeMap::new(),
            avoid_host_labels: BTreeMap::new(),
            affinity_group: String::new(),
            anti_affinity_group: String::new(),
            max_per_host: 0,
            gpus: 0,
            gpu_milli: 0,
        }
    }

    #[test]
    fn a_plain_wish_is_right() {
        assert_eq!(wish().checked(), Ok(wish()));
    }

    #[test]
    fn each_wrong_field_is_named() {
        let tiny = Resources { vcpus: MilliVcpus(1000), memory: Bytes(1), disk: Bytes(0) };
        let pair = || BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        for (wrong, field) in [
            (Wish { name: "Web".into(), ..wish() }, "name"),
            (Wish { image: String::new(), ..wish() }, "image"),
            (Wish { image: "../etc".into(), ..wish() }, "image"),
            (Wish { size: Size::Flavor(String::new()), ..wish() }, "flavor"),
            (Wish { size: Size::Custom(tiny), ..wish() }, "resources.memory_bytes"),
            (Wish { hostname: "a b".into(), ..wish() }, "hostname"),
            (Wish { ssh_authorized_keys: vec!["x".into()], ..wish() }, "ssh_authorized_keys[0]"),
            (Wish { user_data: vec![b'x'; USER_DATA.length() + 1], ..wish() }, "user_data"),
            (Wish { labels: BTreeMap::from([(String::new(), String::new())]), ..wish() }, "labels"),
            (
                Wish { require_host_labels: pair(), avoid_host_labels: pair(), ..wish() },
                "avoid_host_labels.zone",
            ),
            (Wish { affinity_group: "a b".into(), ..wish() }, "affinity_group"),
            (Wish { max_per_host: 2, ..wish() }, "max_per_host"),
            (Wish { gpus: GPUS + 1, ..wish() }, "gpus"),
            (Wish { gpus: 1, gpu_milli: 1001, ..wish() }, "gpu_milli"),
            (Wish { gpu_milli: 500, ..wish() }, "gpu_milli"),
            (Wish { gpus: 2, gpu_milli: 500, ..wish() }, "gpu_milli"),
        ] {
            assert_eq!(wrong.checked().expect_err(field).field, field);
        }
    }

    #[test]
    fn gpus_are_whole_or_a_share_of_one() {
        for (gpus, gpu_milli) in [(0, 0), (1, 0), (1, 1), (1, 1000), (8, 1000), (64, 0)] {
            assert!(Wish { gpus, gpu_milli, ..wish() }.checked().is_ok(), "{gpus} {gpu_milli}");
        }
        let group = Wish { anti_affinity_group: "db".into(), max_per_host: 2, ..wish() };
        assert!(group.checked().is_ok());
    }

    #[test]
    fn a_stop_has_a_grace_time() {
        assert_eq!(grace(None), Ok(GRACE_DEFAULT_S));
        assert_eq!(grace(Some(0)), Ok(0));
        assert!(grace(Some(3601)).is_err());
    }
}
