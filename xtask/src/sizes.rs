//! How long files are: a file is one idea, and a long one deserves a hard look.

use std::path::PathBuf;

/// Above this many lines a file is named in the report.
const HARD_LOOK: usize = 500;

/// One sentence about all files, then one line for each that deserves a look.
pub(crate) fn report(mut files: Vec<(PathBuf, usize)>) -> Vec<String> {
    files.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    let Some((longest, most)) = files.first() else { return Vec::new() };
    let total: usize = files.iter().map(|(_, lines)| lines).sum();
    let median = files[files.len() / 2].1;
    let mut report = vec![format!(
        "{} files, {total} lines; median {median}, longest {most} ({})",
        files.len(),
        longest.display()
    )];
    let long = files.iter().take_while(|(_, lines)| *lines > HARD_LOOK);
    report.extend(long.map(|(path, lines)| format!("hard look: {} has {lines} lines", path.display())));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_named_longest_first() {
        let files = [("a.rs", 10), ("b.rs", 501), ("c.rs", 700), ("d.rs", 20), ("e.rs", 30)];
        let report = report(files.map(|(path, lines)| (path.into(), lines)).into());
        assert_eq!(
            report,
            [
                "5 files, 1261 lines; median 30, longest 700 (c.rs)",
                "hard look: c.rs has 700 lines",
                "hard look: b.rs has 501 lines",
            ]
        );
    }
}
