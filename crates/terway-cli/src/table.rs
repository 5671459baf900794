//! Aligned columns for people: a head, rows, two spaces between, `-` for nothing.

/// Rows under a head. Every row has as many cells as the head.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head and no rows.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row; empty cells show as `-`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell });
        self.rows.push(shown.collect());
    }

    /// The table as text, without white space at the ends of lines and of the whole.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width_of = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width_of(column).unwrap_or_default()).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// `name  value` lines with the values under each other.
pub(crate) fn properties<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<(&str, String)> = lines.into_iter().collect();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let shown: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<width$}  {value}")).collect();
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(&["ENI", "POD"]);
        table.row(["eni-1".into(), "ns/ä".into()]);
        table.row(["eni-1234".into(), String::new()]);
        assert_snapshot!(table.render(), @r"
        ENI       POD
        eni-1     ns/ä
        eni-1234  -
        ");
        assert!(table.render().lines().all(|line| !line.ends_with(' ')));
    }

    #[test]
    fn an_empty_table_is_its_head() {
        assert_eq!(Table::new(&["A", "B"]).render(), "A  B");
    }

    #[test]
    fn properties_stand_under_each_other() {
        let text = properties([("ready", "yes".to_owned()), ("version", "1".to_owned())]);
        assert_eq!(text, "ready    yes\nversion  1");
    }
}
