//! The programs under test.

use std::path::PathBuf;

/// A program of this workspace, as built by cargo.
///
/// # Panics
/// When it was not built: the message says how to build it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.ancestors().find(|folder| folder.ends_with("debug") || folder.ends_with("release"));
    let path = folder.expect("tests run from cargo's target folder").join(name);
    assert!(path.exists(), "{} is not there; build it with: cargo build --workspace --bins", path.display());
    path
}

/// The manifest of the small guest image.
///
/// # Panics
/// When it was not built: the message says how to build it.
pub fn small_image() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guest/berth-small.json");
    let path = std::env::var_os("BERTH_TEST_IMAGE").map_or_else(|| PathBuf::from(default), PathBuf::from);
    assert!(
        path.exists(),
        "{} is not there; build it with: deploy/images/build-small.sh target/guest",
        path.display()
    );
    path
}
