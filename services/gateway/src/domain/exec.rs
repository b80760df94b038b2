//! Running a program in a guest.

use gateway_api::domain::violation::Violation;

/// Program and arguments together, in bytes.
pub const ARGV_LIMIT: usize = 64 * 1024;
/// What is fed to the program, in bytes.
pub const STDIN_LIMIT: usize = 64 * 1024;
/// Seconds when none are given.
pub const TIMEOUT_DEFAULT_S: u32 = 60;
/// Most seconds.
pub const TIMEOUT_LIMIT_S: u32 = 3600;

/// Checks what should run; answers the time-out in seconds.
pub fn check(argv: &[String], stdin: &[u8], timeout_s: u32) -> Result<u32, Violation> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(Violation::new("argv", "name the program: [\"/bin/uname\", \"-a\"]; there is no shell"));
    }
    if let Some(index) = argv.iter().position(|word| word.contains('\0')) {
        return Err(Violation::new(format!("argv[{index}]"), "an argument cannot hold a NUL byte"));
    }
    let total: usize = argv.iter().map(|word| word.len() + 1).sum();
    if total > ARGV_LIMIT {
        return Err(Violation::new("argv", format!("{total} bytes are too many: at most {ARGV_LIMIT}")));
    }
    if stdin.len() > STDIN_LIMIT {
        return Err(Violation::new(
            "stdin",
            format!("{} bytes are too many: at most {STDIN_LIMIT}", stdin.len()),
        ));
    }
    match timeout_s {
        0 => Ok(TIMEOUT_DEFAULT_S),
        1..=TIMEOUT_LIMIT_S => Ok(timeout_s),
        _ => Err(Violation::new(
            "timeout_s",
            format!("{timeout_s} seconds are too many: at most {TIMEOUT_LIMIT_S}"),
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
        assert_eq!(field(&["echo", &"x".repeat(ARGV_LIMIT)], b"", 0), "argv");
        assert_eq!(field(&["cat"], &vec![0; STDIN_LIMIT + 1], 0), "stdin");
        assert_eq!(field(&["cat"], b"", 3601), "timeout_s");
    }
}
