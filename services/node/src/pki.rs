//! The node's own certificate authority: made at first start, so that nothing has to listen without TLS.

use anyhow::{Context, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The files a TLS server and its clients need.
#[derive(Debug, Clone)]
pub(super) struct Pki {
    /// Certificate of the authority: what clients trust.
    pub ca: PathBuf,
    /// Certificate of the servers on this node.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The certificate that clients of the node trust, when the node has one.
pub(super) fn authority(folder: &Path) -> Option<PathBuf> {
    Some(folder.join("ca.pem")).filter(|path| path.exists())
}

/// The certificates of a node that was up before, when it has any.
pub(super) fn existing(folder: &Path) -> anyhow::Result<Option<Pki>> {
    let pki = Pki::of(folder);
    Ok(pki.is_whole()?.then_some(pki))
}

impl Pki {
    fn of(folder: &Path) -> Self {
        Self { ca: folder.join("ca.pem"), certificate: folder.join("node.pem"), key: folder.join("node.key") }
    }

    /// All files are there; false: none is. Clients trust what was made once: some of it is not made anew over the rest.
    fn is_whole(&self) -> anyhow::Result<bool> {
        let mut missing = Vec::new();
        for file in [&self.ca, &self.certificate, &self.key] {
            if !file.try_exists().with_context(|| format!("looking for {}", file.display()))? {
                missing.push(file);
            }
        }
        match missing.as_slice() {
            [] => Ok(true),
            [_, _, _] => Ok(false),
            [first, ..] => bail!(
                "{} is missing and the other files of the node's certificates are there: put it back, or move the others \
                 away to make new ones, which clients then have to be told of",
                first.display()
            ),
        }
    }

    /// Reads the files in `folder`, or makes them for a server that is reached at `addresses`.
    pub fn ensure(folder: &Path, addresses: &[IpAddr]) -> anyhow::Result<Self> {
        let pki = Self::of(folder);
        if pki.is_whole()? {
            return Ok(pki);
        }
        let place = || format!("making {}", folder.display());
        std::fs::create_dir_all(folder).with_context(place)?;
        let beside = folder.parent().unwrap_or(folder);
        let unfinished =
            tempfile::Builder::new().prefix("pki-new-").tempdir_in(beside).with_context(place)?;
        Self::of(unfinished.path()).make(addresses)?;
        // all of them appear at once, in the place of the empty folder: a process that is killed here leaves none
        std::fs::rename(unfinished.path(), folder).with_context(place)?;
        let _gone = unfinished.keep();
        Ok(pki)
    }

    fn make(&self, addresses: &[IpAddr]) -> anyhow::Result<()> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name.push(DnType::CommonName, "Berth node authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.not_before = date_time_ymd(2024, 1, 1);
        authority.not_after = date_time_ymd(2054, 1, 1);
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(addresses.iter().filter(|a| !a.is_unspecified()).map(ToString::to_string));
        if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            names.push(host.trim().to_owned());
        }
        names.sort();
        names.dedup();
        let key = KeyPair::generate()?;
        let mut node = CertificateParams::new(names)?;
        node.distinguished_name.push(DnType::CommonName, "Berth node");
        node.not_before = date_time_ymd(2024, 1, 1);
        node.not_after = date_time_ymd(2054, 1, 1);
        let certificate = node.signed_by(&key, &issuer)?;

        write(&self.ca, &authority_certificate.pem(), 0o644)?;
        write(&self.key, &key.serialize_pem(), 0o600)?;
        // the authority's key is not kept: it signed what it was made for, and cannot be stolen
        write(&self.certificate, &certificate.pem(), 0o644)
    }
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("writing {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_made_once_and_the_key_is_private() {
        let data = tempfile::tempdir().expect("folder");
        let folder = data.path().join("pki");
        let address: IpAddr = "192.0.2.7".parse().expect("address");
        let first = Pki::ensure(&folder, &[address]).expect("made");
        let ca = std::fs::read_to_string(&first.ca).expect("read");
        assert_eq!(std::fs::metadata(&first.key).expect("key").permissions().mode() & 0o777, 0o600);
        let again = Pki::ensure(&folder, &[]).expect("read");
        assert_eq!(std::fs::read_to_string(&again.ca).expect("read"), ca);
    }

    #[test]
    fn what_is_missing_is_not_made_anew_over_the_rest() {
        let data = tempfile::tempdir().expect("folder");
        let folder = data.path().join("pki");
        let pki = Pki::ensure(&folder, &[]).expect("made");
        let key = std::fs::read(&pki.key).expect("read");
        for file in [&pki.ca, &pki.certificate] {
            let aside = file.with_extension("aside");
            std::fs::rename(file, &aside).expect("moved");
            let error = Pki::ensure(&folder, &[]).expect_err("refused").to_string();
            assert!(error.contains("is missing"), "{error}");
            assert!(existing(&folder).is_err());
            std::fs::rename(&aside, file).expect("put back");
        }
        assert_eq!(std::fs::read(&pki.key).expect("read"), key);
        assert!(existing(&folder).expect("whole").is_some());
        assert_eq!(std::fs::read_dir(data.path()).expect("read").count(), 1, "nothing half-made is left");
    }
}
