//! The NoCloud seed: a small vfat volume labelled CIDATA that cloud-init reads at the first boot.
//!
//! Every text in the documents is quoted as JSON, which YAML reads the same way: what a tenant gives cannot change
//! their structure.
//! Format: cloud-init's documentation, "NoCloud" datasource.

use std::io::{Cursor, Write};

const SMALLEST_VOLUME: usize = 1 << 20;
const LABEL: [u8; 11] = *b"CIDATA     ";

/// What the guest is told at its first boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed<'s> {
    /// cloud-init runs its first-boot modules once for each id.
    pub instance_id: String,
    /// The name the guest gives itself.
    pub hostname: &'s str,
    /// Keys that may log in.
    pub ssh_authorized_keys: &'s [String],
    /// cloud-config, script, MIME or gzip as the tenant gave it.
    pub user_data: Option<&'s [u8]>,
}

impl Seed<'_> {
    /// meta-data: the keys are here as well, so that they hold whatever the tenant's user-data says.
    fn meta_data(&self) -> Vec<u8> {
        let mut text = format!(
            "instance-id: {}\nlocal-hostname: {}\n",
            quoted(&self.instance_id),
            quoted(self.hostname)
        );
        text.push_str(&list("public-keys", self.ssh_authorized_keys));
        text.into_bytes()
    }

    fn user_data(&self) -> Vec<u8> {
        if let Some(given) = self.user_data {
            return given.to_vec();
        }
        let mut text = format!("#cloud-config\nhostname: {}\n", quoted(self.hostname));
        text.push_str(&list("ssh_authorized_keys", self.ssh_authorized_keys));
        text.into_bytes()
    }

    /// The bytes of the volume. There is no vendor-data in it: it may be left out, and cloud-init calls itself degraded over
    /// one that holds no settings.
    pub fn image(&self) -> std::io::Result<Vec<u8>> {
        let files = [("meta-data", self.meta_data()), ("user-data", self.user_data())];
        let content: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
        let size = (SMALLEST_VOLUME + 2 * content).next_multiple_of(SMALLEST_VOLUME);
        let mut volume = Cursor::new(vec![0u8; size]);
        fatfs::format_volume(&mut volume, fatfs::FormatVolumeOptions::new().volume_label(LABEL))?;
        {
            let filesystem = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new())?;
            let root = filesystem.root_dir();
            for (name, bytes) in &files {
                let mut file = root.create_file(name)?;
                file.write_all(bytes)?;
                file.flush()?;
            }
            drop(root);
            filesystem.unmount()?;
        }
        Ok(volume.into_inner())
    }
}

/// A string as JSON writes it: in YAML the same string, in double quotes, on one line.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(name: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let lines: String = items.iter().map(|item| format!("  - {}\n", quoted(item))).collect();
    format!("{name}:\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn read(image: Vec<u8>, name: &str) -> String {
        let filesystem =
            fatfs::FileSystem::new(Cursor::new(image), fatfs::FsOptions::new()).expect("a volume");
        assert_eq!(filesystem.volume_label(), "CIDATA");
        let mut text = String::new();
        filesystem.root_dir().open_file(name).expect(name).read_to_string(&mut text).expect("utf-8");
        text
    }

    fn seed<'s>(keys: &'s [String], user_data: Option<&'s [u8]>) -> Seed<'s> {
        Seed { instance_id: "i-1".into(), hostname: "web-1", ssh_authorized_keys: keys, user_data }
    }

    #[test]
    fn a_generated_seed_carries_name_and_keys() {
        let keys = ["ssh-ed25519 AAAA \"quoted\": {evil}\nroot: true".to_owned()];
        let image = seed(&keys, None).image().expect("an image");
        let meta: serde_json::Value =
            serde_norway::from_str(&read(image.clone(), "meta-data")).expect("yaml");
        assert_eq!(meta["local-hostname"], "web-1");
        assert_eq!(meta["public-keys"][0], keys[0].as_str(), "a key is data, whatever it holds");
        let user = read(image, "user-data");
        assert!(user.starts_with("#cloud-config\n"), "{user}");
        let config: serde_json::Value = serde_norway::from_str(&user).expect("yaml");
        assert_eq!(config["ssh_authorized_keys"][0], keys[0].as_str());
    }

    #[test]
    fn every_document_in_a_seed_says_something() {
        let image = seed(&[], None).image().expect("an image");
        let volume = fatfs::FileSystem::new(Cursor::new(image.clone()), fatfs::FsOptions::new());
        let volume = volume.expect("a volume");
        let names: Vec<String> =
            volume.root_dir().iter().map(|entry| entry.expect("readable").file_name()).collect();
        assert_eq!(names, ["meta-data", "user-data"], "what may be left out is left out");
        for name in names {
            let document: serde_json::Value =
                serde_norway::from_str(&read(image.clone(), &name)).expect("yaml");
            assert!(document.as_object().is_some_and(|settings| !settings.is_empty()), "{name}: {document}");
        }
    }

    #[test]
    fn what_the_tenant_gives_is_handed_on_as_it_is() {
        let script = [b"#!/bin/sh\n".to_vec(), vec![b'x'; 2_000_000]].concat();
        let image = seed(&[], Some(&script)).image().expect("an image");
        assert!(image.len() > script.len());
        assert_eq!(read(image, "user-data").as_bytes(), script);
    }
}
