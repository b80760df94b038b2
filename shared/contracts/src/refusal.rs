//! Refusals on the wire and in the kernel are the same thing.

use crate::common::v1 as wire;

impl From<kernel::Refusal> for wire::Refusal {
    fn from(r: kernel::Refusal) -> Self {
        Self { code: r.code, message: r.message, reasons: r.reasons }
    }
}

impl From<wire::Refusal> for kernel::Refusal {
    fn from(r: wire::Refusal) -> Self {
        Self { code: r.code, message: r.message, reasons: r.reasons }
    }
}
