//! What a check found.

use serde::Serialize;

/// How it stands with one thing; the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was looked at, and it is well.
    Ok,
    /// It was not looked at: nobody knows.
    Skipped,
    /// It works, and something should be done.
    Warning,
    /// It does not work, or data is at risk.
    Problem,
}

impl State {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it stands.
    pub state: State,
    /// What was found; of a skipped one why it was not looked at.
    pub finding: String,
    /// What to do; "" = nothing.
    pub advice: String,
}

impl Finding {
    /// It is well.
    pub fn ok(finding: impl Into<String>) -> Self {
        Self { state: State::Ok, finding: finding.into(), advice: String::new() }
    }

    /// It was not looked at.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { state: State::Skipped, finding: why.into(), advice: String::new() }
    }

    /// It should be mended.
    pub fn warning(finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Warning, finding: finding.into(), advice: advice.into() }
    }

    /// It has to be mended.
    pub fn problem(finding: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Problem, finding: finding.into(), advice: advice.into() }
    }
}

/// A finding and the check that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the check.
    pub check: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
}
