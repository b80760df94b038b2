//! Whether one host in particular would do: for an instance whose disks are there.

use super::filters;
use super::fleet::Fleet;
use super::request::{Prepared, Request};
use kernel::{HostId, Refusal};

/// The GPUs that the instance gets on this host; the refusal says why it cannot be there.
pub fn fits(fleet: &Fleet, request: &Request, host: HostId) -> Result<Vec<u32>, Refusal> {
    let Some(index) = fleet.index_of(host) else {
        return Err(Refusal::new("HOST_UNKNOWN", "the host that holds its disks is not of this platform"));
    };
    let prepared = Prepared::new(fleet, request);
    match filters::first_against(fleet, &prepared, index) {
        None => Ok(fleet.choose_gpus(index, request.gpus)),
        Some(filter) => {
            // these words reach a tenant, whom the state of a host is no business of
            let message = format!("the host that holds its disks cannot take it now ({})", filter.name());
            Err(Refusal::new("NO_ROOM_THERE", message))
        }
    }
}
