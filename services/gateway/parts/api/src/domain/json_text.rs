//! The text of JSON documents that were found to be right: cut into parts without changing a letter of them, so that
//! numbers and spaces of other systems stay as they were sent.

/// The members of an object: name with its quotes, and value. Nothing when the text is no object.
pub fn members(text: &str) -> Vec<(&str, &str)> {
    let parts = inside(text, '{').map_or_else(Vec::new, |inside| cut(inside, ','));
    parts.into_iter().filter_map(|member| at_first(member, ':')).collect()
}

/// The elements of an array. Nothing when the text is no array.
pub fn elements(text: &str) -> Vec<&str> {
    inside(text, '[').map_or_else(Vec::new, |inside| cut(inside, ','))
}

/// How many arrays and objects stand in one another: 0 for a plain value.
pub fn depth(text: &str) -> usize {
    let mut most = 0;
    walk(text, |_, _, level| most = most.max(level));
    most
}

fn inside(text: &str, open: char) -> Option<&str> {
    let close = if open == '{' { '}' } else { ']' };
    Some(text.trim().strip_prefix(open)?.strip_suffix(close)?.trim()).filter(|inside| !inside.is_empty())
}

fn cut(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from) = (Vec::new(), 0);
    walk(text, |at, c, level| {
        if c == separator && level == 0 {
            parts.push(text[from..at].trim());
            from = at + c.len_utf8();
        }
    });
    parts.push(text[from..].trim());
    parts
}

fn at_first(text: &str, separator: char) -> Option<(&str, &str)> {
    let mut place = None;
    walk(text, |at, c, level| {
        if c == separator && level == 0 && place.is_none() {
            place = Some(at);
        }
    });
    place.map(|at| (text[..at].trim(), text[at + separator.len_utf8()..].trim()))
}

/// Tells every character outside of strings, with its place and how deep it stands; brackets stand inside themselves.
fn walk(text: &str, mut told: impl FnMut(usize, char, usize)) {
    let (mut level, mut in_string, mut escaped): (usize, bool, bool) = (0, false, false);
    for (at, c) in text.char_indices() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => in_string = true,
            '{' | '[' => {
                level += 1;
                told(at, c, level);
            }
            '}' | ']' => {
                told(at, c, level);
                level = level.saturating_sub(1);
            }
            _ => told(at, c, level),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_every_letter() {
        let text = r#" { "a" : 1.50e2 , "b\"}" : [ {"x": "},{"} , 2 ], "c":"" } "#;
        let wanted = [("\"a\"", "1.50e2"), (r#""b\"}""#, r#"[ {"x": "},{"} , 2 ]"#), ("\"c\"", "\"\"")];
        assert_eq!(members(text), wanted);
        assert_eq!(elements("[ 1, [2,3], \"a,b\" ]"), ["1", "[2,3]", "\"a,b\""]);
        for nothing in ["[]", "{}", " [ ] ", "7", "\"[1]\""] {
            assert!(elements(nothing).is_empty() && members(nothing).is_empty(), "{nothing}");
        }
        assert_eq!(members(r#"{"a\\":1}"#), [(r#""a\\""#, "1")]);
    }

    #[test]
    fn depth_counts_what_stands_in_one_another() {
        for (text, deep) in
            [("1", 0), ("\"[[\"", 0), ("[]", 1), ("[{},{}]", 2), (r#"{"a":{"b":[1]},"c":[]}"#, 3)]
        {
            assert_eq!(depth(text), deep, "{text}");
        }
    }
}
