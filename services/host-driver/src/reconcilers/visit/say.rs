//! Saying what is new and keeping how far the work came, together.

use super::guest::next_look;
use super::{AT_ONCE, Case, Visitor};
use crate::domain::observation::Guest;
use crate::domain::{
    Attempts, Domain, Files, Observation, Observed, Progress, RestartPolicy, Severity, Wanted,
};
use crate::reconcilers::books::Record;
use crate::store::vms::VmRow;
use crate::translate::{incoming, outgoing};
use ::store::StoreError;
use bus::Cause;
use contracts::host_driver::v1 as wire;
use kernel::Refusal;
use std::time::Duration;

impl Visitor {
    /// Says what is new and keeps how far the work came, together. Nothing when another order came meanwhile.
    pub(super) async fn say(
        &self,
        case: &Case<'_>,
        observed: &Observed,
        mut progress: Progress,
        drifted: Option<wire::VmDrifted>,
    ) -> Result<Option<Duration>, StoreError> {
        let last = outgoing::last(&case.row);
        let guest = self.guest(case, observed, &progress, last.as_ref()).await;
        let now = self.desk.clock().now();
        if guest.agent_answered {
            progress.agent_answered(now);
        }
        let next = next_look(case, observed, &progress, &guest, now);
        let observation = Observation::of(&case.intent, observed, &progress, guest);
        let told = outgoing::observation(&case.row, &observation, self.desk.clock().now());
        let said = self.keep(&case.row, &case.cause, &case.before, &progress, told, drifted).await?;
        Ok(if said { next } else { Some(AT_ONCE) })
    }

    /// Writes down that something is about to be done that must not be done twice. False: another order came.
    pub(super) async fn remember(&self, case: &Case<'_>, progress: &Progress) -> Result<bool, StoreError> {
        self.books.keep(Record::of(&case.row, &case.cause, progress)).await
    }

    async fn keep(
        &self,
        row: &VmRow,
        cause: &Cause,
        before: &Progress,
        progress: &Progress,
        told: wire::VmObservation,
        drifted: Option<wire::VmDrifted>,
    ) -> Result<bool, StoreError> {
        let told = outgoing::is_news(row, &told).then_some(told);
        if told.is_none() && drifted.is_none() && progress == before {
            return Ok(true);
        }
        if let Some(drifted) = &drifted {
            tracing::warn!(
                instance = drifted.instance_id,
                detail = drifted.detail,
                "reality left the intent"
            );
            self.metrics.drift(drifted.kind().as_str_name(), drifted.action().as_str_name());
        }
        self.books.keep(Record::of(row, cause, progress).saying(told, drifted)).await
    }

    /// The process was started without the driver or the host of this VM: it is where it was, and nobody can look. It is
    /// neither failed nor given up; it goes on when the driver is back.
    pub(super) async fn away(
        &self,
        (row, cause, before): (VmRow, Cause, Progress),
        refusal: Refusal,
    ) -> Result<Option<Duration>, StoreError> {
        let told = outgoing::unseen(&row, refusal, self.desk.clock().now());
        let said = self.keep(&row, &cause, &before, &before, told, None).await?;
        Ok(if said { None } else { Some(AT_ONCE) })
    }

    /// An order that cannot be followed here at all.
    pub(super) async fn refuse(
        &self,
        (row, cause, before): (VmRow, Cause, Progress),
        refusal: Refusal,
    ) -> Result<Option<Duration>, StoreError> {
        let intent = incoming::intent(&row, RestartPolicy::Never, String::new());
        let mut progress = before.clone();
        // nothing was made of it, so there is nothing to take away
        if intent.wanted != Wanted::Absent {
            progress.failed(
                Severity::Permanent,
                refusal,
                &intent,
                &self.policy.patience,
                self.desk.clock().now(),
            );
            // a second look is not a second attempt
            progress.attempts = Attempts { failed: 1, gave_up: true, next_at: before.attempts.next_at };
        }
        let nothing = Observed { domain: Domain::Missing, files: Files::Missing };
        let observation = Observation::of(&intent, &nothing, &progress, Guest::default());
        let told = outgoing::observation(&row, &observation, self.desk.clock().now());
        let said = self.keep(&row, &cause, &before, &progress, told, None).await?;
        Ok(if said { None } else { Some(AT_ONCE) })
    }
}
