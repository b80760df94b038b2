//! Whether a text that somebody else will read is YAML.

use serde::de::IgnoredAny;

/// What is wrong with it, with line and column; `None`: it is one document. What the document says is not looked at.
pub fn problem(text: &str) -> Option<String> {
    // nothing but comments is an empty document
    let says_nothing = text.lines().all(|line| line.trim().is_empty() || line.starts_with('#'));
    if says_nothing {
        return None;
    }
    serde_norway::from_str::<IgnoredAny>(text).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_yaml_says_where() {
        let problem = problem("a: 1\n  b: 2\n").expect("a problem");
        assert!(problem.contains("line 2"), "{problem}");
    }

    #[test]
    fn yaml_of_any_shape_is_fine() {
        for fine in
            ["", "# nothing\n", "a: [1, 2]\n", "- x\n- {y: z}\n", "text\n", "a: 1\na: 2\n", "x: !y z\n"]
        {
            assert_eq!(problem(fine), None, "{fine:?}");
        }
    }
}
