//! Objects of declared kinds. Their owner keeps them in the same tables, with the same bytes, as the gateway that shows
//! them: one layout for all kinds, so that a new kind needs none of its own.
#![forbid(unsafe_code)]

mod filter;
mod forget;
mod labels;
mod owned;
mod store;

pub use filter::Filter;
pub use forget::{Forgetting, forget};
pub use labels::relabelled;
pub use owned::{Decision, Kind, Owned, Referenced, Seen};
pub use store::{
    Found, LOOKED_AT, Order, Page, Query, Row, TABLES, belongings, fill, find, find_by_id, find_by_name,
    page, put, restore,
};

use ::store::MigrationFile;

/// The tables of whoever shows objects.
pub const TABLES_OF_READERS: [MigrationFile; 3] = [
    MigrationFile { version: 700, name: "objects", sql: include_str!("../migrations/0700_objects.sql") },
    MigrationFile {
        version: 702,
        name: "objects_by_age",
        sql: include_str!("../migrations/0702_objects_by_age.sql"),
    },
    MigrationFile {
        version: 703,
        name: "objects_forgotten",
        sql: include_str!("../migrations/0703_objects_forgotten.sql"),
    },
];

/// The tables of whoever owns objects.
pub const TABLES_OF_OWNERS: [MigrationFile; 4] = [
    TABLES_OF_READERS[0],
    MigrationFile {
        version: 701,
        name: "object_names",
        sql: include_str!("../migrations/0701_object_names.sql"),
    },
    TABLES_OF_READERS[1],
    TABLES_OF_READERS[2],
];
