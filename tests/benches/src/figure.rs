//! A measured figure with its target.

use serde::Serialize;

/// What numbers of a figure count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things per second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Mebibytes.
    Mebibytes,
}

impl Unit {
    /// As it stands behind a number.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Milliseconds => " ms",
            Self::Seconds => " s",
            Self::Mebibytes => " MiB",
        }
    }
}

/// Which number is held against the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// Ours divided by the baseline.
    Ratio,
    /// Ours alone, in the figure's unit.
    Ours,
    /// Ours less the baseline, in the figure's unit.
    Added,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Target {
    /// Which number.
    pub judged: Judged,
    /// Below (or above, when less is better) this something is wrong.
    pub floor: f64,
    /// What we want.
    pub aim: f64,
}

impl Target {
    /// Whether more is better: an aim above its floor says so.
    pub fn more_is_better(&self) -> bool {
        self.aim > self.floor
    }

    fn reaches(&self, value: f64, line: f64) -> bool {
        if self.more_is_better() { value >= line } else { value <= line }
    }

    /// How a value stands against the target.
    pub fn verdict(&self, value: f64) -> Verdict {
        if self.reaches(value, self.aim) {
            Verdict::AimMet
        } else if self.reaches(value, self.floor) {
            Verdict::FloorMet
        } else {
            Verdict::Missed
        }
    }
}

/// How a figure stands against its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As good as we want it.
    AimMet,
    /// Good enough.
    FloorMet,
    /// Not good enough.
    Missed,
}

/// One round: ours and the baseline, run one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Round {
    /// What Berth did.
    pub ours: f64,
    /// What the bare thing did, in the same unit; none where nothing can be compared.
    pub baseline: Option<f64>,
}

/// Median and range of some rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The middle value; of an even count the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Summary {
    /// Of these values; none of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, min, max })
    }
}

/// A measured figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Against what.
    pub baseline: String,
    /// What its numbers count.
    pub unit: Unit,
    /// What it should be.
    pub target: Target,
    /// Every round.
    pub rounds: Vec<Round>,
}

impl Figure {
    /// Ours over the rounds.
    pub fn ours(&self) -> Option<Summary> {
        Summary::of(self.rounds.iter().map(|round| round.ours))
    }

    /// The baseline over the rounds.
    pub fn of_baseline(&self) -> Option<Summary> {
        Summary::of(self.rounds.iter().filter_map(|round| round.baseline))
    }

    /// Ours divided by the baseline, round by round.
    pub fn ratio(&self) -> Option<Summary> {
        Summary::of(self.rounds.iter().filter_map(|round| Some(round.ours / round.baseline?)))
    }

    /// The number that is held against the target.
    pub fn judged(&self) -> Option<Summary> {
        match self.target.judged {
            Judged::Ratio => self.ratio(),
            Judged::Ours => self.ours(),
            Judged::Added => {
                Summary::of(self.rounds.iter().filter_map(|round| Some(round.ours - round.baseline?)))
            }
        }
    }

    /// How its median stands; a figure without rounds is missed.
    pub fn verdict(&self) -> Verdict {
        self.judged().map_or(Verdict::Missed, |summary| self.target.verdict(summary.median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(target: Target, rounds: &[(f64, f64)]) -> Figure {
        let rounds =
            rounds.iter().map(|&(ours, baseline)| Round { ours, baseline: Some(baseline) }).collect();
        Figure { name: "a".into(), baseline: "b".into(), unit: Unit::PerSecond, target, rounds }
    }

    #[test]
    fn medians_are_the_middle_and_nothing_has_none() {
        assert_eq!(Summary::of([3.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Summary::of([4.0, 1.0, 2.0, 3.0]).map(|s| s.median), Some(2.5));
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn ratios_are_of_rounds_not_of_medians() {
        let target = Target { judged: Judged::Ratio, floor: 0.1, aim: 0.5 };
        // the machine slowed down in the second round: ours and the baseline alike
        let figure = figure(target, &[(50.0, 100.0), (5.0, 10.0), (500.0, 1000.0)]);
        assert_eq!(figure.ratio(), Some(Summary { median: 0.5, min: 0.5, max: 0.5 }));
        assert_eq!(figure.verdict(), Verdict::AimMet);
    }

    #[test]
    fn verdicts_know_which_way_is_better() {
        let more = Target { judged: Judged::Ours, floor: 10.0, aim: 20.0 };
        assert_eq!(
            [9.0, 10.0, 20.0].map(|v| more.verdict(v)),
            [Verdict::Missed, Verdict::FloorMet, Verdict::AimMet]
        );
        let less = Target { judged: Judged::Added, floor: 150.0, aim: 30.0 };
        assert_eq!(
            [151.0, 150.0, 30.0].map(|v| less.verdict(v)),
            [Verdict::Missed, Verdict::FloorMet, Verdict::AimMet]
        );
        assert_eq!(figure(more, &[]).verdict(), Verdict::Missed);
    }
}
