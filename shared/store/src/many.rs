//! Many rows in one statement.

use std::fmt::Write;

/// Rows in one statement at most. Their numbers are powers of two, so that few statements are prepared.
pub const MOST: usize = 64;

/// Cuts rows into parts of which each is one statement.
pub fn parts<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let length = 1 << left.len().clamp(1, MOST).ilog2();
        let (part, rest) = left.split_at_checked(length)?;
        left = rest;
        Some(part)
    })
}

/// "($1, $2), ($3, $4)": places for the values of `rows` rows of `columns` columns.
pub fn places(rows: usize, columns: usize) -> String {
    let mut places = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        places.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let separator = if column == 1 { "" } else { ", " };
            // writing to a string cannot fail
            let _ = write!(places, "{separator}${}", row * columns + column);
        }
        places.push(')');
    }
    places
}

/// "$3, $4, $5": places for `count` values after the first `before`.
pub fn list(before: usize, count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|place| format!("${}", before + place)).collect();
    places.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_part_whose_length_is_a_power_of_two() {
        for count in [0, 1, 2, 3, 63, 64, 65, 200] {
            let rows: Vec<usize> = (0..count).collect();
            let parts: Vec<&[usize]> = parts(&rows).collect();
            assert!(parts.iter().all(|part| part.len().is_power_of_two() && part.len() <= MOST));
            assert_eq!(parts.concat(), rows);
        }
    }

    #[test]
    fn places_are_numbered_through() {
        assert_eq!(places(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(places(1, 1), "($1)");
        assert_eq!(list(1, 2), "$2, $3");
    }
}
