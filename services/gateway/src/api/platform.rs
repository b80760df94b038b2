//! Health of the platform, and dead letters.

use super::Api;
use bus::dead;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::platform_service_server::PlatformService;
use gateway_api::api::accept::{Accepted, Asked, Entered};
use gateway_api::domain::page::Page;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::{redact, status};
use kernel::{PLATFORM, Refusal};
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    async fn letter(&self, sequence: u64) -> Result<dead::DeadLetter, Status> {
        let found = dead::get(&self.bus, sequence).await.map_err(status::broken)?;
        found.ok_or_else(|| status::not_found("dead letter", "sequence", &sequence.to_string()))
    }
}

impl Api {
    async fn replay(&self, asked: &Asked, sequence: u64) -> Result<Accepted, Status> {
        let letter = self.letter(sequence).await?;
        let mut entry = match self.requests.enter(asked, &letter.message_id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let replayed = dead::replay(&mut entry.work, &letter).map_err(|why| {
            status::refused(Code::FailedPrecondition, Refusal::new("CANNOT_BE_REPLAYED", why), "sequence")
        })?;
        let replayed_as = replayed.to_string();
        entry.about(&replayed_as);
        entry
            .work
            .say_for(PLATFORM, &wire::DeadLetterReplayed { message_id: letter.message_id, replayed_as });
        let accepted = entry.done().await?;
        // the new message is safe in the outbox; a letter that stays behind can only be replayed under the same id
        dead::remove(&self.bus, letter.sequence).await.map_err(status::broken)?;
        Ok(accepted)
    }

    async fn throw_away(&self, asked: &Asked, sequence: u64) -> Result<Accepted, Status> {
        let letter = self.letter(sequence).await?;
        let mut entry = match self.requests.enter(asked, &letter.message_id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        entry.work.say_for(PLATFORM, &wire::DeadLetterDropped { message_id: letter.message_id });
        let accepted = entry.done().await?;
        dead::remove(&self.bus, letter.sequence).await.map_err(status::broken)?;
        Ok(accepted)
    }
}

fn shown(letter: dead::DeadLetter) -> wire::DeadLetter {
    let data = letter.message_name().and_then(|name| redact::json(name, &letter.payload, &|_| true));
    wire::DeadLetter {
        sequence: letter.sequence,
        message_id: letter.message_id,
        subject: letter.subject,
        consumer: letter.consumer,
        reason: letter.reason,
        attempts: letter.attempts,
        died_at_us: letter.died_at.micros(),
        correlation_id: letter.correlation,
        data: data.map(contracts::to_struct),
        payload: letter.payload.to_vec(),
    }
}

#[tonic::async_trait]
impl PlatformService for Api {
    async fn get_status(&self, _: Request<wire::GetStatusRequest>) -> Answer<wire::GetStatusResponse> {
        let component = |c: chassis::ComponentHealth| wire::ComponentHealth {
            name: c.name,
            healthy: c.healthy,
            detail: c.detail,
            reason: c.trouble.map(|t| t.code().to_owned()).unwrap_or_default(),
        };
        Ok(Response::new(wire::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            components: self.health.all().into_iter().map(component).collect(),
        }))
    }

    async fn get_diagnosis(
        &self,
        _: Request<wire::GetDiagnosisRequest>,
    ) -> Answer<wire::GetDiagnosisResponse> {
        Ok(Response::new(self.diagnosis().await?))
    }

    async fn list_dead_letters(
        &self,
        request: Request<wire::ListDeadLettersRequest>,
    ) -> Answer<wire::ListDeadLettersResponse> {
        let wire::ListDeadLettersRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let after = match page.after.first() {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                status::invalid(Violation::new("page_token", "this is not a token from the page before"))
            })?,
        };
        let letters = dead::list(&self.bus, after, page.size as usize + 1).await.map_err(status::broken)?;
        let (letters, next_page_token) = page.cut(letters, |letter| vec![letter.sequence.to_string()]);
        let dead_letters = letters.into_iter().map(shown).collect();
        Ok(Response::new(wire::ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<wire::GetDeadLetterRequest>,
    ) -> Answer<wire::GetDeadLetterResponse> {
        let letter = self.letter(request.get_ref().sequence).await?;
        Ok(Response::new(wire::GetDeadLetterResponse { dead_letter: Some(shown(letter)) }))
    }

    async fn replay_dead_letter(
        &self,
        request: Request<wire::ReplayDeadLetterRequest>,
    ) -> Answer<wire::ReplayDeadLetterResponse> {
        let asked = self.requests.asked(&request, "ReplayDeadLetter")?;
        let accepted = self.requests.once(&asked, self.replay(&asked, request.get_ref().sequence)).await?;
        Ok(Response::new(wire::ReplayDeadLetterResponse { replayed_as: accepted.object_id }))
    }

    async fn drop_dead_letter(
        &self,
        request: Request<wire::DropDeadLetterRequest>,
    ) -> Answer<wire::DropDeadLetterResponse> {
        let asked = self.requests.asked(&request, "DropDeadLetter")?;
        self.requests.once(&asked, self.throw_away(&asked, request.get_ref().sequence)).await?;
        Ok(Response::new(wire::DropDeadLetterResponse {}))
    }
}
