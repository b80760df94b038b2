//! What a verb works with: settings, the gateway, where output goes.

use super::instance::expect_agent::advice;
use super::operation::in_order;
use super::{GlobalArgs, arguments::WaitArgs};
use crate::config::{ClientSettings, Environment, load};
use crate::output::{Format, ProgressLine, note, refusal_line, word};
use client::{Exit, Failure, Gateway, IdempotencyKey, Waited, wait_for_operation};
use contracts::gateway::v1::{GetInstanceRequest, GetOperationResponse, Operation, OperationResponse};
use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;

/// A guest that runs and is silent for so long is worth a word.
const SILENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One invocation of the program.
pub struct Session {
    /// The gateway.
    pub gateway: Gateway,
    /// How results are printed.
    pub format: Format,
    /// No progress.
    pub quiet: bool,
    key: IdempotencyKey,
}

impl Session {
    /// Reads the settings. Nothing is sent yet.
    pub fn open(global: &GlobalArgs) -> Result<Self, Failure> {
        Self::with(global, &load(&global.client_flags(), &Environment::of_process())?)
    }

    /// The same with settings that were read already.
    pub fn with(global: &GlobalArgs, settings: &ClientSettings) -> Result<Self, Failure> {
        let key = match &global.idempotency_key {
            Some(text) => IdempotencyKey::given(text)?,
            None => IdempotencyKey::random(),
        };
        Ok(Self {
            gateway: Gateway::new(&settings.connect)?,
            format: settings.output,
            quiet: global.quiet,
            key,
        })
    }

    /// The key of this invocation: every attempt to send the request carries it.
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// Progress of one wait.
    pub fn progress(&self) -> ProgressLine {
        ProgressLine::new(self.quiet)
    }

    /// After a request was accepted: wait for its end when that was asked for, and print where it stands.
    /// `done` is the sentence for people, such as "stopped web-1".
    pub async fn accepted(
        &self,
        answer: &OperationResponse,
        wait: &WaitArgs,
        done: &str,
    ) -> Result<(), Failure> {
        if !wait.wait {
            self.format.print("OperationResponse", answer, || {
                format!("accepted: operation {}\n", answer.operation_id)
            })?;
            self.how_to_wait(&answer.operation_id);
            return Ok(());
        }
        let operation = self.follow(&answer.operation_id, wait.timeout, None).await?;
        let response = GetOperationResponse { operation: Some(operation) };
        self.format.print("GetOperationResponse", &response, || format!("{done}\n"))
    }

    /// Tells a person how to wait for what was only begun.
    pub fn how_to_wait(&self, operation_id: &str) {
        if self.format == Format::Table {
            self.note(&format!("wait for it with: berth operation wait {operation_id}"));
        }
    }

    /// Waits for an operation and shows its steps on the way; of an instance also why it waits.
    pub async fn follow(
        &self,
        operation_id: &str,
        limit: Option<Duration>,
        instance: Option<&str>,
    ) -> Result<Operation, Failure> {
        let progress = self.progress();
        // since when its guest runs, and which instance it is
        let runs: OnceLock<(Instant, String)> = OnceLock::new();
        let waiting = wait_for_operation(&self.gateway, operation_id, limit, async |news| {
            let operation = match news {
                Waited::Changed(operation) | Waited::Quiet(operation) => operation,
            };
            if operation.steps.iter().any(|step| step.name == "running") {
                runs.get_or_init(|| (Instant::now(), operation.object_id.clone()));
            }
            let placed = operation.steps.iter().any(|step| step.name == "placed");
            let waits = match instance {
                Some(instance) if !placed => self.why_it_waits(instance).await,
                _ => None,
            };
            progress.say(&waits.map_or_else(|| standing(operation), |why| format!("waits: {why}")));
        });
        let result =
            tokio::select! { result = waiting => result, never = self.advise(&runs) => match never {} };
        progress.done();
        result
    }

    /// Tells a person who waits for a guest whose agent is silent what can be done, once. Never returns.
    async fn advise(&self, runs: &OnceLock<(Instant, String)>) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some((_, instance)) = runs.get().filter(|(since, _)| since.elapsed() >= SILENCE) else {
                continue;
            };
            let request = GetInstanceRequest { instance: instance.clone() };
            let found = self.gateway.instances().get_instance(request).await;
            if let Some(advice) = found.ok().and_then(|found| advice(&found.into_inner().instance?)) {
                self.note(&advice);
            }
            return std::future::pending().await;
        }
    }

    async fn why_it_waits(&self, instance: &str) -> Option<String> {
        let request = GetInstanceRequest { instance: instance.to_owned() };
        let answer = self.gateway.instances().get_instance(request).await.ok()?.into_inner();
        let refusal = answer.instance?.refusal?;
        Some(refusal_line(Some(&refusal)))
    }

    /// Says something to a person, not to a program.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            note(line);
        }
    }
}

fn standing(operation: &Operation) -> String {
    let state = word(operation.state().as_str_name(), "OPERATION_STATE_");
    match in_order(&operation.steps).last() {
        Some(step) => format!("{}: {} ({state})", operation.method, step.name),
        None => format!("{}: {state}", operation.method),
    }
}

/// Everything of a list that comes in pages: `page` gets a page token and answers with the next one. Ends with an
/// error when a gateway hands out the same token again.
pub(super) async fn all_pages(
    mut page: impl AsyncFnMut(String) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut token = String::new();
    loop {
        let next = page(token.clone()).await?;
        if next.is_empty() {
            return Ok(());
        }
        if next == token {
            return Err(Failure::new(Exit::Failed, "the gateway answered with the same page token twice"));
        }
        token = next;
    }
}
