//! `berth dead`.

use super::Session;
use super::session::all_pages;
use crate::output::{Table, age, fields, json_of, local_time};
use clap::Subcommand;
use client::Failure;
use contracts::gateway::v1::{
    DeadLetter, DropDeadLetterRequest, GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse,
    ReplayDeadLetterRequest,
};

/// Messages that no service could take
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth dead list
  berth dead replay 17")]
pub enum DeadCommand {
    /// List dead letters, oldest first
    #[command(after_help = "Examples:\n  berth dead list")]
    List,
    /// Show a dead letter, decoded
    #[command(
        after_help = "Examples:\n  berth dead show 17\n  berth dead show 17 -o json | jq -r .dead_letter.payload | base64 -d"
    )]
    Show {
        /// Its number in `berth dead list`
        sequence: u64,
    },
    /// Send a dead letter again, after its cause is gone
    #[command(after_help = "Examples:\n  berth dead replay 17")]
    Replay {
        /// Its number in `berth dead list`
        sequence: u64,
    },
    /// Throw a dead letter away
    #[command(after_help = "Examples:\n  berth dead drop 17")]
    Drop {
        /// Its number in `berth dead list`
        sequence: u64,
    },
}

pub(super) async fn run(command: DeadCommand, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    match command {
        DeadCommand::List => {
            let mut all = ListDeadLettersResponse::default();
            all_pages(async |page_token| {
                let request = ListDeadLettersRequest { page_size: kernel::limits::PAGE, page_token };
                let page =
                    gateway.read(request, async |r| gateway.platform().list_dead_letters(r).await).await?;
                all.dead_letters.extend(page.dead_letters);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListDeadLettersResponse", &all, || list(&all.dead_letters))
        }
        DeadCommand::Show { sequence } => {
            let request = GetDeadLetterRequest { sequence };
            let answer = gateway.read(request, async |r| gateway.platform().get_dead_letter(r).await).await?;
            session.format.print("GetDeadLetterResponse", &answer, || {
                answer.dead_letter.as_ref().map(show).unwrap_or_default()
            })
        }
        DeadCommand::Replay { sequence } => {
            let request = ReplayDeadLetterRequest { sequence };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.platform().replay_dead_letter(r).await)
                .await?;
            let human = || format!("sent again as message {}\n", answer.replayed_as);
            session.format.print("ReplayDeadLetterResponse", &answer, human)
        }
        DeadCommand::Drop { sequence } => {
            let request = DropDeadLetterRequest { sequence };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.platform().drop_dead_letter(r).await)
                .await?;
            session
                .format
                .print("DropDeadLetterResponse", &answer, || format!("dropped dead letter {sequence}\n"))
        }
    }
}

fn list(letters: &[DeadLetter]) -> String {
    let mut table =
        Table::new(["sequence", "died", "subject", "consumer", "attempts", "reason"], "no dead letters");
    for letter in letters {
        table.row([
            letter.sequence.to_string(),
            age(letter.died_at_us),
            letter.subject.clone(),
            letter.consumer.clone(),
            letter.attempts.to_string(),
            letter.reason.clone(),
        ]);
    }
    table.render()
}

fn show(letter: &DeadLetter) -> String {
    let data = letter.data.as_ref().and_then(|data| json_of("google.protobuf.Struct", data).ok());
    let payload = match data {
        Some(json) => format!("{json:#}"),
        None => format!("{} bytes that cannot be decoded", letter.payload.len()),
    };
    fields([
        ("sequence", letter.sequence.to_string()),
        ("message", letter.message_id.clone()),
        ("subject", letter.subject.clone()),
        ("consumer", letter.consumer.clone()),
        ("reason", letter.reason.clone()),
        ("attempts", letter.attempts.to_string()),
        ("died", local_time(letter.died_at_us)),
        ("correlation", letter.correlation_id.clone()),
        ("data", payload),
    ])
}
