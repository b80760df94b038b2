//! Saying what is new and keeping how far the work came, together.

use super::guest::next_look;
use super::{AT_ONCE, Case, News, Visitor};
use crate::reconcilers::books::Record;
use crate::store::vms::VmRow;
use crate::translate::{incoming, outgoing};
use ::store::StoreError;
use bus::Cause;
use contracts::host_driver::v1 as wire;
use host_driver_adapters::Fault;
use host_driver_domain::observation::Guest;
use host_driver_domain::{
    Attempts, Domain, Files, Observation, Observed, Progress, Quarantined, RestartPolicy, Severity, Wanted,
};
use kernel::Refusal;
use std::time::Duration;

impl Visitor {
    /// Says what is new and keeps how far the work came, together. Nothing when another order came meanwhile.
    pub(super) async fn say(
        &self,
        case: &Case<'_>,
        observed: &Observed,
        mut progress: Progress,
        mut news: News,
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
        if observed.files == Files::Missing
            && news.put_aside.is_empty()
            && last.is_some_and(|last| last.has_run)
            && let Err(fault) = self.recall_quarantine(case, &mut news).await
        {
            return Ok(Some(self.unavailable(case.row.key.host, &fault.to_string())));
        }
        let said = self.keep(&case.row, &case.cause, &case.before, &progress, told, news).await?;
        Ok(if said { next } else { Some(AT_ONCE) })
    }

    /// The process may have died between putting files aside and saying so. That a disk is gone is said together with
    /// where it went, or after it: never before.
    async fn recall_quarantine(&self, case: &Case<'_>, news: &mut News) -> Result<(), Fault> {
        let all = case.backend.disks.quarantined().await?;
        let its = |item: &Quarantined| item.instance == case.spec.instance && item.dropping.is_none();
        news.put_aside.extend(all.items.into_iter().filter(its));
        Ok(())
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
        news: News,
    ) -> Result<bool, StoreError> {
        let told = outgoing::is_news(row, &told).then_some(told);
        if let Some(told) = &told
            && outgoing::last(row).is_none_or(|last| last.reason != told.reason)
        {
            self.metrics.reason(told.reason());
            if told.reason() == wire::VmReason::IoError {
                // whether it is the host's disk that is full is asked of the host
                self.doubt.notify_one();
            }
        }
        let moved = !news.put_aside.is_empty() || news.taken_back;
        if told.is_none() && news.drifted.is_none() && !moved && progress == before {
            return Ok(true);
        }
        if let Some(drifted) = &news.drifted {
            tracing::warn!(
                instance = drifted.instance_id,
                detail = drifted.detail,
                "reality left the intent"
            );
            self.metrics.drift(drifted.kind().as_str_name(), drifted.action().as_str_name());
        }
        let host = row.key.host;
        let put_aside =
            news.put_aside.iter().map(|item| outgoing::held(host, item, &self.policy.keep)).collect();
        let taken_back = if news.taken_back { row.take_back.clone() } else { String::new() };
        let record = Record::of(row, cause, progress).saying(told, news.drifted);
        self.books.keep(record.moving(put_aside, taken_back)).await
    }

    /// The process was started without the driver or the host of this VM: it is where it was, and nobody can look. It is
    /// neither failed nor given up; it goes on when the driver is back.
    pub(super) async fn away(
        &self,
        (row, cause, before): (VmRow, Cause, Progress),
        refusal: Refusal,
    ) -> Result<Option<Duration>, StoreError> {
        let told = outgoing::unseen(&row, refusal, self.desk.clock().now());
        let said = self.keep(&row, &cause, &before, &before, told, News::default()).await?;
        Ok(if said { None } else { Some(AT_ONCE) })
    }

    /// An order that cannot be followed here at all. What is said of the VM was looked at all the same.
    pub(super) async fn refuse(
        &self,
        (row, cause, before): (VmRow, Cause, Progress),
        refusal: Refusal,
    ) -> Result<Option<Duration>, StoreError> {
        let observed = match self.glimpse(&row).await {
            Ok(Some(observed)) => observed,
            Ok(None) => return self.away((row, cause, before), refusal).await,
            Err(fault) => return Ok(Some(self.unavailable(row.key.host, &fault.to_string()))),
        };
        let intent = incoming::intent(&row, RestartPolicy::Never, String::new());
        let mut progress = before.clone();
        progress.note(&intent, &observed, &self.policy, self.desk.clock().now());
        // what is to go and is gone needs no order that can be followed
        if intent.wanted != Wanted::Absent {
            progress.failed(
                Severity::Permanent,
                refusal,
                &intent,
                &self.policy.patience,
                self.desk.clock().now(),
            );
            // a second look is not a second attempt
            progress.attempts =
                Attempts { failed: 1, gave_up: true, next_at: before.attempts.next_at, waited: 0 };
        }
        let observation = Observation::of(&intent, &observed, &progress, Guest::default());
        let told = outgoing::observation(&row, &observation, self.desk.clock().now());
        let said = self.keep(&row, &cause, &before, &progress, told, News::default()).await?;
        Ok(if said { None } else { Some(AT_ONCE) })
    }

    /// What can be seen of a VM of which nothing but its id is known. `None`: nobody here can look.
    async fn glimpse(&self, row: &VmRow) -> Result<Option<Observed>, Fault> {
        let backends = self.hosts.get(row.key.host).map_or(&[][..], |host| &host.backends);
        let mut seen = None;
        for (_, backend) in backends {
            let domain = backend.hypervisor.observe(row.key.instance).await?;
            let holds = backend.disks.holds(row.key.instance).await?;
            let files = if holds { Files::Partial } else { Files::Missing };
            let ran = holds && backend.disks.has_run(row.key.instance).await?;
            let found = domain != Domain::Missing || holds;
            let observed = Observed { domain, files, ran };
            if found {
                return Ok(Some(observed));
            }
            seen = Some(observed);
        }
        Ok(seen)
    }
}
