//! Objects of declared kinds. Their owner keeps them in the same tables, with the same bytes, as the gateway that shows
//! them: one layout for all kinds, so that a new kind needs none of its own.
#![forbid(unsafe_code)]

mod labels;
mod owned;
mod store;

pub use labels::relabelled;
pub use owned::{Decision, Kind, Owned, Seen};
pub use store::{Found, Row, TABLES, belongings, find, find_by_id, find_by_name, page, put, restore};

use ::store::MigrationFile;

/// The tables of whoever shows objects.
pub const TABLES_OF_READERS: [MigrationFile; 1] =
    [MigrationFile { version: 700, name: "objects", sql: include_str!("../migrations/0700_objects.sql") }];

/// The tables of whoever owns objects.
pub const TABLES_OF_OWNERS: [MigrationFile; 2] = [
    TABLES_OF_READERS[0],
    MigrationFile {
        version: 701,
        name: "object_names",
        sql: include_str!("../migrations/0701_object_names.sql"),
    },
];
