//! "Import image" on the wire.

use crate::domain::image::{Import, Origin, Role, Source};
use contracts::common::v1::{ArtifactRole, DiskFormat};
use contracts::gateway::v1::ImportImageRequest;
use contracts::storage::v1::{ArtifactSource, artifact_source};
use gateway_api::domain::violation::Violation;

/// Checks a request and fills in what was left out.
pub fn read(mut request: ImportImageRequest) -> Result<ImportImageRequest, Violation> {
    if request.architecture.is_empty() {
        "x86_64".clone_into(&mut request.architecture);
    }
    for (index, wire) in request.sources.iter().enumerate() {
        if DiskFormat::try_from(wire.format).is_err() {
            return Err(Violation::new(format!("sources[{index}].format"), "this is not a format of disks"));
        }
        if wire.format != 0 && wire.role != ArtifactRole::Disk as i32 {
            return Err(Violation::new(format!("sources[{index}].format"), "only disks have a format"));
        }
    }
    let import = Import {
        name: request.name.clone(),
        sources: request.sources.iter().map(source).collect(),
        architecture: request.architecture.clone(),
        kernel_cmdline: request.kernel_cmdline.clone(),
    };
    import.check()?;
    Ok(request)
}

fn source(wire: &ArtifactSource) -> Source {
    let role = match ArtifactRole::try_from(wire.role) {
        Ok(ArtifactRole::Disk) => Role::Disk,
        Ok(ArtifactRole::Kernel) => Role::Kernel,
        Ok(ArtifactRole::Initramfs) => Role::Initramfs,
        Ok(ArtifactRole::Unspecified) | Err(_) => Role::Unspecified,
    };
    let origin = match &wire.source {
        Some(artifact_source::Source::UploadId(id)) => Origin::Upload(id.clone()),
        Some(artifact_source::Source::Url(url)) => Origin::Url(url.clone()),
        None => Origin::Nothing,
    };
    Source { role, origin, sha256: wire.sha256.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(role: ArtifactRole, format: i32) -> ArtifactSource {
        let id = kernel::UploadId::from_u128(3).to_string();
        ArtifactSource {
            role: role as i32,
            source: Some(artifact_source::Source::UploadId(id)),
            format,
            ..ArtifactSource::default()
        }
    }

    fn read_one(source: ArtifactSource) -> Result<ImportImageRequest, String> {
        let request =
            ImportImageRequest { name: "debian".into(), sources: vec![source], ..Default::default() };
        read(request).map_err(|v| v.field)
    }

    #[test]
    fn the_architecture_has_a_default() {
        let request = read_one(upload(ArtifactRole::Disk, DiskFormat::Qcow2 as i32)).expect("right");
        assert_eq!(request.architecture, "x86_64");
    }

    #[test]
    fn numbers_that_mean_nothing_are_named() {
        assert_eq!(read_one(upload(ArtifactRole::Disk, 9)), Err("sources[0].format".to_owned()));
        assert_eq!(
            read_one(upload(ArtifactRole::Kernel, DiskFormat::Raw as i32)),
            Err("sources[0].format".to_owned())
        );
        let nothing = ArtifactSource { role: 9, ..upload(ArtifactRole::Disk, 0) };
        assert_eq!(read_one(nothing), Err("sources[0].role".to_owned()));
    }
}
