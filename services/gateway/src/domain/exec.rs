//! Running a program in a guest.

use gateway_api::domain::violation::Violation;
use kernel::limits::{EXEC_ARGV, EXEC_STDIN, EXEC_TIMEOUT_DEFAULT_S, EXEC_TIMEOUT_S};

/// Checks what should run; answers the time-out in seconds.
pub fn check(argv: &[String], stdin: &[u8], timeout_s: u32) -> Result<u32, Violation> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(Violation::new("argv", "name the program: [\"/bin/uname\", \"-a\"]; there is no shell"));
    }
    if let Some(index) = argv.iter().position(|word| word.contains('\0')) {
        return Err(Violation::new(format!("argv[{index}]"), "an argument cannot hold a NUL byte"));
    }
    let total: usize = argv.iter().map(|word| word.len() + 1).sum();
    let too_many = |field, bytes: usize, limit: kernel::Bytes| {
        Err(Violation::new(field, format!("{bytes} bytes are too many: at most {limit}")))
    };
    if total > EXEC_ARGV.length() {
        return too_many("argv", total, EXEC_ARGV);
    }
    if stdin.len() > EXEC_STDIN.length() {
        return too_many("stdin", stdin.len(), EXEC_STDIN);
    }
    match timeout_s {
        0 => Ok(EXEC_TIMEOUT_DEFAULT_S),
        1..=EXEC_TIMEOUT_S => Ok(timeout_s),
        _ => Err(Violation::new(
            "timeout_s",
            format!("{timeout_s} seconds are too many: at most {EXEC_TIMEOUT_S}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_default_time_is_filled_in() {
        assert_eq!(check(&argv(&["true"]), b"", 0), Ok(60));
        assert_eq!(check(&argv(&["true"]), b"", 3600), Ok(3600));
    }

    #[test]
    fn what_cannot_run_is_named() {
        let field = |words: &[&str], stdin: &[u8], timeout| {
            check(&argv(words), stdin, timeout).expect_err("wrong").field
        };
        assert_eq!(field(&[], b"", 0), "argv");
        assert_eq!(field(&[""], b"", 0), "argv");
        assert_eq!(field(&["echo", "a\0b"], b"", 0), "argv[1]");
        assert_eq!(field(&["echo", &"x".repeat(EXEC_ARGV.length())], b"", 0), "argv");
        assert_eq!(field(&["cat"], &vec![0; EXEC_STDIN.length() + 1], 0), "stdin");
        assert_eq!(field(&["cat"], b"", 3601), "timeout_s");
    }
}
