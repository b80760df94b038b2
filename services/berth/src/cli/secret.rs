//! Asking for secrets: typed without being shown, or from standard input for programs. Never from the command line,
//! where every user of the machine reads them.

use client::{Exit, Failure};
use std::io::BufRead as _;

/// A secret: the next line of standard input, or what is typed after `prompt`.
pub(super) fn ask(prompt: &str, from_stdin: bool) -> Result<String, Failure> {
    let read = match from_stdin {
        true => {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
        }
        false => rpassword::prompt_password(format!("{prompt}: ")),
    };
    let text = read.map_err(|error| {
        Failure::new(Exit::Usage, format!("{prompt} cannot be read: {error}"))
            .hint("without a terminal give it on standard input, with --password-stdin")
    })?;
    match text.is_empty() {
        true => Err(Failure::usage(format!("no {prompt} was given"))),
        false => Ok(text),
    }
}

/// A new password, typed twice unless it comes from standard input.
pub(super) fn ask_new(prompt: &str, from_stdin: bool) -> Result<String, Failure> {
    let first = ask(prompt, from_stdin)?;
    if !from_stdin && ask(&format!("{prompt} once more"), false)? != first {
        return Err(Failure::usage("the two passwords are not the same"));
    }
    Ok(first)
}
