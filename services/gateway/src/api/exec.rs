//! Programs in guests.

use crate::api::Api;
use crate::domain::exec;
use contracts::gateway::v1::{
    ExecInstanceRequest, GetExecOutputRequest, GetExecOutputResponse, OperationResponse,
};
use contracts::host_driver::v1::{ExecInVm, ExecOutput, ExecRequest};
use gateway_api::api::caller;
use gateway_api::store::operations;
use gateway_api::translate::operations::is_final;
use gateway_api::translate::status;
use kernel::Refusal;
use prost::Message as _;
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

/// What an answer may take beyond the time-out of the program: the way there and back, and a host that restarts.
const SLACK: Duration = Duration::from_secs(30);

impl Api {
    pub(super) async fn exec(
        &self,
        request: Request<ExecInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        let asked = self.requests.asked(&request, "ExecInstance")?;
        let ExecInstanceRequest { instance, argv, stdin, timeout_s } = request.into_inner();
        let take = async {
            let timeout_s = exec::check(&argv, &stdin, timeout_s).map_err(status::invalid)?;
            let found = self.living_instance(&asked.caller, &instance).await?;
            asked.found(&found.id, &found.name, found.revision);
            let host = self.host_of(&found).await?;
            let sealed = self.sealer.seal(&ExecRequest { argv, stdin }.encode_to_vec());
            let patience = Duration::from_secs(timeout_s.into()) + SLACK;
            let deadline = self.desk.clock().now().after(patience);
            let (instance_id, tenant) = (found.id.clone(), found.tenant);
            let command = |operation_id| ExecInVm {
                agent_id: host.agent_id,
                host_id: host.id,
                instance_id,
                tenant,
                operation_id,
                request: Some(sealed),
                timeout_s,
            };
            self.requests.accept(&asked, &found.id, deadline.micros(), command).await
        };
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }

    pub(super) async fn exec_output(
        &self,
        request: Request<GetExecOutputRequest>,
    ) -> Result<Response<GetExecOutputResponse>, Status> {
        let caller = caller(&request)?;
        let id = &request.get_ref().operation;
        let operation =
            operations::get(self.desk.store().reader(), &caller.tenant, id).await.map_err(status::broken)?;
        let operation = operation
            .filter(|o| o.method == "ExecInstance")
            .ok_or_else(|| status::not_found("exec operation", "operation", id))?;
        let refuse = |refusal: Refusal| Err(status::refused(Code::FailedPrecondition, refusal, ""));
        if !is_final(&operation) {
            return refuse(Refusal::new(
                "EXEC_NOT_FINISHED",
                "the program has not ended yet; wait for the operation",
            ));
        }
        let Some(sealed) = operation.output else {
            let refusal = operation.refusal.map(Into::into);
            return refuse(
                refusal.unwrap_or_else(|| Refusal::new("EXEC_WITHOUT_OUTPUT", "the program left no output")),
            );
        };
        let plain = self.sealer.open(&sealed).map_err(status::broken)?;
        let output = ExecOutput::decode(&*plain).map_err(status::broken)?;
        Ok(Response::new(GetExecOutputResponse {
            exit_code: operation.exit_code,
            stdout: output.stdout,
            stderr: output.stderr,
            truncated: output.truncated,
        }))
    }
}
