//! The programs under test.

use std::path::PathBuf;

/// Cargo's target folder.
pub fn target() -> PathBuf {
    profile().parent().expect("target/debug is below target").to_owned()
}

/// The folder of what cargo built for this test: target/debug.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.ancestors().find(|folder| folder.ends_with("debug") || folder.ends_with("release"));
    folder.expect("tests run from cargo's target folder").to_owned()
}

/// A program of this workspace, as built by cargo.
///
/// # Panics
/// When it was not built: the message says how to build it.
pub fn program(name: &str) -> PathBuf {
    let path = profile().join(name);
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
