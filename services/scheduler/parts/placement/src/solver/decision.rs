//! What the solver answers.

use crate::host::Driver;
use crate::instance::Policy;
use kernel::{HostId, Refusal};

/// How many of the best candidates are kept for the explanation.
pub const MAX_CANDIDATES: usize = 3;
/// How many rejections are told host by host; all of them are counted.
pub const MAX_REJECTIONS: usize = 100;
/// The same of a decision that found a host, in a fleet of at most [`SMALL_FLEET`]; in a larger one nobody reads them and
/// they would cost more than the decision.
pub const MAX_REJECTIONS_OF_PLACED: usize = 25;
/// Hosts of a fleet that a person knows by name.
pub const SMALL_FLEET: usize = 100;

/// What may rule a host out, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// The host does not answer.
    State,
    /// An operator closed it.
    Cordon,
    /// It lacks the driver.
    Driver,
    /// Its drivers cannot boot the image.
    Image,
    /// Its labels are wrong.
    Labels,
    /// The group is elsewhere.
    Affinity,
    /// The group has as many members here as may be.
    AntiAffinity,
    /// It could not start this instance before.
    FailedBefore,
    /// It lacks GPUs.
    Gpu,
    /// It lacks room.
    Capacity,
}

impl Filter {
    /// All filters in the order in which they are asked.
    pub const ALL: [Filter; 10] = [
        Filter::State,
        Filter::Cordon,
        Filter::Driver,
        Filter::Image,
        Filter::Labels,
        Filter::Affinity,
        Filter::AntiAffinity,
        Filter::FailedBefore,
        Filter::Gpu,
        Filter::Capacity,
    ];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Filter::State => "state",
            Filter::Cordon => "cordon",
            Filter::Driver => "driver",
            Filter::Image => "image",
            Filter::Labels => "labels",
            Filter::Affinity => "affinity",
            Filter::AntiAffinity => "anti-affinity",
            Filter::FailedBefore => "failed-before",
            Filter::Gpu => "gpu",
            Filter::Capacity => "capacity",
        }
    }
}

/// A host that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// Higher is better.
    pub score: i64,
}

/// A host that would not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// The first filter that ruled it out.
    pub filter: Filter,
    /// Why, with numbers.
    pub reason: String,
}

/// Why an instance goes there, or nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The chosen host's place in the fleet.
    pub index: Option<usize>,
    /// The driver that will run it, if a host was found.
    pub driver: Option<Driver>,
    /// Which of the host's GPUs it gets.
    pub gpu_indexes: Vec<u32>,
    /// What "best" meant.
    pub policy: Policy,
    /// How many hosts were looked at.
    pub considered: usize,
    /// Best first; the first is the chosen one.
    pub candidates: Vec<Candidate>,
    /// In order of host ids, at most [`MAX_REJECTIONS`]; of a placed one as many as [`Self::named`] says.
    pub rejections: Vec<Rejection>,
    /// How many hosts each filter ruled out; filters that ruled out none are left out.
    pub rejected_by: Vec<(Filter, usize)>,
    /// Set when there is no host.
    pub refusal: Option<Refusal>,
}

impl Decision {
    /// How many rejections are told host by host.
    pub(super) fn named(placed: bool, hosts: usize) -> usize {
        match placed {
            false => MAX_REJECTIONS,
            true if hosts <= SMALL_FLEET => MAX_REJECTIONS_OF_PLACED,
            true => 0,
        }
    }

    /// The chosen host.
    pub fn host(&self) -> Option<&Candidate> {
        self.index.and(self.candidates.first())
    }
}
