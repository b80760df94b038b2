//! What is right and what is wrong, decided without clock, database or network.

pub mod accounts;
pub mod called;
pub mod oidc;
pub mod patience;
