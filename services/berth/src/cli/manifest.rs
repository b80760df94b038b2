//! The manifest of an image that is made of several files.

use client::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A manifest: what is in the files that lie beside it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the image unless the command line says another.
    pub name: String,
    /// Default: x86_64.
    #[serde(default)]
    pub architecture: String,
    /// For direct kernel boot.
    #[serde(default)]
    pub kernel: Option<Part>,
    /// For direct kernel boot.
    #[serde(default)]
    pub initramfs: Option<Part>,
    /// The disk.
    #[serde(default)]
    pub disk: Option<Part>,
    /// Kernel command line.
    #[serde(default)]
    pub cmdline: String,
    /// What the files were made of: for people, kept with them.
    #[serde(default)]
    pub provenance: BTreeMap<String, String>,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Name of a file beside the manifest.
    pub file: PathBuf,
    /// 64 hex digits.
    pub sha256: String,
    /// raw or qcow2, of disks only.
    #[serde(default)]
    pub format: String,
}

/// Reads a manifest and makes the paths in it whole.
pub fn read(path: &Path) -> Result<Manifest, Failure> {
    let explain = |why: String| Failure::usage(format!("manifest {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| explain(error.to_string()))?;
    let mut manifest: Manifest = serde_json::from_str(&text).map_err(|error| explain(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let parts = [
        ("kernel", &mut manifest.kernel),
        ("initramfs", &mut manifest.initramfs),
        ("disk", &mut manifest.disk),
    ];
    for (name, part) in parts {
        let Some(part) = part else { continue };
        // a manifest may come from elsewhere: it must not reach for other files of this machine
        let mut components = part.file.components();
        if !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)) {
            return Err(explain(format!(
                "{name}.file {:?}: expected the name of a file beside the manifest",
                part.file
            )));
        }
        part.file = folder.join(&part.file);
        part.sha256 =
            super::arguments::sha256(&part.sha256).map_err(|why| explain(format!("{name}.sha256: {why}")))?;
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Manifest, Failure> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.json");
        std::fs::write(&path, text).expect("writes");
        read(&path)
    }

    #[test]
    fn files_lie_beside_the_manifest() {
        let sha = "ab".repeat(32);
        let manifest = read_text(&format!(
            r#"{{"name":"small","kernel":{{"file":"vmlinuz","sha256":"{sha}"}},"cmdline":"quiet"}}"#
        ))
        .expect("valid");
        let kernel = manifest.kernel.expect("a kernel");
        assert!(kernel.file.ends_with("vmlinuz") && kernel.file.is_absolute(), "{kernel:?}");
        for elsewhere in ["/etc/shadow", "../x", "a/b", "", "."] {
            let text = format!(r#"{{"name":"x","disk":{{"file":"{elsewhere}","sha256":"{sha}"}}}}"#);
            let failure = read_text(&text).expect_err(elsewhere);
            assert!(failure.message.contains("beside the manifest"), "{failure}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, words) in [
            (r#"{"name":"x","krenel":{}}"#, "krenel"),
            (r#"{"name":"x","disk":{"file":"d","sha256":"12"}}"#, "64 hex digits"),
            ("{", "line 1"),
        ] {
            let failure = read_text(text).expect_err(text);
            assert!(failure.message.contains(words), "{failure}");
        }
    }
}
