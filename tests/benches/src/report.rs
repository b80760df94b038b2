//! Figures as a table for people, Markdown for the README, JSON for programs.

use crate::figure::{Figure, Judged, Summary, Verdict};
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// The columns.
const HEAD: [&str; 7] = ["figure", "ours", "baseline", "ratio (min .. max)", "floor", "aim", "verdict"];

/// A table as wide as the terminal.
pub fn table(figures: &[Figure]) -> String {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(HEAD);
    for figure in figures {
        table.add_row(row(figure));
    }
    for column in 1..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// A table for a Markdown document.
pub fn markdown(figures: &[Figure]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEAD.map(str::to_owned));
    text.push_str("|---|---:|---:|---:|---:|---:|---|\n");
    for figure in figures {
        text.push_str(&line(&row(figure)));
    }
    text
}

fn row(figure: &Figure) -> [String; 7] {
    let target = &figure.target;
    let line = |value: f64| match target.judged {
        Judged::Ratio => format!("{}x", number(value)),
        Judged::Ours => format!("{}{}", number(value), figure.unit.symbol()),
        Judged::Added => format!("+{}{}", number(value), figure.unit.symbol()),
    };
    let range = |summary: Option<Summary>, unit: &str| {
        summary.map_or("-".to_owned(), |s| {
            format!("{}{unit} ({} .. {})", number(s.median), number(s.min), number(s.max))
        })
    };
    let baseline = figure.of_baseline().map_or("-".to_owned(), |summary| {
        format!("{}{} ({})", number(summary.median), figure.unit.symbol(), figure.baseline)
    });
    let verdict = match figure.verdict() {
        Verdict::AimMet => "aim met",
        Verdict::FloorMet => "floor met",
        Verdict::Missed => "MISSED",
    };
    [
        figure.name.clone(),
        range(figure.ours(), figure.unit.symbol()),
        baseline,
        range(figure.ratio(), "x"),
        line(target.floor),
        line(target.aim),
        verdict.to_owned(),
    ]
}

/// Three digits that matter, thousands apart.
fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let whole = format!("{value:.0}");
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole.as_str()), |digits| ("-", digits));
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 {
                text.push(' ');
            }
            text.push(digit);
        }
        format!("{sign}{text}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Round, Target, Unit};

    fn sample() -> Figure {
        Figure {
            name: "events".into(),
            baseline: "bare publishing".into(),
            unit: Unit::PerSecond,
            target: Target { judged: Judged::Ratio, floor: 0.12, aim: 0.25 },
            rounds: vec![Round { ours: 48_000.4, baseline: Some(240_000.0) }],
        }
    }

    #[test]
    fn numbers_show_what_matters() {
        assert_eq!(
            [0.123, 12.34, 123.4, 1234.5, 1_234_567.0].map(number),
            ["0.12", "12.3", "123", "1 234", "1 234 567"]
        );
    }

    #[test]
    fn a_row_says_ours_the_baseline_and_the_verdict() {
        assert_eq!(
            row(&sample()),
            [
                "events",
                "48 000/s (48 000 .. 48 000)",
                "240 000/s (bare publishing)",
                "0.20x (0.20 .. 0.20)",
                "0.12x",
                "0.25x",
                "floor met"
            ]
        );
        assert!(markdown(&[sample()]).lines().all(|line| line.matches('|').count() == 8));
    }
}
