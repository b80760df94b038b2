//! Disks that were put aside, as people read them.

use crate::output::{Table, bytes, local_time, word};
use contracts::host_driver::v1::Quarantined;

/// A table of them under a heading; "" when there are none.
pub(super) fn list(items: &[Quarantined]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut table =
        Table::new(["quarantine id", "instance", "tenant", "why", "size", "since", "kept until"], "");
    for item in items {
        let name = if item.instance_name.is_empty() { &item.instance_id } else { &item.instance_name };
        table.row([
            item.id.clone(),
            name.clone(),
            item.tenant.clone(),
            word(item.reason().as_str_name(), "QUARANTINE_REASON_"),
            bytes(item.size_bytes),
            local_time(item.at_us),
            local_time(item.expires_at_us),
        ]);
    }
    format!("\ndisks that were put aside (berth instance restore gives them back):\n{}", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tells_whose_it_is_why_and_how_large() {
        assert_eq!(list(&[]), "");
        let item = Quarantined {
            id: "q".into(),
            instance_name: "web-1".into(),
            tenant: "acme".into(),
            reason: 2,
            size_bytes: 3 << 20,
            ..Quarantined::default()
        };
        let text = list(&[item]);
        for shown in ["q", "web-1", "acme", "left-host", "3 MiB"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }
}
