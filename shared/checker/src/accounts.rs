//! Where each command is that was ever sent: accepted = completed + failed + pending + dead.

use std::collections::HashSet;

/// A command in somebody's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Who sent it.
    pub service: String,
    /// Message id.
    pub id: String,
    /// Where it went.
    pub subject: String,
    /// The broker acknowledged it.
    pub published: bool,
}

/// The commands of the platform, by what became of them.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// All that were sent.
    pub sent: Vec<Sent>,
    /// Ids in the inboxes: they had their effect, or were refused with an event.
    pub handled: HashSet<String>,
    /// Ids that wait in the work queues.
    pub pending: HashSet<String>,
    /// Dead letters: (id, subject, reason).
    pub dead: Vec<(String, String, String)>,
    /// Messages that no broker has acknowledged, by service.
    pub unpublished: Vec<(String, u64)>,
}

impl Accounts {
    /// Commands that are nowhere.
    pub fn lost(&self) -> impl Iterator<Item = &Sent> {
        let dead: HashSet<&str> = self.dead.iter().map(|(id, ..)| id.as_str()).collect();
        self.sent.iter().filter(move |sent| {
            sent.published
                && !self.handled.contains(&sent.id)
                && !self.pending.contains(&sent.id)
                && !dead.contains(sent.id.as_str())
        })
    }
}
