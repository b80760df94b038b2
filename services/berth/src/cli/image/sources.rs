//! Which files an import is made of.

use super::super::manifest;
use super::import::ImportArgs;
use client::{Failure, LocalFile};
use contracts::common::v1::{ArtifactRole, DiskFormat};
use contracts::storage::v1::{ArtifactSource, artifact_source::Source as Place};
use std::path::PathBuf;

/// What to import, as the command line or a manifest says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub name: String,
    pub architecture: String,
    pub cmdline: String,
    pub files: Vec<PlannedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedFile {
    pub role: ArtifactRole,
    pub format: DiskFormat,
    /// "" = not said; never for URLs.
    pub sha256: String,
    pub from: From,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    Path(PathBuf),
    Url(String),
}

/// What the arguments come to. Contradictions are refused by the argument parser.
pub(super) fn plan(args: &ImportArgs) -> Result<Plan, Failure> {
    let architecture = args.architecture.clone().unwrap_or_default();
    let cmdline = args.cmdline.clone().unwrap_or_default();
    if let Some(path) = &args.manifest {
        let manifest = manifest::read(path)?;
        let mut files = Vec::new();
        let parts = [
            (ArtifactRole::Kernel, manifest.kernel),
            (ArtifactRole::Initramfs, manifest.initramfs),
            (ArtifactRole::Disk, manifest.disk),
        ];
        for (role, part) in parts {
            let Some(part) = part else { continue };
            let format = format(&part.format)
                .map_err(|why| Failure::usage(format!("manifest {}: {why}", path.display())))?;
            files.push(PlannedFile { role, format, sha256: part.sha256, from: From::Path(part.file) });
        }
        if files.is_empty() {
            return Err(Failure::usage(format!("manifest {} names no file", path.display())));
        }
        let or = |said: String, otherwise: String| if said.is_empty() { otherwise } else { said };
        return Ok(Plan {
            name: args.name.clone().unwrap_or(manifest.name),
            architecture: or(architecture, manifest.architecture),
            cmdline: or(cmdline, manifest.cmdline),
            files,
        });
    }
    let local = |role, path: &Option<PathBuf>| {
        let from = From::Path(path.clone()?);
        Some(PlannedFile { role, format: DiskFormat::Unspecified, sha256: String::new(), from })
    };
    let mut files = Vec::new();
    files.extend(local(ArtifactRole::Kernel, &args.kernel));
    files.extend(local(ArtifactRole::Initramfs, &args.initramfs));
    let from = args.file.clone().map(From::Path).or_else(|| args.url.clone().map(From::Url));
    if let Some(from) = from {
        let format = format(args.format.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let sha256 = args.sha256.clone().unwrap_or_default();
        files.push(PlannedFile { role: ArtifactRole::Disk, format, sha256, from });
    }
    let name = args.name.clone().ok_or_else(|| Failure::usage("the name of the image is missing"))?;
    Ok(Plan { name, architecture, cmdline, files })
}

fn format(text: &str) -> Result<DiskFormat, String> {
    match text {
        "" => Ok(DiskFormat::Unspecified),
        "raw" => Ok(DiskFormat::Raw),
        "qcow2" => Ok(DiskFormat::Qcow2),
        other => Err(format!("format {other:?}: expected raw or qcow2")),
    }
}

impl PlannedFile {
    /// The word for its role: "disk".
    pub fn word(&self) -> String {
        crate::output::word(self.role.as_str_name(), "ARTIFACT_ROLE_")
    }

    /// The local file must be what the caller said it is.
    pub fn agrees(&self, local: &LocalFile) -> Result<(), Failure> {
        if self.sha256.is_empty() || self.sha256 == local.sha256 {
            return Ok(());
        }
        Err(Failure {
            reasons: vec![
                format!("expected sha256 {}", self.sha256),
                format!("it has sha256 {}", local.sha256),
            ],
            ..Failure::usage(format!("{} is not the file that was meant", local.path.display()))
        })
    }

    /// The source as the platform is told.
    pub fn source(&self, place: Place, local: Option<&LocalFile>) -> ArtifactSource {
        ArtifactSource {
            role: self.role.into(),
            sha256: local.map_or_else(|| self.sha256.clone(), |l| l.sha256.clone()),
            format: self.format.into(),
            size_bytes: local.map_or(0, |l| l.size_bytes),
            source: Some(place),
        }
    }
}
