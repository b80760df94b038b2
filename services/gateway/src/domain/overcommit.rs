//! How far an operator may let a host's resources be promised.

use gateway_api::domain::violation::Violation;
use kernel::limits::OVERCOMMIT_PERCENT;

/// Checks percentages, each with the name of its field; 0 leaves one as it is, but not all.
pub fn check(percentages: [(&str, u32); 3]) -> Result<(), Violation> {
    for (field, percent) in percentages {
        if percent > OVERCOMMIT_PERCENT {
            let text =
                format!("{percent} % are too many: 1 to {OVERCOMMIT_PERCENT}, 100 promises what is there");
            return Err(Violation::new(field, text));
        }
    }
    if percentages.iter().all(|(_, percent)| *percent == 0) {
        return Err(Violation::new("vcpus_percent", "say what to change: CPUs, memory or disk, in percent"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_bounds_and_one_must_be_there() {
        let asked = |vcpus, memory, disk| check([("vcpus", vcpus), ("memory", memory), ("disk", disk)]);
        assert_eq!(asked(400, 0, 0), Ok(()));
        assert_eq!(asked(1, 100, 3200), Ok(()));
        assert_eq!(asked(0, 3201, 0).expect_err("too many").field, "memory");
        assert!(asked(0, 0, 0).is_err());
    }
}
