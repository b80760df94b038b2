//! What is to be placed, as the caller says it and as the hot loop wants it.

use super::fleet::{Fleet, KINDS, bit, coarse};
use super::rows::GroupKey;
use crate::host::Driver;
use crate::instance::{Instance, Policy};
use crate::resources::{Gpus, Resources};
use kernel::HostId;
use std::collections::BTreeMap;

/// What is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How much it takes.
    pub resources: Resources,
    /// None: any driver that can boot it.
    pub driver: Option<Driver>,
    /// Empty: any.
    pub architecture: String,
    /// It brings its own kernel; otherwise it boots from its disk.
    pub direct_kernel: bool,
    /// Host labels that must be there with this value.
    pub require: BTreeMap<String, String>,
    /// Host labels that must not be there with this value.
    pub avoid: BTreeMap<String, String>,
    /// Must be on a host of this group, if the group is anywhere yet.
    pub affinity: Option<GroupKey>,
    /// Must not be on a host with too many of this group.
    pub anti_affinity: Option<GroupKey>,
    /// Members of the anti-affinity group on its host, itself counted: 1 or more.
    pub max_per_host: u32,
    /// GPUs.
    pub gpus: Gpus,
    /// Hosts that could not start it.
    pub failed_hosts: Vec<HostId>,
    /// Which host is best.
    pub policy: Policy,
}

impl From<&Instance> for Request {
    fn from(instance: &Instance) -> Self {
        let group = |name: &String| {
            let key = GroupKey { tenant: instance.tenant.clone(), name: name.clone() };
            (!name.is_empty()).then_some(key)
        };
        Self {
            resources: instance.spec.resources,
            driver: instance.spec.driver,
            architecture: instance.boot.architecture.clone(),
            direct_kernel: instance.boot.direct_kernel(),
            require: instance.spec.require_host_labels.clone(),
            avoid: instance.spec.avoid_host_labels.clone(),
            affinity: group(&instance.spec.affinity_group),
            anti_affinity: group(&instance.spec.anti_affinity_group),
            max_per_host: instance.spec.max_per_host.max(1),
            gpus: instance.spec.gpus,
            failed_hosts: instance.failed_hosts.clone(),
            policy: instance.spec.policy,
        }
    }
}

/// A request looked up in a fleet once, so that each host costs a few comparisons.
pub(super) struct Prepared<'a> {
    pub request: &'a Request,
    pub amounts: [u64; KINDS],
    /// One bit a driver that would be right.
    pub drivers: u32,
    /// First of the bits that say a driver can boot it.
    pub boots: u32,
    /// None: any. A number no host has: none.
    pub architecture: Option<u16>,
    /// Sorted. None: anywhere.
    pub together: Option<Vec<u32>>,
    /// Sorted.
    pub apart: Vec<u32>,
    /// GPUs that must be entirely free.
    pub gpus_whole: u32,
    /// Thousandths that must be free on one GPU.
    pub gpu_share: u32,
    /// Sorted.
    pub failed: Vec<u32>,
    pub any_label: bool,
    /// The labels that a host must have, and must not have, as bits of [`Slot::labels`](super::fleet::Slot).
    pub labels: [u32; 2],
    /// The bits do not tell: labels are looked up by name.
    pub labels_by_name: bool,
    /// Nothing is asked but room, a driver, and a host that is up and open.
    pub plain: bool,
}

impl<'a> Prepared<'a> {
    pub fn new(fleet: &Fleet, request: &'a Request) -> Self {
        let all = Driver::ALL.into_iter().fold(0, |bits, driver| bits | 1 << driver as u32);
        let together = request.affinity.as_ref().map(|group| fleet.hosts_of(group));
        let number = |host: &HostId| fleet.index_of(*host).and_then(|index| u32::try_from(index).ok());
        let mut failed: Vec<u32> = request.failed_hosts.iter().filter_map(number).collect();
        failed.sort_unstable();
        let mut prepared = Self {
            request,
            amounts: request.resources.amounts(),
            drivers: request.driver.map_or(all, |driver| 1 << driver as u32),
            boots: if request.direct_kernel { bit::KERNEL } else { bit::DISK },
            architecture: (!request.architecture.is_empty())
                .then(|| fleet.architecture_number(&request.architecture).unwrap_or(u16::MAX)),
            together: together.filter(|hosts| !hosts.is_empty()),
            apart: request
                .anti_affinity
                .as_ref()
                .map_or_else(Vec::new, |group| fleet.full_hosts(group, request.max_per_host)),
            gpus_whole: if request.gpus.milli == Gpus::WHOLE { request.gpus.count } else { 0 },
            gpu_share: if request.gpus.milli == Gpus::WHOLE { 0 } else { request.gpus.milli },
            failed,
            any_label: !request.require.is_empty() || !request.avoid.is_empty(),
            labels: [0; 2],
            labels_by_name: false,
            plain: false,
        };
        if prepared.any_label {
            let asked = fleet.labels_asked(request);
            (prepared.labels, prepared.labels_by_name) = (asked.unwrap_or_default(), asked.is_none());
        }
        // a fleet of one architecture needs no question about it
        if prepared.architecture == Some(0) && fleet.has_one_architecture() {
            prepared.architecture = None;
        }
        prepared.plain = prepared.architecture.is_none()
            && prepared.together.is_none()
            && prepared.apart.is_empty()
            && prepared.failed.is_empty()
            && request.gpus.count == 0
            && !prepared.labels_by_name;
        prepared
    }

    /// The only hosts that come into question, when they are few.
    pub fn few<'f>(&'f self, fleet: &'f Fleet) -> Option<&'f [u32]> {
        match &self.together {
            Some(hosts) => Some(hosts),
            None => fleet.fewest_with(&self.request.require),
        }
    }

    /// The amounts in the units of [`Fleet::lanes`]. None: not whole units, so that lanes would not be exact.
    pub fn lanes(&self) -> Option<[u32; KINDS]> {
        let mut asked = [0; KINDS];
        for (kind, amount) in self.amounts.into_iter().enumerate() {
            let whole = coarse(kind, amount);
            if kind > 0 && whole << 20 != amount {
                return None;
            }
            asked[kind] = u32::try_from(whole).ok().filter(|asked| *asked < u32::MAX)?;
        }
        Some(asked)
    }

    /// Some of a GPU is asked for.
    pub fn wants_gpus(&self) -> bool {
        self.gpus_whole > 0 || self.gpu_share > 0
    }

    /// One bit a driver that is on the host, right, and able to boot it.
    pub fn able(&self, traits: u32) -> u32 {
        (traits >> bit::HAS) & (traits >> self.boots) & self.drivers
    }
}
