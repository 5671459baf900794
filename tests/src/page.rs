//! Pages of the project with places that a program fills in: between two markers, which stay.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Puts a text between the markers `<!-- NAME -->` and `<!-- end of NAME -->` of a page.
pub fn fill(page: &Path, name: &str, text: &str) -> Result<()> {
    let old = fs::read_to_string(page).with_context(|| format!("failed to read {}", page.display()))?;
    let Some(new) = filled(&old, name, text) else {
        bail!("{} has no place marked for {name}: <!-- {name} -->", page.display());
    };
    fs::write(page, new).with_context(|| format!("failed to write {}", page.display()))
}

/// The page with the text in its place; none if there is no such place.
fn filled(page: &str, name: &str, text: &str) -> Option<String> {
    let [begin, end] = [format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->")];
    let (head, rest) = page.split_once(&begin)?;
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}{begin}{text}{end}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_filled_again_and_again_and_nothing_else_is_touched() {
        let page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n<!-- y -->\n<!-- end of y -->\n";
        let once = filled(page, "x", "new\n").expect("a place");
        assert_eq!(once, page.replace("old", "new"));
        assert_eq!(filled(&once, "x", "new\n"), Some(once.clone()));
        assert_eq!(filled(&once, "y", "z\n"), Some(once.replace("<!-- y -->\n", "<!-- y -->\nz\n")));
    }

    #[test]
    fn a_page_without_the_place_is_left_alone() {
        let page = std::env::temp_dir().join(format!("terway-page-{}", std::process::id()));
        for text in ["a page", "<!-- x -->\nno end"] {
            fs::write(&page, text).expect("a page");
            let error = fill(&page, "x", "new\n").expect_err("no place").to_string();
            assert!(error.contains("no place marked for x"), "{error}");
            assert_eq!(fs::read_to_string(&page).expect("the page"), text);
        }
        fs::remove_file(&page).expect("the page");
    }
}
