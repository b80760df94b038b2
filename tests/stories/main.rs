//! The whole system, as a user meets it: built programs, a real broker, real databases, and a real guest.

mod archived;
mod broken_pieces;
mod broker_users;
mod chaos;
mod checked;
mod damaged_rows;
mod doctor;
mod event_stream;
mod identity_provider;
mod kept_disk;
mod kinds;
mod libvirt_restarts;
mod lost_commands;
mod lost_databases;
mod mishaps;
mod no_room;
mod one_instance;
mod outside_systems;
mod processes;
mod public_door;
mod quotas;
mod real_guest;
mod replicas;
mod tenants;
mod webhooks;
mod whereabouts;
