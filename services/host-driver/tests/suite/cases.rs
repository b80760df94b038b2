//! The contract of a driver, case by case. What a driver cannot do is asked of its capabilities, never of its name.

use super::subject::{Subject, eventually, files_ready};
use host_driver::adapters::{ExecCall, Fault, PutAside};
use host_driver::domain::{Domain, DropReason, Ended, Files, Held, Power, QuarantineReason};
use kernel::{Bytes, InstanceId, Timestamp};
use std::time::{Duration, Instant};

/// From nothing to a VM and back to nothing; each step twice, the second time for nothing.
pub async fn life(subject: &Subject) {
    let (hypervisor, disks, spec) = (&subject.hypervisor, &subject.disks, subject.spec());
    let id = spec.instance;
    assert_eq!(hypervisor.observe(id).await, Ok(Domain::Missing));
    assert_eq!(disks.observe(&spec).await, Ok(Files::Missing));
    assert_eq!(hypervisor.start(id).await, Err(Fault::NotFound));

    let guard = subject.made(&spec).await;
    disks.prepare(&spec, 1, None).await.expect("again");
    assert_eq!(disks.observe(&spec).await, Ok(files_ready(1)));
    let machine = subject.machine(&spec, 1);
    hypervisor.define(&machine).await.expect("again");
    let Ok(Domain::Ours(ours)) = hypervisor.observe(id).await else { panic!("not ours") };
    assert!(matches!(ours.power, Power::Off(_)), "{:?}", ours.power);
    assert_eq!((ours.generation, &ours.marked), (1, &ours.actual), "what was read back is what was written");
    assert_eq!(hypervisor.fingerprint(&machine).await.as_ref(), Ok(&ours.actual));
    assert!(hypervisor.list().await.expect("a list").contains(&id));

    hypervisor.start(id).await.expect("it starts");
    hypervisor.start(id).await.expect("again");
    subject.reaches(id, "running", |p| p == Some(Power::Running)).await;
    assert!(
        matches!(hypervisor.undefine(id).await, Err(Fault::Failed(_))),
        "a VM that runs is not forgotten"
    );
    assert_eq!(subject.power(id).await, Some(Power::Running));

    if subject.can.pause {
        for _ in 0..2 {
            hypervisor.pause(id).await.expect("it pauses");
            assert_eq!(subject.power(id).await, Some(Power::Paused(Held::ByHand)));
        }
        for _ in 0..2 {
            hypervisor.resume(id).await.expect("it resumes");
            assert_eq!(subject.power(id).await, Some(Power::Running));
        }
    }
    hypervisor.destroy(id).await.expect("its power is taken");
    hypervisor.destroy(id).await.expect("again");
    assert_eq!(subject.power(id).await, Some(Power::Off(Ended::Killed)));
    hypervisor.undefine(id).await.expect("it is forgotten");
    hypervisor.undefine(id).await.expect("again");
    assert!(!hypervisor.list().await.expect("a list").contains(&id));
    disks.remove(id).await.expect("its files go");
    disks.remove(id).await.expect("again");
    assert_eq!(disks.observe(&spec).await, Ok(Files::Missing));
    guard.clean().await;
}

/// A new ownership and a new size replace what is known; a changed definition is seen.
pub async fn redefinition(subject: &Subject) {
    let spec = subject.spec();
    let guard = subject.made(&spec).await;
    let mut larger = spec.clone();
    larger.memory = Bytes(192 << 20);
    let machine = subject.machine(&larger, 2);
    let wanted = subject.hypervisor.fingerprint(&machine).await.expect("a fingerprint");
    let Ok(Domain::Ours(before)) = subject.hypervisor.observe(spec.instance).await else {
        panic!("not ours")
    };
    assert_ne!(before.actual, wanted);
    subject.hypervisor.define(&machine).await.expect("it is replaced");
    let Ok(Domain::Ours(after)) = subject.hypervisor.observe(spec.instance).await else { panic!("not ours") };
    assert_eq!((after.generation, after.actual), (2, wanted));
    guard.clean().await;
}

/// Something happening is told to whoever listens.
pub async fn changes(subject: &Subject) {
    let spec = subject.spec();
    let mut changes = subject.hypervisor.changes();
    let guard = subject.made(&spec).await;
    subject.hypervisor.start(spec.instance).await.expect("it starts");
    let heard = tokio::time::timeout(Duration::from_secs(10), async {
        while changes.recv().await.expect("open") != spec.instance {}
    });
    heard.await.expect("the start is heard of");
    guard.clean().await;
}

/// Files are put aside whole, new ones can be made, and those that were put aside come back or go for good.
pub async fn quarantine(subject: &Subject) {
    let (disks, spec) = (&subject.disks, subject.spec());
    let id = spec.instance;
    disks.fetch(&spec).await.expect("fetched");
    disks.prepare(&spec, 1, None).await.expect("made");
    assert_eq!(
        (disks.has_run(id).await, disks.holds(id).await),
        (Ok(false), Ok(true)),
        "nothing ran on them"
    );
    assert_eq!((disks.note_run(id).await, disks.note_run(id).await), (Ok(true), Ok(false)), "noted once");
    disks.forget_run(id).await.expect("taken back");
    assert_eq!(disks.has_run(id).await, Ok(false));
    disks.note_run(id).await.expect("noted");
    assert_eq!(disks.has_run(id).await, Ok(true));
    disks.prepare(&spec, 1, None).await.expect("made again");
    assert_eq!(disks.has_run(id).await, Ok(true), "a disk that is kept stays used");
    let put = PutAside {
        instance: id,
        tenant: "acme".into(),
        name: "suite".into(),
        generation: 9,
        images: vec!["a".repeat(64)],
        reason: QuarantineReason::LeftHost,
        at: Timestamp(5_000_000),
    };
    let item = disks.quarantine(&put).await.expect("put aside").expect("there were files");
    assert_eq!(disks.quarantine(&put).await, Ok(None), "again: there is nothing");
    assert_eq!((item.generation, item.reason, item.at), (1, put.reason, put.at), "what they were made for");
    let of_it = async || {
        let all = disks.quarantined().await.expect("listed");
        all.items.into_iter().filter(|held| held.instance == id).collect::<Vec<_>>()
    };
    assert_eq!(of_it().await, std::slice::from_ref(&item));
    assert_eq!((disks.observe(&spec).await, disks.has_run(id).await), (Ok(Files::Missing), Ok(false)));
    disks.prepare(&spec, 2, None).await.expect("made anew");
    assert_eq!((disks.observe(&spec).await, disks.has_run(id).await), (Ok(files_ready(2)), Ok(false)));
    assert!(disks.take_back(item.id, id, 3).await.is_err(), "nothing is written over");
    disks.remove(id).await.expect("removed");
    disks.take_back(item.id, id, 3).await.expect("taken back");
    assert_eq!((disks.observe(&spec).await, disks.has_run(id).await), (Ok(files_ready(3)), Ok(true)));
    assert_eq!(of_it().await, []);
    let gone = disks.take_back(item.id, id, 3).await;
    assert!(matches!(gone, Err(Fault::Permanent(refusal)) if refusal.code == "QUARANTINE_GONE"));
    let item = disks.quarantine(&put).await.expect("put aside").expect("there were files");
    disks.drop_quarantined(item.id).await.ok();
    assert_eq!(of_it().await.len(), 1, "what was not condemned is kept");
    disks.condemn(item.id, DropReason::Expired).await.expect("condemned");
    assert_eq!(of_it().await[0].dropping, Some(DropReason::Expired));
    assert!(disks.take_back(item.id, id, 3).await.is_err(), "it is being removed");
    disks.drop_quarantined(item.id).await.expect("removed");
    disks.drop_quarantined(item.id).await.expect("again");
    assert_eq!(of_it().await, []);
}

/// Orders that can never be followed say so.
pub async fn refusals(subject: &Subject) {
    let nothing_to_boot = host_driver::domain::VmSpec { artifacts: Vec::new(), ..subject.spec() };
    let Err(Fault::Permanent(refusal)) = subject.disks.fetch(&nothing_to_boot).await else { panic!("taken") };
    assert_eq!(refusal.code, "NO_IMAGE");
    let stranger = InstanceId::new();
    for fault in [
        subject.hypervisor.destroy(stranger).await,
        subject.hypervisor.pause(stranger).await,
        subject.hypervisor.reset(stranger).await,
    ] {
        assert_eq!(fault, Err(Fault::NotFound));
    }
    assert_eq!(subject.hypervisor.undefine(stranger).await, Ok(()));
}

/// The guest answers, runs programs, reboots when asked and shuts down when asked.
pub async fn guest(subject: &Subject) {
    if !subject.can.guest_agent {
        return;
    }
    let (hypervisor, spec) = (&subject.hypervisor, subject.spec());
    let id = spec.instance;
    let guard = subject.made(&spec).await;
    let since = Instant::now();
    hypervisor.start(id).await.expect("it starts");
    assert_eq!(hypervisor.agent_ping(id).await, Ok(false), "nobody boots in no time");
    subject.agent(id).await;
    println!("{:?} {}: start to agent {:?}", subject.can.driver, subject.can.acceleration, since.elapsed());

    exec(subject, id).await;
    if subject.can.addresses {
        eventually(super::subject::BOOT, "it has an address", async || {
            !hypervisor.addresses(id, true).await.expect("asked").is_empty()
        })
        .await;
    }

    let boot = |domain: Domain| match domain {
        Domain::Ours(ours) => ours.boot,
        _ => panic!("not ours"),
    };
    let first = boot(hypervisor.observe(id).await.expect("observed"));
    hypervisor.reboot(id).await.expect("it is asked");
    eventually(super::subject::BOOT, "it reboots", async || {
        boot(hypervisor.observe(id).await.expect("observed")) != first
    })
    .await;
    subject.agent(id).await;
    let second = boot(hypervisor.observe(id).await.expect("observed"));
    hypervisor.reset(id).await.expect("it is reset");
    eventually(super::subject::BOOT, "it begins anew", async || {
        boot(hypervisor.observe(id).await.expect("observed")) != second
    })
    .await;
    subject.agent(id).await;

    hypervisor.shutdown(id).await.expect("it is asked");
    subject.reaches(id, "off by itself", |p| p == Some(Power::Off(Ended::ByGuest))).await;
    assert_eq!(hypervisor.agent_ping(id).await, Ok(false));
    guard.clean().await;
}

async fn exec(subject: &Subject, id: InstanceId) {
    let call = |argv: &[&str], stdin: &[u8], seconds| ExecCall {
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        stdin: stdin.to_vec(),
        timeout: Duration::from_secs(seconds),
    };
    let run = async |argv: &[&str], stdin: &[u8], seconds| {
        subject.hypervisor.agent_exec(id, &call(argv, stdin, seconds)).await
    };
    let echoed = run(&["echo", "a b", "$HOME;`id`"], b"", 20).await.expect("it runs");
    assert_eq!((echoed.exit_code, echoed.stdout), (0, b"a b $HOME;`id`\n".to_vec()), "no shell in between");
    let copied = run(&["cat"], b"\x00\xff stdin", 20).await.expect("it runs");
    assert_eq!(copied.stdout, b"\x00\xff stdin");
    let large = vec![b'x'; 100_000];
    let capped = run(&["cat"], &large, 30).await.expect("it runs");
    assert_eq!((capped.stdout.len(), capped.truncated), (64 * 1024, true));
    assert_eq!(run(&["false"], b"", 20).await.expect("it runs").exit_code, 1);
    let missing = run(&["/no/such/program"], b"", 20).await.expect("an answer, as of a shell");
    assert_eq!((missing.exit_code, missing.stderr.is_empty()), (127, false), "{missing:?}");
    let slow = run(&["sleep", "60"], b"", 1).await;
    assert!(matches!(slow, Err(Fault::Failed(_))), "{slow:?}");
}

/// What is typed is heard, what the guest writes is read.
pub async fn console(subject: &Subject) {
    if !subject.can.console {
        return;
    }
    let (hypervisor, spec) = (&subject.hypervisor, subject.spec());
    let guard = subject.made(&spec).await;
    assert!(hypervisor.console(spec.instance).await.is_err(), "a VM that does not run has no console");
    hypervisor.start(spec.instance).await.expect("it starts");
    subject.reaches(spec.instance, "running", |p| p == Some(Power::Running)).await;
    let mut console = hypervisor.console(spec.instance).await.expect("a console");
    let mut seen = Vec::new();
    let prompt = async {
        while !String::from_utf8_lossy(&seen).contains("ogin:")
            && !String::from_utf8_lossy(&seen).contains("~#")
        {
            seen.extend(console.receiver.recv().await.expect("open"));
        }
    };
    let asked = tokio::time::timeout(super::subject::BOOT, prompt).await;
    assert!(asked.is_ok(), "no prompt: {}", String::from_utf8_lossy(&seen));
    console.sender.send("nobody-in-particular\n".into()).await.expect("typed");
    let mut echo = Vec::new();
    let heard = async {
        while !String::from_utf8_lossy(&echo).contains("nobody-in-particular") {
            echo.extend(console.receiver.recv().await.expect("open"));
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), heard).await.is_ok(), "typed and not heard");
    hypervisor.destroy(spec.instance).await.expect("its power is taken");
    let ends = async { while console.receiver.recv().await.is_some() {} };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), ends).await.is_ok(),
        "the console ends with the guest"
    );
    guard.clean().await;
}
