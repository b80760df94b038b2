//! Programs in guests.

use super::Projection;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::host_driver::v1::ExecFinished;

/// A program in a guest ended, or could not be run: its operation keeps the sealed output.
pub(super) struct Finished(pub(super) Projection);

#[async_trait]
impl Handle<ExecFinished> for Finished {
    async fn handle(&self, work: &mut Work, event: ExecFinished) -> Result<(), Failure> {
        let ExecFinished { exit_code, output, operations, .. } = event;
        self.0
            .advance(work, &operations, |operation| {
                operation.exit_code = exit_code;
                operation.output.clone_from(&output);
            })
            .await
    }
}
