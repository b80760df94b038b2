//! Waiting for the broker, never without an end.
//!
//! The client never answers what was under way when its connection broke, and it takes nothing when its queue is full:
//! a time limit for each answer adds up to hours when there are many. So whatever belongs together has one deadline,
//! and the end of the connection ends the waiting at once.

use crate::Connection;
use crate::connection::Turns;
use futures::FutureExt;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Sleep;

/// How long the broker may take for whatever belongs together: less than a loop under watch may get nowhere.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// One deadline for all answers to what is sent on one connection.
pub(crate) struct Wait {
    connection: Connection,
    began: Turns,
    turns: watch::Receiver<Turns>,
    deadline: Pin<Box<Sleep>>,
    over: Option<String>,
}

impl Wait {
    /// Begins now.
    pub fn new(connection: &Connection) -> Self {
        let mut turns = connection.turns();
        let began = *turns.borrow_and_update();
        let over = (!connection.is_up()).then(|| "there is no connection to the broker".to_owned());
        let deadline = Box::pin(tokio::time::sleep(ANSWER));
        Self { connection: connection.clone(), began, turns, deadline, over }
    }

    /// Why nobody waits any more.
    pub fn over(&self) -> Option<&str> {
        self.over.as_deref()
    }

    /// The answer, or why it is not waited for. Once the waiting is over nothing more is asked.
    pub async fn answer<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, String> {
        if let Some(reason) = &self.over {
            return Err(reason.clone());
        }
        let reason = tokio::select! {
            biased;
            answer = answer => return Ok(answer),
            () = broken(&mut self.turns, self.began, &self.connection) => {
                "the connection to the broker broke meanwhile".to_owned()
            }
            () = self.deadline.as_mut() => format!("the broker did not answer within {ANSWER:?}"),
        };
        self.over = Some(reason.clone());
        Err(reason)
    }

    /// The same for what need not wait: also when the waiting is over it is taken if it is there already, or handed
    /// over if the client takes it at once.
    pub async fn answer_or_now<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, String> {
        match &self.over {
            Some(reason) => answer.now_or_never().ok_or_else(|| reason.clone()),
            None => self.answer(answer).await,
        }
    }
}

/// No answer, and an answer that is an error, are both the reason why there is nothing.
pub(crate) fn flat<T, E: std::fmt::Display>(answer: Result<Result<T, E>, String>) -> Result<T, String> {
    answer?.map_err(|error| error.to_string())
}

/// Resolves when there is another connection than the one that was there when so many had been made.
pub(crate) async fn renewed(turns: &mut watch::Receiver<Turns>, made: u64, connection: &Connection) {
    while turns.borrow_and_update().made == made || !connection.is_up() {
        if turns.changed().await.is_err() {
            // the sender lives as long as the connection
            std::future::pending::<()>().await;
        }
    }
}

/// Resolves when the connection was lost since `began`.
async fn broken(turns: &mut watch::Receiver<Turns>, began: Turns, connection: &Connection) {
    loop {
        if turns.borrow_and_update().lost != began.lost || !connection.is_up() {
            return;
        }
        if turns.changed().await.is_err() {
            // the sender lives as long as the connection
            std::future::pending::<()>().await;
        }
    }
}
