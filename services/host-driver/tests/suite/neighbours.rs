//! Two hosts on one libvirt, and VMs whose mark somebody took away.

use crate::subject::Subject;
use host_driver::adapters::libvirt::{LibvirtHypervisor, LibvirtSettings};
use host_driver::adapters::{Fault, Hypervisor};
use host_driver::domain::Domain;
use kernel::{HostId, InstanceId};
use virt::connect::Connect;

fn is_taken(outcome: Result<(), Fault>) -> bool {
    matches!(outcome, Err(Fault::Permanent(refusal)) if refusal.code == "NAME_TAKEN")
}

/// Another host's VM is neither counted nor touched.
pub async fn another_host(subject: &Subject, uri: &str) {
    let spec = subject.spec();
    let guard = subject.made(&spec).await;
    subject.hypervisor.start(spec.instance).await.expect("it starts");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = LibvirtSettings { uri: uri.to_owned(), ..LibvirtSettings::default() };
    let neighbour = LibvirtHypervisor::new(settings, folder.path(), HostId::new());
    assert_eq!(neighbour.observe(spec.instance).await, Ok(Domain::Foreign { active: true }));
    assert!(!neighbour.list().await.expect("listed").contains(&spec.instance), "no orphan of the neighbour");
    assert!(subject.hypervisor.list().await.expect("listed").contains(&spec.instance));
    assert!(is_taken(neighbour.destroy(spec.instance).await));
    assert!(is_taken(neighbour.define(&subject.machine(&spec, 2)).await));
    assert!(is_taken(neighbour.undefine(spec.instance).await));
    guard.clean().await;
}

/// A VM that was redefined without our mark is not ours any more, and it is told whether it runs.
pub async fn mark_taken_away(subject: &Subject, uri: &str) {
    let spec = subject.spec();
    let guard = subject.made(&spec).await;
    subject.hypervisor.start(spec.instance).await.expect("it starts");
    change_mark(uri, spec.instance, |_| String::new());
    assert_eq!(subject.hypervisor.observe(spec.instance).await, Ok(Domain::Foreign { active: true }));
    assert!(is_taken(subject.hypervisor.destroy(spec.instance).await));
    force(uri, spec.instance, |domain| domain.destroy());
    assert_eq!(subject.hypervisor.observe(spec.instance).await, Ok(Domain::Foreign { active: false }));
    force(uri, spec.instance, |domain| domain.undefine());
    guard.clean().await;
}

/// A mark from before hosts were written into marks: whoever has the order goes on with it, nobody calls it an orphan.
pub async fn mark_without_a_host(subject: &Subject, uri: &str) {
    let spec = subject.spec();
    let guard = subject.made(&spec).await;
    change_mark(uri, spec.instance, |mark| {
        let from = mark.find(" host=").expect("the host is in the mark");
        let to = from + 7 + mark[from + 7..].find(['"', '\'']).expect("quoted") + 1;
        format!("{}{}", &mark[..from], &mark[to..])
    });
    assert!(matches!(subject.hypervisor.observe(spec.instance).await, Ok(Domain::Ours(_))));
    assert!(!subject.hypervisor.list().await.expect("listed").contains(&spec.instance));
    subject.hypervisor.define(&subject.machine(&spec, 1)).await.expect("defined again");
    assert!(
        subject.hypervisor.list().await.expect("listed").contains(&spec.instance),
        "now it is the host's"
    );
    guard.clean().await;
}

fn force(
    uri: &str,
    instance: InstanceId,
    what: impl FnOnce(&virt::domain::Domain) -> Result<(), virt::error::Error>,
) {
    let connection = Connect::open(Some(uri)).expect("libvirt");
    let domain = connection.lookup_domain_by_uuid_string(&instance.to_string()).expect("the domain");
    what(&domain).expect("done by hand");
}

fn change_mark(uri: &str, instance: InstanceId, change: impl FnOnce(&str) -> String) {
    let connection = Connect::open(Some(uri)).expect("libvirt");
    let domain = connection.lookup_domain_by_uuid_string(&instance.to_string()).expect("the domain");
    let xml = domain.xml_desc(virt_sys::VIR_DOMAIN_XML_INACTIVE).expect("its definition");
    let (from, to) = (xml.find("<metadata>").expect("a mark"), xml.find("</metadata>").expect("a mark") + 11);
    let changed = format!("{}{}{}", &xml[..from], change(&xml[from..to]), &xml[to..]);
    connection.define_domain_xml(&changed).expect("redefined by hand");
}
