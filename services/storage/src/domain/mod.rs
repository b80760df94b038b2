//! What an image is, which files may become one, and how it lives. Pure: bytes and integers in, answers out.

pub mod address;
pub mod artifact;
pub mod disk;
pub mod filesystem;
pub mod image;
pub mod initramfs;
pub mod kernel_file;
pub mod lifecycle;
pub mod partition;
pub mod qcow2;
pub mod read;
pub mod retry;

/// Codes of the refusals this service gives; operators and programs match on them.
pub mod code {
    /// The address of a URL is loopback, private, link-local or of a metadata service.
    pub const ADDRESS_FORBIDDEN: &str = "ADDRESS_FORBIDDEN";
    /// The file is for another processor than the image says.
    pub const ARCHITECTURE_MISMATCH: &str = "ARCHITECTURE_MISMATCH";
    /// A qcow2 file that needs another file below it.
    pub const BACKING_FILE: &str = "BACKING_FILE";
    /// A compressed file given as a disk or kernel.
    pub const COMPRESSED: &str = "COMPRESSED";
    /// The structure of the file contradicts itself.
    pub const CORRUPT: &str = "CORRUPT";
    /// SHA-256 of the bytes is not what was said.
    pub const DIGEST_MISMATCH: &str = "DIGEST_MISMATCH";
    /// A qcow2 file with encryption.
    pub const ENCRYPTED: &str = "ENCRYPTED";
    /// A qcow2 file whose data is in another file.
    pub const EXTERNAL_DATA_FILE: &str = "EXTERNAL_DATA_FILE";
    /// The content is not what was declared.
    pub const FORMAT_MISMATCH: &str = "FORMAT_MISMATCH";
    /// Instances boot from it.
    pub const IMAGE_IN_USE: &str = "IMAGE_IN_USE";
    /// No such image in this tenant.
    pub const IMAGE_NOT_FOUND: &str = "IMAGE_NOT_FOUND";
    /// The request itself is malformed.
    pub const INVALID_REQUEST: &str = "INVALID_REQUEST";
    /// Another image of the tenant has the name.
    pub const NAME_TAKEN: &str = "NAME_TAKEN";
    /// The number of bytes is not what was said.
    pub const SIZE_MISMATCH: &str = "SIZE_MISMATCH";
    /// The datastore could not take the file, several times.
    pub const STORAGE_UNAVAILABLE: &str = "STORAGE_UNAVAILABLE";
    /// The import was called off by a deletion.
    pub const SUPERSEDED: &str = "SUPERSEDED";
    /// More bytes, or a larger disk, than the settings allow.
    pub const TOO_LARGE: &str = "TOO_LARGE";
    /// The end of the file is missing.
    pub const TRUNCATED: &str = "TRUNCATED";
    /// The source did not give the file.
    pub const UNREACHABLE: &str = "UNREACHABLE";
    /// A known format that no host boots from.
    pub const UNSUPPORTED_FORMAT: &str = "UNSUPPORTED_FORMAT";
    /// Content that nothing recognises.
    pub const UNKNOWN_FORMAT: &str = "UNKNOWN_FORMAT";
    /// Nothing is staged under that upload id.
    pub const UPLOAD_UNKNOWN: &str = "UPLOAD_UNKNOWN";
}
