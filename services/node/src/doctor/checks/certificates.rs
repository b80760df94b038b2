//! Whether the node's certificate is valid, names the right addresses, and belongs to its key and its authority.

use super::{Check, no_node};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::IpAddr;
use std::path::Path;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// See the module.
pub struct Certificates;

#[async_trait]
impl Check for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn about(&self) -> &'static str {
        "certificates are valid, name this node, and belong to their key and authority"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(node) = &ground.node else { return vec![no_node()] };
        if node.insecure_dev {
            return vec![Finding::warning(
                "insecure_dev: there is no TLS, tokens and data travel in clear",
                "start the node without --insecure-dev for anything you would miss",
            )];
        }
        let folder = node.data_dir.join("pki");
        if !folder.join("node.pem").exists() {
            return vec![Finding::skipped("the node makes its certificate at its first start")];
        }
        let mut found = Vec::new();
        for name in ["ca.pem", "node.pem"] {
            found.push(valid(&folder.join(name), ground));
        }
        found.extend(names(&folder.join("node.pem"), node.listen.ip()));
        found.extend(belongs(&folder));
        found
    }
}

const RENEW: &str = "remove the folder pki/ in the data folder and restart the node: it makes new ones; contexts of other machines need the new ca.pem";

fn read(file: &Path) -> Result<CertificateDer<'static>, Finding> {
    CertificateDer::from_pem_file(file)
        .map_err(|error| Finding::problem(format!("{} holds no certificate: {error}", file.display()), RENEW))
}

fn parse<'a>(file: &Path, der: &'a CertificateDer<'static>) -> Result<X509Certificate<'a>, Finding> {
    let parsed = X509Certificate::from_der(der).map(|(_, certificate)| certificate);
    parsed.map_err(|error| Finding::problem(format!("{}: {error}", file.display()), RENEW))
}

fn valid(file: &Path, ground: &Ground) -> Finding {
    let judged = read(file).and_then(|der| {
        let validity = parse(file, &der)?.validity().clone();
        let now = ground.time.now().micros() / 1_000_000;
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let (at, days) = (file.display(), (to - now) / 86_400);
        let soon = i64::try_from(ground.limits.certificate.as_secs()).unwrap_or(i64::MAX);
        Ok(match now {
            now if now >= to => Finding::problem(format!("{at} expired {} days ago", -days), RENEW),
            now if now < from => Finding::problem(
                format!("{at} is not valid yet"),
                "the clock of this machine is wrong, or was when the certificate was made: see the check `clock`",
            ),
            now if to - now < soon => Finding::warning(format!("{at} expires in {days} days"), RENEW),
            _ => Finding::ok(format!("{at} is valid for {days} days")),
        })
    });
    judged.unwrap_or_else(|finding| finding)
}

/// Clients connect to the address the gateway listens on; its certificate has to name it.
fn names(file: &Path, listen: IpAddr) -> Option<Finding> {
    let der = read(file).ok()?;
    let certificate = parse(file, &der).ok()?;
    let wanted = if listen.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { listen };
    let bytes = match wanted {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let extension = certificate.subject_alternative_name().ok().flatten();
    let named = extension.is_some_and(|names| {
        names.value.general_names.iter().any(|name| matches!(name, GeneralName::IPAddress(a) if *a == bytes))
    });
    (!named).then(|| {
        let text = format!(
            "{} does not name {wanted}, where the gateway listens: clients refuse it",
            file.display()
        );
        Finding::problem(text, RENEW)
    })
}

/// Key and certificate are a pair, and the authority that clients trust signed it.
fn belongs(folder: &Path) -> Option<Finding> {
    let (file, key_file) = (folder.join("node.pem"), folder.join("node.key"));
    let key = match PrivateKeyDer::from_pem_file(&key_file) {
        Ok(key) => key,
        Err(error) => {
            let text = format!("{} holds no key: {error}", key_file.display());
            return Some(Finding::problem(text, RENEW));
        }
    };
    let der = read(&file).ok()?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let pair = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![der.clone()], key));
    if let Err(error) = pair {
        let text = format!("{} and {} do not belong together: {error}", file.display(), key_file.display());
        return Some(Finding::problem(text, RENEW));
    }
    let ca_file = folder.join("ca.pem");
    let ca = read(&ca_file).ok()?;
    let (signed, authority) = (parse(&file, &der).ok()?, parse(&ca_file, &ca).ok()?);
    let right = signed.verify_signature(Some(authority.public_key())).is_ok();
    (!right).then(|| {
        let text = format!("{} was not signed by {}: clients refuse it", file.display(), ca_file.display());
        Finding::problem(text, RENEW)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in, worst};
    use super::*;
    use crate::doctor::State;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    struct Authority(Issuer<'static, KeyPair>);

    fn authority(folder: &Path) -> Authority {
        let key = KeyPair::generate().expect("key");
        let mut made = CertificateParams::new(Vec::new()).expect("parameters");
        made.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (made.not_before, made.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
        std::fs::create_dir_all(folder).expect("folder");
        std::fs::write(folder.join("ca.pem"), made.self_signed(&key).expect("signed").pem())
            .expect("written");
        Authority(Issuer::new(made, key))
    }

    /// A certificate for `name` until the beginning of `year`, and its key.
    fn certificate(folder: &Path, by: &Authority, name: &str, year: i32) {
        let key = KeyPair::generate().expect("key");
        let mut made = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        (made.not_before, made.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
        let signed = made.signed_by(&key, &by.0).expect("signed");
        std::fs::write(folder.join("node.pem"), signed.pem()).expect("written");
        std::fs::write(folder.join("node.key"), key.serialize_pem()).expect("written");
    }

    #[tokio::test]
    async fn every_fault_of_a_certificate_is_told() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut ground, pki) = (node_in(folder.path()), folder.path().join("pki"));
        assert_eq!(Certificates.look(&ground).await[0].state, State::Skipped);
        let ours = authority(&pki);
        certificate(&pki, &ours, "127.0.0.1", 2090);
        let found = Certificates.look(&ground).await;
        assert_eq!(worst(&found).state, State::Ok, "{found:?}");

        certificate(&pki, &ours, "127.0.0.1", 2022);
        finds(
            &Certificates.look(&ground).await,
            State::Problem,
            "node.pem expired",
            "remove the folder pki/",
        );
        certificate(&pki, &ours, "192.0.2.1", 2090);
        finds(&Certificates.look(&ground).await, State::Problem, "does not name 127.0.0.1", "pki/");
        certificate(&pki, &ours, "127.0.0.1", 2090);
        std::fs::write(pki.join("node.key"), KeyPair::generate().expect("key").serialize_pem())
            .expect("written");
        finds(&Certificates.look(&ground).await, State::Problem, "do not belong together", "pki/");
        certificate(&pki, &ours, "127.0.0.1", 2090);
        authority(&pki);
        finds(&Certificates.look(&ground).await, State::Problem, "was not signed by", "pki/");
        std::fs::write(pki.join("ca.pem"), "nothing").expect("written");
        finds(&Certificates.look(&ground).await, State::Problem, "ca.pem holds no certificate", "pki/");

        let again = authority(&pki);
        certificate(&pki, &again, "127.0.0.1", 2090);
        ground.limits.certificate = std::time::Duration::from_secs(100 * 365 * 86_400);
        finds(&Certificates.look(&ground).await, State::Warning, "expires in", "pki/");
        ground.node.as_mut().expect("node").insecure_dev = true;
        finds(&Certificates.look(&ground).await, State::Warning, "no TLS", "without --insecure-dev");
    }
}
