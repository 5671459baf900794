//! Settings of services that read a main file and then drop-ins from several folders: of files with one name
//! the first folder's counts, all are read in the order of their names, and the last word wins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The values one key was given, in order.
pub(crate) fn values(
    root: &Path,
    main: &[&str],
    folders: &[&str],
    section: &str,
    key: &str,
) -> Vec<(String, PathBuf)> {
    let main = main.iter().map(|file| root.join(file)).find(|file| file.is_file());
    let files = main.into_iter().chain(drop_ins(root, folders));
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        found.extend(of_key(&text, section, key).map(|value| (value, file.clone())));
    }
    found
}

/// Drop-ins in the order they are read.
fn drop_ins(root: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let mut by_name = BTreeMap::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                by_name.entry(entry.file_name()).or_insert(path);
            }
        }
    }
    by_name.into_values().collect()
}

fn of_key<'a>(text: &'a str, section: &'a str, key: &'a str) -> impl Iterator<Item = String> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
            return None;
        }
        let (name, value) = line.split_once('=')?;
        // `key+=` adds to a list (NetworkManager.conf).
        let name = name.trim().trim_end_matches('+').trim_end();
        (inside && !line.starts_with(['#', ';']) && name == key).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    #[test]
    fn the_last_word_wins_and_a_name_counts_once() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "etc/a.conf", "[Network]\nKey=main\n# Key=no\n[Other]\nKey=other\n");
        put(root.path(), "usr/a.conf.d/10-x.conf", "[Network]\nKey=hidden\n");
        put(root.path(), "etc/a.conf.d/10-x.conf", "[Network]\nKey = shown\n");
        put(root.path(), "usr/a.conf.d/20-y.conf", "[Network]\nKey+=last\n");
        put(root.path(), "usr/a.conf.d/30-z.txt", "[Network]\nKey=not read\n");
        let found = values(
            root.path(),
            &["etc/a.conf", "usr/a.conf"],
            &["etc/a.conf.d", "usr/a.conf.d"],
            "Network",
            "Key",
        );
        let words: Vec<&str> = found.iter().map(|(value, _)| value.as_str()).collect();
        assert_eq!(words, ["main", "shown", "last"]);
        assert_eq!(found[1].1, root.path().join("etc/a.conf.d/10-x.conf"));
    }
}
