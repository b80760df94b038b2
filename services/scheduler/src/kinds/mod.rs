//! Kinds of objects that are declared with what can be done with them: what becomes of each by each command.

mod ssh_key;

pub use ssh_key::SshKeys;
