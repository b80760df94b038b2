//! Tables without lines, so that `grep`, `cut` and people can read them.

use comfy_table::{Cell, ContentArrangement, presets};

/// A table under construction.
pub struct Table {
    inner: comfy_table::Table,
    empty: String,
    rows: usize,
}

impl Table {
    /// A table with these column titles; `empty` is the sentence printed instead of a table without rows.
    pub fn new<const N: usize>(titles: [&str; N], empty: &str) -> Self {
        Self::of(&titles, empty)
    }

    /// The same with as many columns as are known only when the program runs.
    pub fn of(titles: &[&str], empty: &str) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        inner.set_header(titles.iter().map(|title| Cell::new(title.to_uppercase())).collect::<Vec<_>>());
        Self { inner, empty: empty.to_owned(), rows: 0 }
    }

    /// Adds a row. Control characters in what others chose never reach the terminal.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.row_of(&cells);
    }

    /// The same for a table of [`Table::of`].
    pub fn row_of(&mut self, cells: &[String]) {
        self.rows += 1;
        self.inner.add_row(cells.iter().map(|text| Cell::new(tame(text))).collect::<Vec<_>>());
    }

    /// The table, with a newline at its end.
    pub fn render(mut self) -> String {
        if self.rows == 0 {
            return format!("{}\n", self.empty);
        }
        for column in self.inner.column_iter_mut() {
            column.set_padding((0, 3));
        }
        let lines: Vec<String> = self.inner.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n") + "\n"
    }
}

/// "name  value" lines with aligned values; fields without a value are left out.
pub fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    lines_of(&fields)
}

/// The same for as many as are known only when the program runs.
pub fn lines_of(fields: &[(&str, String)]) -> String {
    let width =
        fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let mut lines = value.lines();
        text += &format!("{name:width$}   {}\n", tame(lines.next().unwrap_or_default()));
        for line in lines {
            text += &format!("{:width$}   {}\n", "", tame(line));
        }
    }
    text
}

fn tame(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_lines() {
        let mut table = Table::new(["name", "phase"], "nothing here");
        table.row(["web-1".into(), "ready".into()]);
        table.row(["a-longer-name".into(), String::new()]);
        assert_eq!(table.render(), "NAME            PHASE\nweb-1           ready\na-longer-name   -\n");
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(Table::new(["name"], "no instances").render(), "no instances\n");
    }

    #[test]
    fn names_cannot_drive_the_terminal() {
        let mut table = Table::new(["name"], "");
        table.row(["evil\x1b[2J\nrow".into()]);
        let text = table.render();
        assert!(!text.contains('\x1b') && text.lines().count() == 2, "{text:?}");
        assert!(!fields([("name", "x\x1b[2J".into())]).contains('\x1b'));
    }

    #[test]
    fn fields_without_a_value_are_left_out() {
        let text =
            fields([("name", "web".into()), ("refusal", String::new()), ("labels", "a=1\nb=2".into())]);
        assert_eq!(text, "name     web\nlabels   a=1\n         b=2\n");
    }
}
