use super::*;
use crate::domain::artifact::{Origin, Role, Source};
use crate::domain::disk::{Disk, DiskFormat};
use crate::domain::kernel_file::Architecture;
use kernel::ImageId;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn request() -> Request {
    Request {
        id: ImageId::from_u128(7),
        tenant: "acme".into(),
        name: "debian-12".into(),
        sources: vec![Source {
            role: Role::Disk,
            origin: Origin::Upload("u".into()),
            sha256: String::new(),
            format: None,
            size: 0,
        }],
        architecture: Architecture::X86_64,
        kernel_cmdline: String::new(),
        guest_agent: true,
        operation_id: "import-1".into(),
    }
}

fn artifact() -> Artifact {
    let disk = Some(Disk { format: DiskFormat::Qcow2, virtual_size: 10 });
    Artifact { role: Role::Disk, sha256: "ab".repeat(32), size: 5, disk }
}

fn importing() -> Image {
    begin(request(), Ok(()), NOW).0
}

fn ready() -> Image {
    step(&importing(), Input::Verified(vec![artifact()]), NOW).expect("ready").0
}

fn delete(operation: &str, users: &[&str]) -> Input {
    Input::Delete { operation_id: operation.into(), users: users.iter().map(|u| (*u).to_owned()).collect() }
}

#[test]
fn an_import_ends_ready_or_rejected() {
    let (image, said) = begin(request(), Ok(()), NOW);
    assert_eq!((image.phase, image.revision, said.event), (Phase::Importing, 1, Event::ImportStarted));
    assert_eq!(said.operations, [("import-1".to_owned(), "accepted", OperationStage::Running)]);

    let (done, said) = step(&image, Input::Verified(vec![artifact()]), NOW).expect("ready");
    assert_eq!((done.phase, done.revision, said.event), (Phase::Ready, 2, Event::Imported));
    assert_eq!(said.operations, [("import-1".to_owned(), "verified", OperationStage::Succeeded)]);
    assert_eq!((done.min_disk_bytes(), done.operation_id.as_str()), (10, ""));

    let refusal = Refusal::new(code::TRUNCATED, "cut");
    let (not, said) = step(&image, Input::Refused(refusal.clone()), NOW).expect("rejected");
    assert_eq!(
        (not.phase, not.refusal, said.event),
        (Phase::Rejected, Some(refusal.clone()), Event::Rejected)
    );
    assert_eq!(said.operations, [("import-1".to_owned(), "refused", OperationStage::Failed(refusal))]);
}

#[test]
fn a_taken_name_is_an_answer() {
    let (image, said) = begin(request(), Err(name_taken("debian-12")), NOW);
    assert_eq!((image.phase, image.revision, said.event), (Phase::Rejected, 1, Event::Rejected));
    let Some((operation, _, OperationStage::Failed(refusal))) = said.operations.first() else {
        panic!("{said:?}")
    };
    assert_eq!((operation.as_str(), refusal.code.as_str()), ("import-1", code::NAME_TAKEN));
}

#[test]
fn a_used_image_is_kept_and_the_users_are_named() {
    let (image, said) = step(&ready(), delete("delete-1", &["web-1", "web-2"]), NOW).expect("answer");
    assert_eq!((image.phase, said.event), (Phase::Ready, Event::Kept));
    let Some((_, _, OperationStage::Failed(refusal))) = said.operations.first() else { panic!("{said:?}") };
    assert_eq!(refusal.code, code::IMAGE_IN_USE);
    assert_eq!(refusal.reasons, ["instance web-1", "instance web-2"]);
    let many: Vec<String> = (0..25).map(|n| format!("i{n}")).collect();
    assert_eq!(in_use(&many).reasons.last().map(String::as_str), Some("and 5 more"));
}

#[test]
fn a_deletion_ends_when_the_files_are_gone() {
    let (deleting, said) = step(&ready(), delete("delete-1", &[]), NOW).expect("deleting");
    assert_eq!((deleting.phase, said.event), (Phase::Deleting, Event::DeletionStarted));
    assert_eq!(step(&deleting, delete("delete-1", &[]), NOW), None, "the same request again");
    let (gone, said) = step(&deleting, Input::FilesGone, NOW).expect("gone");
    assert_eq!((gone.phase, said.event), (Phase::Deleted, Event::Deleted));
    assert_eq!(said.operations, [("delete-1".to_owned(), "removed", OperationStage::Succeeded)]);
}

#[test]
fn an_instance_accepted_meanwhile_calls_the_deletion_off() {
    let (deleting, _) = step(&ready(), delete("delete-1", &[]), NOW).expect("deleting");
    let (image, said) = step(&deleting, Input::StillUsed { users: vec!["web-1".into()] }, NOW).expect("kept");
    assert_eq!((image.phase, said.event, image.operation_id.as_str()), (Phase::Ready, Event::Kept, ""));
    assert!(matches!(&said.operations[..], [(op, _, OperationStage::Failed(_))] if op == "delete-1"));
}

#[test]
fn deleting_an_import_calls_it_off() {
    let (image, said) = step(&importing(), delete("delete-1", &[]), NOW).expect("deleting");
    assert_eq!(image.phase, Phase::Deleting);
    assert!(matches!(&said.operations[1], (op, _, OperationStage::Superseded(_)) if op == "import-1"));
    assert_eq!(step(&image, Input::Verified(vec![artifact()]), NOW), None, "too late");
    assert_eq!(
        step(&image, Input::StillUsed { users: vec!["x".into()] }, NOW),
        None,
        "there is nothing to keep"
    );
}

#[test]
fn what_is_not_kept_is_deleted_at_once() {
    let (rejected, _) = begin(request(), Err(name_taken("debian-12")), NOW);
    let (image, said) = step(&rejected, delete("delete-1", &[]), NOW).expect("deleted");
    assert_eq!((image.phase, said.event), (Phase::Deleted, Event::Deleted));
}

fn any_input() -> impl Strategy<Value = Input> {
    let users = prop_oneof![Just(vec![]), Just(vec!["web-1".to_owned()])];
    let operation = prop_oneof![Just("delete-1".to_owned()), Just("delete-2".to_owned())];
    prop_oneof![
        Just(Input::Verified(vec![artifact()])),
        Just(Input::Refused(Refusal::new(code::TRUNCATED, "cut"))),
        (operation, users.clone()).prop_map(|(operation_id, users)| Input::Delete { operation_id, users }),
        users.prop_map(|users| Input::StillUsed { users }),
        Just(Input::FilesGone),
    ]
}

proptest! {
    /// Whatever happens in whatever order: revisions grow by one with each event, a deleted image never comes back,
    /// only a ready image was ever verified, and no operation that ended moves again.
    #[test]
    fn any_history_makes_sense(inputs in proptest::collection::vec(any_input(), 0..30)) {
        let mut image = importing();
        let mut ended = std::collections::BTreeSet::new();
        for (n, mut input) in inputs.into_iter().enumerate() {
            if let Input::Delete { operation_id, .. } = &mut input {
                // requests have ids of their own; now and then one comes twice
                *operation_id = if n % 3 == 0 { image.operation_id.clone() } else { format!("delete-{n}") };
                if operation_id.is_empty() { continue; }
            }
            let Some((next, said)) = step(&image, input, NOW) else { continue };
            prop_assert_eq!(next.revision, image.revision + 1);
            prop_assert!(image.phase != Phase::Deleted || next.phase == Phase::Deleted);
            prop_assert!(next.phase != Phase::Ready || !next.artifacts.is_empty());
            for (operation, _, progress) in said.operations {
                prop_assert!(!ended.contains(&operation), "{} moved after its end", operation);
                if progress != OperationStage::Running {
                    ended.insert(operation);
                }
            }
            let waits = matches!(next.phase, Phase::Importing | Phase::Deleting);
            prop_assert_eq!(waits, !next.operation_id.is_empty());
            image = next;
        }
    }
}
