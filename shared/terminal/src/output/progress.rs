//! What happens while a command waits: a moving line on a terminal, plain lines elsewhere, nothing when quiet.

use super::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Progress of one wait, on standard error. Clones show the same.
#[derive(Clone)]
pub struct ProgressLine {
    shown: Shown,
}

#[derive(Clone)]
enum Shown {
    Bar(ProgressBar),
    Lines { last: Arc<Mutex<String>> },
    Nothing,
}

impl ProgressLine {
    /// `quiet` shows nothing.
    pub fn new(quiet: bool) -> Self {
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                bar.enable_steady_tick(Duration::from_millis(120));
                Shown::Bar(bar)
            }
            (false, false) => Shown::Lines { last: Arc::default() },
        };
        Self { shown }
    }

    /// What is being done now. The same words twice are said once.
    pub fn say(&self, text: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.set_message(text.to_owned()),
            Shown::Lines { last } => {
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if *last != text {
                    note(text);
                    text.clone_into(&mut last);
                }
            }
            Shown::Nothing => {}
        }
    }

    /// Something that stays on the screen.
    pub fn line(&self, text: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.println(text),
            Shown::Lines { .. } => note(text),
            Shown::Nothing => {}
        }
    }

    /// From now on `total` bytes are on their way; see [`ProgressLine::moved`].
    pub fn bytes(&self, what: &str, total: u64) {
        match &self.shown {
            Shown::Bar(bar) => {
                let template = "{spinner} {msg} {bytes}/{total_bytes} {binary_bytes_per_sec} {wide_bar}";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_length(total);
                bar.set_position(0);
                bar.set_message(what.to_owned());
            }
            Shown::Lines { .. } => note(&format!("{what} ({})", super::bytes(total))),
            Shown::Nothing => {}
        }
    }

    /// So many bytes are through.
    pub fn moved(&self, position: u64) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_position(position);
        }
    }

    /// Back to words after [`ProgressLine::bytes`].
    pub fn words(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_style(ProgressStyle::default_spinner());
        }
    }

    /// Takes the moving line away.
    pub fn done(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
