//! What one service asks another.

/// A question that one service answers over the broker. Nothing keeps it, and it changes nothing. Implementations are
/// generated from the `.proto` files.
pub trait Question: prost::Message + Default + Sync + 'static {
    /// What answers it.
    type Answer: prost::Message + Default;
    /// Who answers: "scheduler".
    const SERVICE: &'static str;
    /// The message's name: "PreviewPlacement".
    const NAME: &'static str;
    /// The package's version: "v1".
    const VERSION: &'static str;

    /// Where it is asked: "ask.scheduler.v1.PreviewPlacement".
    fn subject() -> String {
        format!("ask.{}.{}.{}", Self::SERVICE, Self::VERSION, Self::NAME)
    }
}
