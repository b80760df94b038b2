//! Rust source without what the compiler does not run: comments, texts, tests.

/// The same lines with comments and the insides of texts blanked, so that line numbers stay right.
pub fn code(source: &str) -> String {
    split(source).0
}

/// The texts in the code (the insides of string literals), with the line each begins on.
pub fn texts(source: &str) -> Vec<(usize, String)> {
    split(source).1
}

/// `code`, and nothing below the first `#[cfg(test)]` that opens a module in the same file.
pub fn production(source: &str) -> String {
    let code = code(source);
    let mut lines = code.lines().peekable();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        let opens_module = |next: &&str| has_word(next, "mod") && next.trim_end().ends_with('{');
        let inline_tests = line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(opens_module);
        if inline_tests {
            break;
        }
        kept.push(line);
    }
    kept.join("\n")
}

/// Whether the file itself is a test: by its folder, or by the names that test modules have here.
pub fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let below = |folder: &str| path.contains(folder);
    below("/tests/")
        || path.starts_with("tests/")
        || path.starts_with("shared/testkit/")
        || matches!(name, "tests.rs" | "properties.rs")
        || name.ends_with("_tests.rs")
}

pub fn lines_with<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.lines().enumerate().filter(move |(_, line)| has_word(line, needle)).map(|(index, _)| index + 1)
}

/// `needle` stands in the line and is not part of a longer name.
pub fn has_word(line: &str, needle: &str) -> bool {
    let name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(needle).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + needle.len()..].chars().next());
        let starts = needle.chars().next();
        let ends = needle.chars().next_back();
        let longer = (name(before) && name(starts)) || (name(after) && name(ends));
        !longer
    })
}

fn split(source: &str) -> (String, Vec<(usize, String)>) {
    let chars: Vec<char> = source.chars().collect();
    let (mut out, mut texts, mut at, mut line) = (String::with_capacity(source.len()), Vec::new(), 0, 1);
    while at < chars.len() {
        let rest = &chars[at..];
        let end = at
            + match rest {
                ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
                ['/', '*', ..] => comment_length(rest),
                _ => match text_length(rest, at.checked_sub(1).map(|before| chars[before])) {
                    Some(length) => {
                        texts.push((line, rest[..length].iter().collect()));
                        length
                    }
                    None => char_length(rest),
                },
            };
        let blank = end - at > 1;
        for c in &chars[at..end] {
            line += usize::from(*c == '\n');
            out.push(if blank && *c != '\n' { ' ' } else { *c });
        }
        at = end;
    }
    (out, texts)
}

fn comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of the string literal that begins here, with its quotes.
fn text_length(rest: &[char], before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let prefix = rest.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    if prefix > 2 {
        return None;
    }
    if rest[..prefix].contains(&'r') {
        let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
        if rest.get(prefix + hashes) != Some(&'"') {
            return None;
        }
        let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let begin = prefix + hashes + 1;
        let length = rest[begin..].windows(close.len()).position(|window| window == close.as_slice());
        return Some(length.map_or(rest.len(), |length| begin + length + close.len()));
    }
    if rest.get(prefix) != Some(&'"') {
        return None;
    }
    let mut at = prefix + 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    Some(rest.len())
}

/// Length of the character literal that begins here; 1 for anything else.
fn char_length(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, after @ ..] => after.iter().position(|c| *c == '\'').map_or(1, |length| length + 4),
        ['\'', inner, '\'', ..] if *inner != '\'' => 3,
        _ => 1,
    }
}

#[test]
fn only_code_is_left() {
    let source = "let a = \"sqlx // no\"; // tokio\n/* rand /* in */ */ let b = r#\"x\"y\"#; let c = '\"'; fn f<'a>() {}\n";
    let left = code(source);
    for gone in ["sqlx", "tokio", "rand", "x\"y"] {
        assert!(!left.contains(gone), "{left}");
    }
    assert!(left.contains("let b =") && left.contains("let c =") && left.contains("fn f<'a>() {}"), "{left}");
    assert_eq!(texts(source).len(), 2);
    assert_eq!(texts("\n\nf(\"a\\\"b\")")[0], (3, "\"a\\\"b\"".to_owned()));
}

#[test]
fn tests_are_not_production() {
    let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n use proptest;\n}\n";
    assert!(!production(source).contains("proptest") && production(source).contains("fn a"));
    assert!(!production("#[cfg(test)]\npub(crate) mod tests {\n use proptest;\n}\n").contains("proptest"));
    assert!(production("#[cfg(test)]\nmod tests;\nfn b() {}\n").contains("fn b"));
    assert!(
        is_test("services/x/src/domain/plan_tests.rs")
            && is_test("shared/bus/tests/a.rs")
            && !is_test("services/x/src/lib.rs")
    );
}

#[test]
fn words_are_whole() {
    assert!(has_word("use rand::x;", "rand") && has_word("a.await;", ".await"));
    assert!(!has_word("operand", "rand") && !has_word("brands", "rand") && !has_word("async_fn", "async"));
}
