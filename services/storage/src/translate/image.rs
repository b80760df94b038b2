//! An image on the wire and in the domain.

use crate::domain::artifact::{Artifact, Origin, Role, Source};
use crate::domain::disk::{Disk, DiskFormat};
use crate::domain::image::{Image, Phase};
use crate::domain::kernel_file::Architecture;
use contracts::common::v1 as common;
use contracts::storage::v1 as wire;
use contracts::storage::v1::artifact_source::Source as WireOrigin;
use kernel::Timestamp;

/// The snapshot that events carry and rows keep.
pub fn to_wire(image: &Image) -> wire::Image {
    wire::Image {
        id: image.id.to_string(),
        tenant: image.tenant.clone(),
        name: image.name.clone(),
        revision: image.revision,
        phase: phase_to_wire(image.phase).into(),
        sources: image.sources.iter().map(source_to_wire).collect(),
        artifacts: image.artifacts.iter().map(artifact_to_wire).collect(),
        architecture: image.architecture.name().to_owned(),
        kernel_cmdline: image.kernel_cmdline.clone(),
        guest_agent: image.guest_agent,
        refusal: image.refusal.clone().map(Into::into),
        operation_id: image.operation_id.clone(),
        created_at_us: image.created_at.micros(),
        updated_at_us: image.updated_at.micros(),
        min_disk_bytes: image.min_disk_bytes(),
    }
}

/// Reads a snapshot; the error says what is wrong with it.
pub fn from_wire(image: wire::Image) -> Result<Image, String> {
    let phase = match image.phase() {
        wire::ImagePhase::Unspecified => return Err("image without a phase".into()),
        wire::ImagePhase::Importing => Phase::Importing,
        wire::ImagePhase::Ready => Phase::Ready,
        wire::ImagePhase::Rejected => Phase::Rejected,
        wire::ImagePhase::Deleting => Phase::Deleting,
        wire::ImagePhase::Deleted => Phase::Deleted,
    };
    let architecture = Architecture::parse(&image.architecture)
        .ok_or_else(|| format!("architecture {:?}", image.architecture))?;
    Ok(Image {
        id: image.id.parse().map_err(|e: kernel::InvalidId| e.to_string())?,
        tenant: image.tenant,
        name: image.name,
        revision: image.revision,
        phase,
        sources: image.sources.iter().map(source_from_wire).collect::<Result<_, _>>()?,
        artifacts: image.artifacts.iter().map(artifact_from_wire).collect::<Result<_, _>>()?,
        architecture,
        kernel_cmdline: image.kernel_cmdline,
        guest_agent: image.guest_agent,
        refusal: image.refusal.map(Into::into),
        operation_id: image.operation_id,
        created_at: Timestamp(image.created_at_us),
        updated_at: Timestamp(image.updated_at_us),
    })
}

fn phase_to_wire(phase: Phase) -> wire::ImagePhase {
    match phase {
        Phase::Importing => wire::ImagePhase::Importing,
        Phase::Ready => wire::ImagePhase::Ready,
        Phase::Rejected => wire::ImagePhase::Rejected,
        Phase::Deleting => wire::ImagePhase::Deleting,
        Phase::Deleted => wire::ImagePhase::Deleted,
    }
}

fn role_to_wire(role: Role) -> common::ArtifactRole {
    match role {
        Role::Disk => common::ArtifactRole::Disk,
        Role::Kernel => common::ArtifactRole::Kernel,
        Role::Initramfs => common::ArtifactRole::Initramfs,
    }
}

pub(super) fn role_from_wire(role: common::ArtifactRole) -> Option<Role> {
    match role {
        common::ArtifactRole::Unspecified => None,
        common::ArtifactRole::Disk => Some(Role::Disk),
        common::ArtifactRole::Kernel => Some(Role::Kernel),
        common::ArtifactRole::Initramfs => Some(Role::Initramfs),
    }
}

fn format_to_wire(format: Option<DiskFormat>) -> common::DiskFormat {
    match format {
        None => common::DiskFormat::Unspecified,
        Some(DiskFormat::Raw) => common::DiskFormat::Raw,
        Some(DiskFormat::Qcow2) => common::DiskFormat::Qcow2,
    }
}

pub(super) fn format_from_wire(format: common::DiskFormat) -> Option<DiskFormat> {
    match format {
        common::DiskFormat::Unspecified => None,
        common::DiskFormat::Raw => Some(DiskFormat::Raw),
        common::DiskFormat::Qcow2 => Some(DiskFormat::Qcow2),
    }
}

fn source_to_wire(source: &Source) -> wire::ArtifactSource {
    wire::ArtifactSource {
        role: role_to_wire(source.role).into(),
        sha256: source.sha256.clone(),
        format: format_to_wire(source.format).into(),
        size_bytes: source.size,
        source: Some(match &source.origin {
            Origin::Upload(id) => WireOrigin::UploadId(id.clone()),
            Origin::Url(url) => WireOrigin::Url(url.clone()),
        }),
    }
}

fn source_from_wire(source: &wire::ArtifactSource) -> Result<Source, String> {
    Ok(Source {
        role: role_from_wire(source.role()).ok_or("a source without a role")?,
        origin: match source.source.clone().ok_or("a source that comes from nowhere")? {
            WireOrigin::UploadId(id) => Origin::Upload(id),
            WireOrigin::Url(url) => Origin::Url(url),
        },
        sha256: source.sha256.clone(),
        format: format_from_wire(source.format()),
        size: source.size_bytes,
    })
}

fn artifact_to_wire(artifact: &Artifact) -> common::Artifact {
    common::Artifact {
        role: role_to_wire(artifact.role).into(),
        sha256: artifact.sha256.clone(),
        size_bytes: artifact.size,
        format: format_to_wire(artifact.disk.map(|d| d.format)).into(),
        virtual_size_bytes: artifact.disk.map_or(0, |d| d.virtual_size),
    }
}

fn artifact_from_wire(artifact: &common::Artifact) -> Result<Artifact, String> {
    Ok(Artifact {
        role: role_from_wire(artifact.role()).ok_or("an artifact without a role")?,
        sha256: artifact.sha256.clone(),
        size: artifact.size_bytes,
        disk: format_from_wire(artifact.format())
            .map(|format| Disk { format, virtual_size: artifact.virtual_size_bytes }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{ImageId, Refusal};

    #[test]
    fn what_is_written_is_read_back() {
        for phase in Phase::ALL {
            let disk = Some(Disk { format: DiskFormat::Qcow2, virtual_size: 9 });
            let image = Image {
                id: ImageId::from_u128(1),
                tenant: "acme".into(),
                name: "debian".into(),
                revision: 3,
                phase,
                sources: vec![
                    Source {
                        role: Role::Disk,
                        origin: Origin::Url("https://x/y".into()),
                        sha256: "ab".into(),
                        format: Some(DiskFormat::Raw),
                        size: 4,
                    },
                    Source {
                        role: Role::Kernel,
                        origin: Origin::Upload("u".into()),
                        sha256: String::new(),
                        format: None,
                        size: 0,
                    },
                ],
                artifacts: vec![
                    Artifact { role: Role::Disk, sha256: "ab".into(), size: 4, disk },
                    Artifact { role: Role::Initramfs, sha256: "cd".into(), size: 5, disk: None },
                ],
                architecture: Architecture::Aarch64,
                kernel_cmdline: "console=ttyS0".into(),
                guest_agent: true,
                refusal: Some(Refusal::new("X", "y").because(["z".to_owned()])),
                operation_id: "op".into(),
                created_at: Timestamp(1),
                updated_at: Timestamp(2),
            };
            assert_eq!(from_wire(to_wire(&image)), Ok(image));
        }
        assert!(from_wire(wire::Image::default()).is_err());
    }
}
