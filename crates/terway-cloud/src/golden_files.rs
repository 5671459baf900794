//! Whether golden requests leave an action out: the names in an API's source against the files of a folder.

use std::collections::BTreeSet;
use std::fs;

/// Checks that every action that this source declares has a file in this folder of the crate, that each file is of such
/// an action, and that the requests `compared` are of all of them.
pub(crate) fn complete<'a>(source: &str, folder: &str, compared: impl IntoIterator<Item = &'a str>) {
    let declared: BTreeSet<_> =
        source.split("Action::new(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(declared.len() > 5, "the source declares actions: {declared:?}");
    let entries = fs::read_dir(format!("{}/src/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let files: BTreeSet<_> = names.iter().filter_map(|name| name.strip_suffix(".txt")).collect();
    assert_eq!(declared, files, "actions, and golden requests in {folder}");
    assert_eq!(declared, compared.into_iter().collect(), "actions, and requests compared with {folder}");
}
