//! How each user of a broker comes in: where it is, and the passwords of its users in a folder, a file each.

use super::broker_users::{self, OPERATOR, SETUP};
use super::services::SERVICES;
use anyhow::{Context, bail};
use bus::BusSettings;
use chassis::private_file;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A broker, with users or without.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    at: BusSettings,
    passwords: Option<PathBuf>,
}

impl Access {
    /// A broker that has users, whose passwords are in this folder.
    pub fn with_users(at: BusSettings, passwords: PathBuf) -> Self {
        Self { at, passwords: Some(passwords) }
    }

    /// A broker that takes everybody, or a URL that says who comes.
    pub fn without_users(at: BusSettings) -> Self {
        Self { at, passwords: None }
    }

    /// It tells services apart.
    pub fn has_users(&self) -> bool {
        self.passwords.is_some()
    }

    /// Settings for connections of one user.
    pub fn of(&self, user: &str) -> BusSettings {
        let Some(passwords) = &self.passwords else { return self.at.clone() };
        BusSettings {
            user: user.to_owned(),
            password_file: passwords.join(user).display().to_string(),
            makes_streams: user == SETUP,
            ..self.at.clone()
        }
    }

    /// For who makes streams.
    pub fn setup(&self) -> BusSettings {
        self.of(SETUP)
    }

    /// For who looks.
    pub fn operator(&self) -> BusSettings {
        self.of(OPERATOR)
    }
}

/// The password of a user, made when there is none: for its owner only, and the same at every start.
fn password(folder: &Path, user: &str) -> anyhow::Result<String> {
    let file = folder.join(user);
    let place = || format!("the password {} of a user of the broker", file.display());
    let text = private_file::read_or_make(&file, || hex::encode(rand::random::<[u8; 24]>()));
    let text = text.with_context(place)?;
    if text.trim().is_empty() {
        bail!("{} is empty: remove it, and a new one is made", place());
    }
    Ok(text.trim().to_owned())
}

/// The password of each user.
pub(crate) fn secrets(folder: &Path) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let users = broker_users::users(&SERVICES);
    users.iter().map(|user| Ok((user.name, password(folder, user.name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_cannot_be_read_is_not_made_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let made = password(folder.path(), "x").expect("made");
        assert_eq!(password(folder.path(), "x").expect("read"), made);
        for garbled in [&b""[..], b"\xff\xfe"] {
            std::fs::write(folder.path().join("x"), garbled).expect("written");
            password(folder.path(), "x").expect_err("refused");
            assert_eq!(std::fs::read(folder.path().join("x")).expect("as it was"), garbled);
        }
    }

    #[test]
    fn only_the_user_for_it_makes_streams_where_there_are_users() {
        let at = BusSettings::default();
        let access = Access::with_users(at.clone(), "/p".into());
        assert!(access.setup().makes_streams && !access.operator().makes_streams);
        assert_eq!(access.of("storage").password_file, "/p/storage");
        assert!(Access::without_users(at).of("storage").makes_streams);
    }
}
