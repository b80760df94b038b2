//! What a message on the bus is.

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Imperative, exactly one owner, consumed once.
    Command,
    /// Past tense, kept for ever.
    Event,
    /// A short-lived measurement.
    Sample,
}

/// A message that travels on the bus. Implementations are generated from the `.proto` files.
pub trait Message: Sized + Send + Sync + 'static {
    /// Command, event or sample.
    const KIND: Kind;
    /// The service that obeys the command or says the event: "scheduler".
    const SERVICE: &'static str;
    /// The message's name: "CreateInstance".
    const NAME: &'static str;
    /// The package's version: "v1".
    const VERSION: &'static str;

    /// The last token of the subject: the id of what the message is about.
    fn key(&self) -> &str;
    /// The protobuf bytes.
    fn to_bytes(&self) -> Vec<u8>;
    /// Reads protobuf bytes; the error says what is wrong with them.
    fn from_bytes(bytes: &[u8]) -> Result<Self, String>;
}
