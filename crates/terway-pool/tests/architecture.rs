//! The rules stand twice: with the code that follows them, and in ARCHITECTURE.md for people who look for them there.

/// The rows of tables in a text, without what marks them as documentation.
fn rows(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    lines.filter(|line| line.starts_with('|') && !line.starts_with("|--")).collect()
}

#[test]
fn the_tables_of_rules_in_the_architecture_are_those_of_the_code() {
    let code = rows(include_str!("../src/reconcile/mod.rs"));
    let page = include_str!("../../../ARCHITECTURE.md");
    let (_, page) = page.split_once("<!-- rules -->").expect("the place of the rules");
    let (page, _) = page.split_once("<!-- end of rules -->").expect("the end of the rules");
    assert!(code.len() > 20, "the code has its tables elsewhere");
    assert_eq!(rows(page), code);
}
