//! Why a reconciler works on an instance: for the operation that still waits for it.

use bus::Cause;
use kernel::CorrelationId;
use scheduler_placement::instance::Instance;

/// Everything done for one request carries its correlation, also what is done long after it was accepted: the
/// gateway gives a request and its operation the same id.
pub fn of(instance: &Instance, service: &str) -> Cause {
    let own = Cause::own(service).for_tenant(&instance.tenant);
    match &instance.operation {
        Some(operation) => Cause { correlation: CorrelationId::from_u128(operation.id.as_u128()), ..own },
        None => own,
    }
}
