//! An image to take in, and whether it makes sense before anybody fetches it.

use gateway_api::domain::names;
use gateway_api::domain::violation::{Violation, excerpt};
use kernel::limits::{IMAGE_FILES, KERNEL_CMDLINE, URL};

/// Architectures that a host can have.
pub const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Not said.
    Unspecified,
    /// A disk to boot from.
    Disk,
    /// A kernel to boot directly.
    Kernel,
    /// The initramfs of that kernel.
    Initramfs,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A finished upload.
    Upload(String),
    /// http or https.
    Url(String),
    /// Not said.
    Nothing,
}

/// One file to take in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is for.
    pub role: Role,
    /// Where it comes from.
    pub origin: Origin,
    /// 64 hex digits or "".
    pub sha256: String,
}

/// What the caller of "import image" wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Unique per tenant.
    pub name: String,
    /// Its files.
    pub sources: Vec<Source>,
    /// Of the guest's CPU.
    pub architecture: String,
    /// For direct kernel boot.
    pub kernel_cmdline: String,
}

impl Import {
    /// Nothing when everything is right; the first wrong field otherwise.
    pub fn check(&self) -> Result<(), Violation> {
        names::dotted("name", &self.name)?;
        if !ARCHITECTURES.contains(&self.architecture.as_str()) {
            return Err(Violation::new(
                "architecture",
                format!("{:?} is not known: {}", excerpt(&self.architecture, 40), ARCHITECTURES.join(" or ")),
            ));
        }
        if self.sources.is_empty() || self.sources.len() > IMAGE_FILES {
            return Err(Violation::new("sources", format!("an image has 1 to {IMAGE_FILES} files")));
        }
        for (index, source) in self.sources.iter().enumerate() {
            source.check().map_err(|v| v.inside(&format!("sources[{index}]")))?;
        }
        let count = |role| self.sources.iter().filter(|s| s.role == role).count();
        let (disks, kernels, initramfs) = (count(Role::Disk), count(Role::Kernel), count(Role::Initramfs));
        if disks > 1 || kernels > 1 || initramfs > 1 {
            return Err(Violation::new("sources", "an image has at most one file of each role"));
        }
        if disks == 0 && (kernels == 0 || initramfs == 0) {
            let text = "an image needs a disk to boot from, or a kernel and an initramfs";
            return Err(Violation::new("sources", text));
        }
        if initramfs > 0 && kernels == 0 {
            return Err(Violation::new("sources", "an initramfs needs a kernel beside it"));
        }
        let printable = self.kernel_cmdline.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if self.kernel_cmdline.len() > KERNEL_CMDLINE.length() || !printable {
            let text = format!(
                "a kernel command line is one line of at most {} printable ASCII characters",
                KERNEL_CMDLINE.0
            );
            return Err(Violation::new("kernel_cmdline", text));
        }
        if !self.kernel_cmdline.is_empty() && kernels == 0 {
            return Err(Violation::new(
                "kernel_cmdline",
                "only an image with a kernel has a kernel command line",
            ));
        }
        Ok(())
    }
}

impl Source {
    fn check(&self) -> Result<(), Violation> {
        if self.role == Role::Unspecified {
            return Err(Violation::new("role", "say what the file is for: disk, kernel or initramfs"));
        }
        let digest = self.sha256.len() == 64
            && self.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !self.sha256.is_empty() && !digest {
            return Err(Violation::new("sha256", "write the SHA-256 as 64 lower case hex digits"));
        }
        match &self.origin {
            Origin::Nothing => Err(Violation::new("source", "give an upload_id or a url")),
            Origin::Upload(id) => id
                .parse::<kernel::UploadId>()
                .map(|_| ())
                .map_err(|e| Violation::new("upload_id", e.to_string())),
            Origin::Url(url) => {
                let web = ["http://", "https://"].iter().any(|scheme| {
                    url.strip_prefix(scheme)
                        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
                });
                if !web || url.len() > URL.length() || url.chars().any(|c| c.is_control() || c == ' ') {
                    let text = format!("write an http or https URL of at most {} bytes", URL.0);
                    return Err(Violation::new("url", text));
                }
                // events are kept for ever and read by many
                let authority = url.split(['/', '?', '#']).nth(2).unwrap_or_default();
                if authority.contains('@') {
                    return Err(Violation::new("url", "a URL must not hold a user name or password"));
                }
                if self.sha256.is_empty() {
                    return Err(Violation::new("sha256", "a file from a URL needs its SHA-256"));
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(role: Role) -> Source {
        Source {
            role,
            origin: Origin::Upload(kernel::UploadId::from_u128(7).to_string()),
            sha256: String::new(),
        }
    }

    fn import(sources: Vec<Source>) -> Import {
        Import {
            name: "debian-12".into(),
            sources,
            architecture: "x86_64".into(),
            kernel_cmdline: String::new(),
        }
    }

    #[test]
    fn a_disk_or_a_kernel_with_its_initramfs_is_enough() {
        assert_eq!(import(vec![upload(Role::Disk)]).check(), Ok(()));
        assert_eq!(import(vec![upload(Role::Kernel), upload(Role::Initramfs)]).check(), Ok(()));
        let web = Source {
            origin: Origin::Url("https://example.com/disk.qcow2".into()),
            sha256: "ab".repeat(32),
            role: Role::Disk,
        };
        assert_eq!(import(vec![web]).check(), Ok(()));
    }

    #[test]
    fn what_cannot_boot_is_refused() {
        let url = |text: &str| Source {
            origin: Origin::Url(text.into()),
            sha256: "ab".repeat(32),
            role: Role::Disk,
        };
        for (sources, field) in [
            (vec![], "sources"),
            (vec![upload(Role::Initramfs)], "sources"),
            (vec![upload(Role::Kernel)], "sources"),
            (vec![upload(Role::Disk), upload(Role::Disk)], "sources"),
            (vec![upload(Role::Unspecified)], "sources[0].role"),
            (vec![Source { origin: Origin::Nothing, ..upload(Role::Disk) }], "sources[0].source"),
            (
                vec![Source { origin: Origin::Upload("../x".into()), ..upload(Role::Disk) }],
                "sources[0].upload_id",
            ),
            (vec![Source { sha256: "AB".repeat(32), ..upload(Role::Disk) }], "sources[0].sha256"),
            (vec![Source { sha256: String::new(), ..url("http://h/x") }], "sources[0].sha256"),
            (vec![url("file:///etc/passwd")], "sources[0].url"),
            (vec![url("http://")], "sources[0].url"),
            (vec![url("http://a b")], "sources[0].url"),
            (vec![url("https://me:secret@h/x?a=b")], "sources[0].url"),
        ] {
            assert_eq!(import(sources).check().expect_err(field).field, field);
        }
        let cmdline = Import { kernel_cmdline: "quiet".into(), ..import(vec![upload(Role::Disk)]) };
        assert_eq!(cmdline.check().expect_err("no kernel").field, "kernel_cmdline");
        let direct = import(vec![upload(Role::Kernel), upload(Role::Initramfs)]);
        let foreign = Import { kernel_cmdline: "größer".into(), ..direct };
        assert_eq!(foreign.check().expect_err("no ASCII").field, "kernel_cmdline");
        let architecture = Import { architecture: "vax".into(), ..import(vec![upload(Role::Disk)]) };
        assert_eq!(architecture.check().expect_err("vax").field, "architecture");
    }
}
