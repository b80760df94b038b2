//! What a chaos story is made of: users who want things, a monkey that breaks things, a machine that is busy, and a
//! ledger of what was asked for and when it was there.

mod aftermath;
pub mod disks;
pub mod door;
pub mod ledger;
pub mod load;
mod mishaps;
pub mod monkey;
pub mod stage;
pub mod users;
