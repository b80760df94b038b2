//! Limits that more than one program holds, or tells people: each is declared here and nowhere else. The door refuses by
//! them, the owner and the host check by them again, the help of the command line and the comments of the .proto files
//! show them (`tests/architecture/limits.rs`).

use crate::quantity::{Bytes, MilliVcpus};

/// Least share of a CPU.
pub const VCPUS_LEAST: MilliVcpus = MilliVcpus(1);
/// Most virtual CPUs of one instance. With more libvirt wants an IOMMU that remaps interrupts
/// (`QEMU_MAX_VCPUS_WITHOUT_EIM` in its `qemu_validate.c`), which our guests have not.
pub const VCPUS: MilliVcpus = MilliVcpus(255_000);
/// Least memory a kernel boots in.
pub const MEMORY_LEAST: Bytes = Bytes(16 << 20);
/// Most memory of one instance: more than any host QEMU supports today.
pub const MEMORY: Bytes = Bytes(24 << 40);
/// Least disk, when there is one at all.
pub const DISK_LEAST: Bytes = Bytes(1 << 20);
/// Most disk of one instance.
pub const DISK: Bytes = Bytes(64 << 40);
/// Most GPUs of one instance.
pub const GPUS: u32 = 64;
/// Thousandths of a whole GPU.
pub const GPU_MILLI: u32 = 1000;
/// Most percent of what a host has that may be promised.
pub const OVERCOMMIT_PERCENT: u32 = 3200;

/// Most user data of one instance: what the NoCloud seed of every driver has room for.
pub const USER_DATA: Bytes = Bytes(64 << 10);

/// Seconds a guest gets to shut down when nothing is said.
pub const GRACE_DEFAULT_S: u32 = 60;
/// Most seconds a guest gets to shut down.
pub const GRACE_S: u32 = 3600;

/// Program and arguments together that run in a guest.
pub const EXEC_ARGV: Bytes = Bytes(64 << 10);
/// What a program in a guest is fed: it travels in one message to the host, and in one to the guest's agent.
pub const EXEC_STDIN: Bytes = Bytes(64 << 10);
/// What is kept of each output of a program in a guest.
pub const EXEC_OUTPUT: Bytes = Bytes(64 << 10);
/// Seconds a program in a guest may take when nothing is said.
pub const EXEC_TIMEOUT_DEFAULT_S: u32 = 60;
/// Most seconds a program in a guest may take.
pub const EXEC_TIMEOUT_S: u32 = 3600;

/// Most files of one image: one of each role.
pub const IMAGE_FILES: usize = 3;
/// Longest address of a file or of a receiver.
pub const URL: Bytes = Bytes(2048);
/// Longest kernel command line: `COMMAND_LINE_SIZE` of Linux on x86 and arm64.
pub const KERNEL_CMDLINE: Bytes = Bytes(2048);

/// One event of another system with all it holds. CloudEvents 1.0.2 ("Size Limits") wants at least this to be taken.
pub const EVENT: Bytes = Bytes(64 << 10);
/// Most events in one request.
pub const EVENTS_AT_ONCE: usize = 100;
/// Most alerts in one notification of Alertmanager; `max_alerts` of its receiver keeps below it.
pub const ALERTS_AT_ONCE: usize = 1_000;
/// Longest body of a REST request.
pub const REST_BODY: Bytes = Bytes(1 << 20);

/// Most objects on one page of a list.
pub const PAGE: u32 = 1_000;
/// Most seconds for which a replaced secret of a webhook signs as well.
pub const WEBHOOK_OVERLAP_S: u32 = 7 * 86_400;
/// The same when nothing is said.
pub const WEBHOOK_OVERLAP_DEFAULT_S: u32 = 86_400;
/// Least bytes of a password (NIST SP 800-63B, section 3.1.1.2, asks for 15 characters where it is all there is, 8 beside
/// a second factor).
pub const PASSWORD_LEAST: usize = 12;
/// Most bytes of a password: hashing more is work for nothing.
pub const PASSWORD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_leave_room_between_them() {
        const {
            assert!(VCPUS_LEAST.0 < VCPUS.0 && MEMORY_LEAST.0 < MEMORY.0 && DISK_LEAST.0 < DISK.0);
            assert!(GRACE_DEFAULT_S < GRACE_S && EXEC_TIMEOUT_DEFAULT_S < EXEC_TIMEOUT_S);
            assert!(WEBHOOK_OVERLAP_DEFAULT_S < WEBHOOK_OVERLAP_S && PASSWORD_LEAST < PASSWORD);
            // base64 in JSON takes a third more, and escaped user data up to six times as much
            assert!(USER_DATA.0 * 6 < REST_BODY.0 && (EXEC_STDIN.0 + EXEC_ARGV.0 * 6) < REST_BODY.0);
        }
        // as people read them
        assert_eq!((EXEC_STDIN.to_string(), VCPUS.to_string()), ("64 KiB".to_owned(), "255".to_owned()));
    }
}
