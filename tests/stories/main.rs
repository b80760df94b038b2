//! The whole system, as a user meets it: built programs, a real broker, real databases, and a real guest.

mod broken_pieces;
mod no_room;
mod one_instance;
mod processes;
mod public_door;
mod real_guest;
