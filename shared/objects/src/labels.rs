//! Labels of objects, whatever they are.

use kernel::Refusal;
use std::collections::BTreeMap;

/// The labels after some were added, or given another value, and some taken away. Refused when there would be too many.
pub fn relabelled(
    before: &BTreeMap<String, String>,
    added: BTreeMap<String, String>,
    removed: &[String],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut after = before.clone();
    after.extend(added);
    after.retain(|key, _| !removed.contains(key));
    match kernel::labels::labels(&after) {
        Ok(()) => Ok(after),
        Err((_, why)) => Err(Refusal::new("INVALID", format!("labels: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_not_spoken_of_stays() {
        let before = map(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(relabelled(&before, BTreeMap::new(), &[]), Ok(before.clone()));
        let after =
            relabelled(&before, map(&[("b", "9"), ("d", "4")]), &["a".to_owned(), "nothing".to_owned()]);
        assert_eq!(after, Ok(map(&[("b", "9"), ("c", "3"), ("d", "4")])));
        let many = (0..64).map(|n| (format!("k{n}"), String::new())).collect();
        let refusal = relabelled(&before, many, &[]).expect_err("too many");
        assert!(refusal.message.contains("67 labels"), "{refusal}");
    }
}
