//! Pages of a list: how long they are and where the next begins.

use super::violation::Violation;
use kernel::limits::PAGE;

/// Length of a page when none is given.
pub const DEFAULT: u32 = 100;
/// Longest page token, in characters.
const TOKEN_LIMIT: usize = 512;

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// 1 to [`PAGE`] rows.
    pub size: u32,
    /// The key of the last row of the page before; empty = from the first.
    pub after: Vec<String>,
}

impl Page {
    /// Reads what a request says: 0 = default size, "" = first page. A token names `parts` columns.
    pub fn read(size: u32, token: &str, parts: usize) -> Result<Self, Violation> {
        let size = match size {
            0 => DEFAULT,
            1..=PAGE => size,
            _ => return Err(Violation::new("page_size", format!("{size} is too many: at most {PAGE}"))),
        };
        if token.is_empty() {
            return Ok(Self { size, after: Vec::new() });
        }
        let wrong = || Violation::new("page_token", "this is not a token from the page before");
        if token.len() > TOKEN_LIMIT || !token.len().is_multiple_of(2) || !token.is_ascii() {
            return Err(wrong());
        }
        let bytes: Option<Vec<u8>> =
            (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16).ok()).collect();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
        let after: Vec<String> = text.split('\0').map(str::to_owned).collect();
        if after.len() != parts {
            return Err(wrong());
        }
        Ok(Self { size, after })
    }

    /// The same for one of many lists, told apart by what is said of them: a token of another list is refused.
    pub fn of(list: &str, size: u32, token: &str, parts: usize) -> Result<Self, Violation> {
        let mut page = Self::read(size, token, parts + 1)?;
        if page.after.is_empty() {
            return Ok(page);
        }
        if page.after.remove(0) == mark(list) {
            return Ok(page);
        }
        let text = "this token is of a list with another filter, order or labels: begin again without it";
        Err(Violation::new("page_token", text))
    }

    /// The token of the page of such a list that begins after these columns.
    pub fn token(list: &str, after: impl IntoIterator<Item = String>) -> String {
        token(&std::iter::once(mark(list)).chain(after).collect::<Vec<_>>())
    }

    /// Rows to ask the database for: one more than a page, to see whether there is another.
    pub fn probe(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Cuts what [`Page::probe`] fetched to the page and answers it with the token of the next one.
    pub fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> Vec<String>) -> (Vec<T>, String) {
        let size = self.size as usize;
        if rows.len() <= size {
            return (rows, String::new());
        }
        rows.truncate(size);
        let token = rows.last().map(|row| token(&key(row))).unwrap_or_default();
        (rows, token)
    }
}

/// Short, and another one for another list: FNV-1a of 64 bits, the same on every replica.
fn mark(list: &str) -> String {
    let hash = list.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Opaque to callers: the columns in hex, so that it needs no escaping in a URL.
fn token(columns: &[String]) -> String {
    columns.join("\0").bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_has_a_size() {
        assert_eq!(Page::read(0, "", 1), Ok(Page { size: 100, after: vec![] }));
        assert_eq!(Page::read(1000, "", 1).map(|p| p.size), Ok(1000));
        assert_eq!(Page::read(1001, "", 1).expect_err("too long").field, "page_size");
    }

    #[test]
    fn the_last_page_has_no_token() {
        let page = Page::read(2, "", 1).expect("page");
        let key = |row: &&str| vec![(*row).to_owned()];
        assert_eq!(page.cut(vec!["a", "b"], key), (vec!["a", "b"], String::new()));
        let (rows, next) = page.cut(vec!["a", "b", "c"], key);
        assert_eq!(rows, ["a", "b"]);
        assert_eq!(Page::read(2, &next, 1).expect("own token").after, ["b"]);
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let next = Page::token("this", ["a".to_owned(), "b".to_owned()]);
        assert_eq!(Page::of("this", 0, &next, 2).map(|p| p.after), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(Page::of("this", 0, "", 2).map(|p| p.after), Ok(vec![]));
        let other = Page::of("that", 0, &next, 2).expect_err("another list");
        assert!(other.field == "page_token" && other.message.contains("another filter"), "{other}");
    }

    proptest! {
        #[test]
        fn a_foreign_token_is_refused_and_never_panics(token in "\\PC{0,40}") {
            if let Ok(page) = Page::read(0, &token, 2) {
                prop_assert!(page.after.is_empty() || page.after.len() == 2);
            }
        }

        #[test]
        fn what_is_written_is_read_back(first in "[^\0]{0,40}", second in "[^\0]{0,40}") {
            let columns = vec![first, second];
            let token = token(&columns);
            if token.len() <= TOKEN_LIMIT {
                prop_assert_eq!(Page::read(0, &token, 2).map(|p| p.after), Ok(columns));
            }
        }
    }
}
