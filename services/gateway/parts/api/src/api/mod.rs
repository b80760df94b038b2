//! What every operation of the public interface goes through, before and after it.

pub mod accept;
pub mod admission;
pub mod admit;
pub mod audit;
pub mod intake;
pub mod kinds;
pub mod lookup;
pub mod pace;

use crate::domain::caller::Caller;
use tonic::{Request, Status};

/// Longest gRPC request: a chunk of an upload or user data, and what is around it.
pub const REQUEST_LIMIT: usize = 4 << 20;

/// Who asks. A method that was mounted without the layer that checks tokens answers nobody.
pub fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::unauthenticated("this request went past the check of tokens"))
}
