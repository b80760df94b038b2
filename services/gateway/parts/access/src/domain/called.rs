//! What people of an identity provider are called here.
//!
//! The rule, of which the README tells:
//! 1. a name that a user may have here is kept: "ann";
//! 2. of any other what stands before the first '@' counts, in lower case (ASCII), with one '-' for whatever stands between
//!    letters (a to z) and digits: "Ann.Smith@example.com" is "ann-smith";
//! 3. one that does not begin with a letter then gets "u-" before it ("007" is "u-007"), one of which nothing is left is
//!    "user", and a long one is cut after [`KEPT`] bytes.
//!
//! Different names may become one by 2 and 3: who comes second has a mark of their own behind it ([`marked`]). Whom a name
//! leads to is decided once, when they first come; from then on their issuer and subject say who they are.

use gateway_api::domain::names;
use gateway_api::domain::violation::excerpt;
use kernel::names::NAME_LIMIT;

/// Digits of a mark.
pub const MARK: usize = 8;
/// Bytes that are kept of a name: behind them there is room for a mark.
const KEPT: usize = NAME_LIMIT - 1 - MARK;
/// Longest name, or subject, at a provider (OpenID Connect Core, section 2, says so of subjects), in bytes.
pub const SAID_LIMIT: usize = 255;

/// What a provider calls somebody, and what that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The name of a user: "ann-smith".
    pub name: String,
    /// What was said: "Ann.Smith@example.com".
    pub said: String,
}

impl Called {
    /// Reads what a provider says. The error says what is wrong with it.
    pub fn read(said: &str) -> Result<Self, String> {
        said_by_a_provider(said)?;
        let name = if names::instance("name", said).is_ok() { said.to_owned() } else { plain(said) };
        Ok(Self { name, said: said.to_owned() })
    }

    /// The name is the very one that the provider said.
    pub fn is_exact(&self) -> bool {
        self.name == self.said
    }
}

/// A text of a provider that stands for somebody: not empty, not too long, and nothing that no table takes.
pub fn said_by_a_provider(text: &str) -> Result<(), String> {
    if (1..=SAID_LIMIT).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "{:?} stands for nobody: expected 1 to {SAID_LIMIT} bytes without control characters",
        excerpt(text, 80)
    ))
}

/// The name with the mark of whom it is behind it: [`MARK`] digits of something that is theirs alone.
pub fn marked(name: &str, mark: &str) -> String {
    let kept = name.get(..KEPT).unwrap_or(name).trim_end_matches('-');
    format!("{kept}-{}", mark.get(..MARK).unwrap_or(mark))
}

fn plain(said: &str) -> String {
    let before = said.split('@').next().unwrap_or_default().to_ascii_lowercase();
    let words: Vec<&str> = before
        .split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit())
        .filter(|word| !word.is_empty())
        .collect();
    let joined = words.join("-");
    let name = match joined.chars().next() {
        None => "user".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("u-{joined}"),
        Some(_) => joined,
    };
    // all of it is ASCII
    name.get(..KEPT).unwrap_or(&name).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(said: &str) -> String {
        Called::read(said).expect(said).name
    }

    #[test]
    fn names_from_elsewhere_are_names_here() {
        for (said, here) in [
            ("ann", "ann"),
            ("ann-smith", "ann-smith"),
            ("ann.smith", "ann-smith"),
            ("Ann.Smith@Example.COM", "ann-smith"),
            ("ann@example.com", "ann"),
            ("ANN", "ann"),
            ("ann_smith__jr.", "ann-smith-jr"),
            ("DOMAIN\\ann", "domain-ann"),
            ("007", "u-007"),
            ("12345@example.com", "u-12345"),
            ("Jürgen Müller", "j-rgen-m-ller"),
            ("李明", "user"),
            ("@example.com", "user"),
            ("-", "user"),
        ] {
            assert_eq!(name(said), here, "{said}");
            assert_eq!(Called::read(said).expect(said).is_exact(), said == here, "{said}");
        }
        for wrong in ["", "ann\0", "two\nlines", &"x".repeat(256)] {
            assert!(Called::read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_comes_second_has_a_mark_and_the_name_stays_one() {
        let mark = "5f3c9a1b77";
        assert_eq!(marked("ann", mark), "ann-5f3c9a1b");
        // also behind a name that the provider said itself, as long as names may be
        let longest = marked(&"a".repeat(63), mark);
        assert!(longest.len() <= 63 && longest.ends_with("a-5f3c9a1b"), "{longest}");
    }

    proptest! {
        #[test]
        fn whatever_is_said_becomes_a_name_with_room_for_a_mark(said in "\\PC{1,60}") {
            let called = Called::read(&said).expect("no control characters");
            prop_assert!(names::instance("name", &called.name).is_ok(), "{called:?}");
            prop_assert!(names::instance("name", &marked(&called.name, "00ff00ff")).is_ok(), "{called:?}");
            // the same every time
            prop_assert_eq!(Called::read(&said).map(|again| again.name), Ok(called.name));
        }
    }
}
