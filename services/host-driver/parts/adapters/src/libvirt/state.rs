//! What libvirt says a domain does, and why: `virDomainGetState` in our words and in its own.

use host_driver_domain::{Ended, Held, Power};
use virt::domain::{
    DomainCrashedReason, DomainPausedReason, DomainShutoffReason, DomainState, DomainStateEnum,
    DomainStateReason, DomainStateReasonEnum,
};
use virt::enumutil::Enum;

/// What a domain does, and the same as `virsh domstate --reason` words it. `None`: libvirt did not say, or said what nobody
/// here knows.
pub fn read(state: DomainStateEnum, reason: DomainStateReasonEnum) -> Option<(Power, &'static str)> {
    let Enum::Known(state) = state else { return None };
    let why = match reason {
        Enum::Known(why) => Some(why),
        Enum::Unknown(_) => None,
    };
    Some(match (state, why) {
        (DomainState::Paused, Some(DomainStateReason::Paused(Enum::Known(why)))) => paused(why),
        (DomainState::Paused, _) => (Power::Paused(Held::ByHand), "paused (unknown)"),
        (DomainState::PMSuspended, _) => (Power::Paused(Held::Suspended), "pmsuspended"),
        (
            DomainState::Crashed,
            Some(DomainStateReason::Crashed(Enum::Known(DomainCrashedReason::Panicked))),
        ) => (Power::Paused(Held::Crashed), "crashed (panicked)"),
        (DomainState::Crashed, _) => (Power::Paused(Held::Crashed), "crashed (unknown)"),
        (DomainState::Shutoff, Some(DomainStateReason::Shutoff(Enum::Known(why)))) => shut_off(why),
        (DomainState::Shutoff, _) => (Power::Off(Ended::Killed), "shut off (unknown)"),
        // blocked, shutting down and whatever comes: still in memory
        (DomainState::Shutdown, _) => (Power::Running, "in shutdown"),
        (DomainState::NoState | DomainState::Running | DomainState::Blocked, _) => {
            (Power::Running, "running")
        }
    })
}

fn paused(why: DomainPausedReason) -> (Power, &'static str) {
    let (held, words) = match why {
        DomainPausedReason::IOError => (Held::IoError, Held::IoError.words()),
        DomainPausedReason::Crashed => (Held::Crashed, "paused (crashed)"),
        // it stands still because it did not answer its watchdog
        DomainPausedReason::Watchdog => (Held::Crashed, "paused (watchdog)"),
        DomainPausedReason::Migration => (Held::Busy, "paused (migrating)"),
        DomainPausedReason::Save => (Held::Busy, "paused (saving)"),
        DomainPausedReason::Dump => (Held::Busy, "paused (dumping)"),
        DomainPausedReason::ShuttingDown => (Held::Busy, "paused (shutting down)"),
        DomainPausedReason::Snapshot => (Held::Busy, "paused (creating snapshot)"),
        DomainPausedReason::StartingUp => (Held::Busy, "paused (starting up)"),
        DomainPausedReason::PostCopy => (Held::Busy, "paused (post-copy)"),
        DomainPausedReason::User => (Held::ByHand, Held::ByHand.words()),
        DomainPausedReason::FromSnapshot => (Held::ByHand, "paused (from snapshot)"),
        DomainPausedReason::PostCopyFailed => (Held::ByHand, "paused (post-copy failed)"),
        // what held it for a while failed to let it go on
        DomainPausedReason::APIError => (Held::ByHand, "paused (api error)"),
        DomainPausedReason::Unknown => (Held::ByHand, "paused (unknown)"),
    };
    (Power::Paused(held), words)
}

fn shut_off(why: DomainShutoffReason) -> (Power, &'static str) {
    let (ended, words) = match why {
        DomainShutoffReason::Shutdown => (Ended::ByGuest, "shut off (shutdown)"),
        DomainShutoffReason::Crashed => (Ended::Crashed, "shut off (crashed)"),
        DomainShutoffReason::Failed => (Ended::Crashed, "shut off (failed)"),
        DomainShutoffReason::Destroyed => (Ended::Killed, "shut off (destroyed)"),
        DomainShutoffReason::Migrated => (Ended::Killed, "shut off (migrated)"),
        DomainShutoffReason::Saved => (Ended::Killed, "shut off (saved)"),
        DomainShutoffReason::FromSnapshot => (Ended::Killed, "shut off (from snapshot)"),
        DomainShutoffReason::Daemon => (Ended::Killed, "shut off (daemon)"),
        // libvirt keeps no reason over its own restart: the host may have lost power
        DomainShutoffReason::Unknown => (Ended::Killed, "shut off (unknown)"),
    };
    (Power::Off(ended), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused_for(why: DomainPausedReason) -> (Power, &'static str) {
        let reason = DomainStateReason::Paused(Enum::Known(why));
        read(Enum::Known(DomainState::Paused), Enum::Known(reason)).expect("known")
    }

    #[test]
    fn a_guest_that_is_held_is_told_from_one_that_somebody_paused() {
        for (why, held, words) in [
            (DomainPausedReason::User, Held::ByHand, "paused (user)"),
            (DomainPausedReason::IOError, Held::IoError, "paused (I/O error)"),
            (DomainPausedReason::Save, Held::Busy, "paused (saving)"),
            (DomainPausedReason::ShuttingDown, Held::Busy, "paused (shutting down)"),
            (DomainPausedReason::Crashed, Held::Crashed, "paused (crashed)"),
        ] {
            assert_eq!(paused_for(why), (Power::Paused(held), words));
        }
        let asleep = read(Enum::Known(DomainState::PMSuspended), Enum::Unknown(0));
        assert_eq!(asleep, Some((Power::Paused(Held::Suspended), "pmsuspended")));
        assert_eq!(read(Enum::Unknown(99), Enum::Unknown(0)), None, "nothing is concluded from no answer");
    }

    #[test]
    fn what_ended_says_how() {
        let off = |why| {
            let reason = DomainStateReason::Shutoff(Enum::Known(why));
            read(Enum::Known(DomainState::Shutoff), Enum::Known(reason)).expect("known")
        };
        assert_eq!(off(DomainShutoffReason::Shutdown), (Power::Off(Ended::ByGuest), "shut off (shutdown)"));
        assert_eq!(off(DomainShutoffReason::Destroyed), (Power::Off(Ended::Killed), "shut off (destroyed)"));
        assert_eq!(off(DomainShutoffReason::Failed), (Power::Off(Ended::Crashed), "shut off (failed)"));
        let kept = read(
            Enum::Known(DomainState::Crashed),
            Enum::Known(DomainStateReason::Crashed(Enum::Known(DomainCrashedReason::Panicked))),
        );
        let said = (Power::Paused(Held::Crashed), "crashed (panicked)");
        assert_eq!(kept, Some(said), "its disks are in use");
    }
}
