//! What the owner of an object would say no to, as far as the read model shows: said at once, instead of by an operation
//! that fails a moment later. The owner's own check stays the truth; these rules follow it and are never stricter.

use kernel::{Bytes, Refusal};

/// What a caller wants of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Power on.
    Start,
    /// Power off.
    Stop,
    /// Power off and on.
    Reboot,
    /// Freeze.
    Pause,
    /// Let go on.
    Resume,
    /// Wait for its guest's agent, or no longer.
    ExpectAgent,
    /// Remove.
    Delete,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No host yet.
    Pending,
    /// A host prepares it.
    Starting,
    /// The hypervisor runs it.
    Running,
    /// The guest answered.
    Ready,
    /// On its way down.
    Stopping,
    /// Down.
    Stopped,
    /// Frozen.
    Paused,
    /// On its way out.
    Deleting,
    /// It cannot be started.
    Failed,
    /// Being cleaned off a host that could not start it.
    Relocating,
    /// A phase this gateway does not know: only the owner can judge.
    Unknown,
}

/// What of an instance its requests are judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it is.
    pub phase: Phase,
    /// It should be running.
    pub wants_running: bool,
    /// Ready means that its guest answered.
    pub guest_agent: bool,
    /// The request it is busy with: "start"; "" = none.
    pub busy_with: String,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the caller is told.
    pub refusal: Refusal,
    /// Nothing that may be under way changes it.
    pub for_good: bool,
}

fn no(code: &str, message: impl Into<String>) -> Option<Verdict> {
    Some(Verdict { refusal: Refusal::new(code, message), for_good: false })
}

/// Why an instance cannot do what is wanted of it; `None` = as far as can be seen it can.
pub fn request(verb: Verb, seen: &Seen) -> Option<Verdict> {
    let runs = matches!(seen.phase, Phase::Running | Phase::Ready);
    if seen.phase == Phase::Unknown || verb == Verb::Delete {
        return None;
    }
    if seen.phase == Phase::Deleting {
        let refusal = Refusal::new("INSTANCE_DELETING", "the instance is being deleted");
        return Some(Verdict { refusal, for_good: true });
    }
    match verb {
        Verb::Start => already_starting(seen),
        Verb::Reboot if !runs => not_running(seen.phase),
        Verb::Pause if !runs && seen.phase != Phase::Paused => not_running(seen.phase),
        Verb::Resume if !runs && seen.phase != Phase::Paused => {
            let text = format!("only a paused instance can be resumed; it is {}", words(seen.phase));
            no("INSTANCE_NOT_PAUSED", text)
        }
        _ => None,
    }
}

fn already_starting(seen: &Seen) -> Option<Verdict> {
    let up = seen.phase == Phase::Ready || seen.phase == Phase::Running && !seen.guest_agent;
    let on_its_way =
        matches!(seen.phase, Phase::Pending | Phase::Starting | Phase::Running | Phase::Relocating);
    if !seen.wants_running || up || !on_its_way || seen.busy_with.is_empty() {
        return None;
    }
    let text = format!("it is being started already: a {} is under way", seen.busy_with);
    no("INSTANCE_ALREADY_STARTING", text)
}

fn not_running(phase: Phase) -> Option<Verdict> {
    no("INSTANCE_NOT_RUNNING", format!("the instance must be running; it is {}", words(phase)))
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "waiting for a host",
        Phase::Starting => "starting",
        Phase::Running | Phase::Ready => "running",
        Phase::Stopping => "stopping",
        Phase::Stopped => "stopped",
        Phase::Paused => "paused",
        Phase::Deleting => "being deleted",
        Phase::Failed => "failed",
        Phase::Relocating => "being cleaned off a host that could not start it",
        Phase::Unknown => "in a state this gateway does not know",
    }
}

/// Where an image is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePhase {
    /// Being fetched and verified.
    Importing,
    /// Instances can boot from it.
    Ready,
    /// It was not taken.
    Rejected,
    /// Gone, or about to be.
    Gone,
    /// A phase this gateway does not know.
    Unknown,
}

/// Why no instance can boot from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageVerdict {
    /// As if it were not there.
    NotThere,
    /// Not in this state.
    NotNow(Refusal),
    /// The request asks for too little.
    TooLittle(Refusal),
}

/// Why no instance with a disk of `disk_bytes` can boot from the image `name`, which needs `min_disk_bytes`.
pub fn image(name: &str, phase: ImagePhase, disk_bytes: u64, min_disk_bytes: u64) -> Option<ImageVerdict> {
    match phase {
        ImagePhase::Gone => return Some(ImageVerdict::NotThere),
        ImagePhase::Importing => {
            let text = format!("image {name:?} is still being imported");
            return Some(ImageVerdict::NotNow(Refusal::new("IMAGE_NOT_READY", text)));
        }
        ImagePhase::Rejected => {
            let text = format!("image {name:?} was not taken when it was imported");
            return Some(ImageVerdict::NotNow(Refusal::new("IMAGE_REJECTED", text)));
        }
        ImagePhase::Ready | ImagePhase::Unknown => {}
    }
    (disk_bytes < min_disk_bytes).then(|| {
        let (needs, asked) = (Bytes(min_disk_bytes), Bytes(disk_bytes));
        let text = format!("image {name:?} needs a disk of at least {needs}; {asked} was asked for");
        ImageVerdict::TooLittle(Refusal::new("DISK_TOO_SMALL", text))
    })
}

/// At most so many users of an image are named.
pub const USERS_NAMED: usize = 20;

/// Why an image stays while instances boot from it: `users` are their names, at most one more than are named.
pub fn image_in_use(users: &[String]) -> Option<Refusal> {
    let text = match users.len() {
        0 => return None,
        1 => "an instance boots from this image".to_owned(),
        n if n <= USERS_NAMED => format!("{n} instances boot from this image"),
        _ => format!("more than {USERS_NAMED} instances boot from this image"),
    };
    let named = users.iter().take(USERS_NAMED).map(|name| format!("instance {name}"));
    Some(Refusal::new("IMAGE_IN_USE", text).because(named))
}

/// Why a name cannot be had: `what` of this name is there already.
pub fn name_taken(what: &str, name: &str, holder: &str) -> Refusal {
    Refusal::new("NAME_TAKEN", format!("there is an {what} {name:?} already: {holder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(phase: Phase) -> Seen {
        Seen { phase, wants_running: true, guest_agent: true, busy_with: String::new() }
    }

    fn code(verb: Verb, seen: &Seen) -> Option<(String, bool)> {
        request(verb, seen).map(|verdict| (verdict.refusal.code, verdict.for_good))
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_owners_codes() {
        use Phase::{Deleting, Paused, Pending, Ready, Running, Stopped};
        for (verb, phase, expected) in [
            (Verb::Reboot, Stopped, Some("INSTANCE_NOT_RUNNING")),
            (Verb::Reboot, Ready, None),
            (Verb::Pause, Pending, Some("INSTANCE_NOT_RUNNING")),
            (Verb::Pause, Paused, None),
            (Verb::Resume, Stopped, Some("INSTANCE_NOT_PAUSED")),
            (Verb::Resume, Running, None),
            (Verb::Stop, Stopped, None),
            (Verb::Start, Stopped, None),
            (Verb::Delete, Deleting, None),
            (Verb::Stop, Deleting, Some("INSTANCE_DELETING")),
        ] {
            let found = code(verb, &seen(phase));
            assert_eq!(found.as_ref().map(|(code, _)| code.as_str()), expected, "{verb:?} of {phase:?}");
            assert_eq!(found.is_some_and(|(_, for_good)| for_good), expected == Some("INSTANCE_DELETING"));
        }
        assert_eq!(code(Verb::Reboot, &seen(Phase::Unknown)), None, "only the owner knows");
    }

    #[test]
    fn a_start_is_refused_while_another_is_under_way() {
        let busy = |phase| Seen { busy_with: "create".into(), ..seen(phase) };
        for phase in [Phase::Pending, Phase::Starting, Phase::Running, Phase::Relocating] {
            let found = request(Verb::Start, &busy(phase)).expect("refused").refusal;
            assert!(
                found.code == "INSTANCE_ALREADY_STARTING" && found.message.contains("a create"),
                "{found}"
            );
        }
        for fine in [
            seen(Phase::Pending),
            busy(Phase::Ready),
            Seen { guest_agent: false, ..busy(Phase::Running) },
            Seen { wants_running: false, ..busy(Phase::Starting) },
        ] {
            assert_eq!(request(Verb::Start, &fine), None, "{fine:?}");
        }
    }

    #[test]
    fn an_image_is_judged_by_its_phase_and_its_size() {
        assert_eq!(image("i", ImagePhase::Gone, 1, 0), Some(ImageVerdict::NotThere));
        let not_now = |phase| match image("i", phase, 1, 0) {
            Some(ImageVerdict::NotNow(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(not_now(ImagePhase::Importing), "IMAGE_NOT_READY");
        assert_eq!(not_now(ImagePhase::Rejected), "IMAGE_REJECTED");
        assert_eq!(image("i", ImagePhase::Ready, 10, 10), None);
        let Some(ImageVerdict::TooLittle(refusal)) = image("i", ImagePhase::Ready, 1 << 20, 1 << 30) else {
            panic!("too small");
        };
        assert!(refusal.message.contains("1 GiB") && refusal.message.contains("1 MiB"), "{refusal}");
    }

    #[test]
    fn users_of_an_image_are_named_up_to_a_limit() {
        assert_eq!(image_in_use(&[]), None);
        let one = image_in_use(&["web-1".to_owned()]).expect("refused");
        assert_eq!(one.reasons, ["instance web-1"]);
        let many: Vec<String> = (0..=USERS_NAMED).map(|n| format!("web-{n}")).collect();
        let refusal = image_in_use(&many).expect("refused");
        assert!(refusal.message.starts_with("more than 20") && refusal.reasons.len() == 20, "{refusal}");
    }
}
