//! Bytes on disk: every program, and what the image holds beside its base.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::Options;
use crate::table::Table;

/// Programs that a node has, the plugin apart.
const PROGRAMS: [&str; 2] = ["terwayd", "terway-cli"];
/// Where the image's build has the sources, and in them the programs.
const SOURCES: &str = "/src/";
const PROGRAMS_THERE: &str = "/src/target/dist/";

pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let size = |path: &Path| -> Result<u64> {
        Ok(fs::metadata(path).with_context(|| format!("failed to look at {}", path.display()))?.len())
    };
    let plugin = size(&options.binaries.join("terway"))?;
    table.budget("the plugin's size", megabytes(plugin), "<= 1.5 MB", plugin <= 1_500_000);
    let mut sizes = Vec::new();
    for name in PROGRAMS {
        sizes.push(format!("{name} {}", megabytes(size(&options.binaries.join(name))?)));
    }
    table.figure("size of the other programs of a node", sizes.join(", "));
    let recipe =
        fs::read_to_string(root.join("deploy/Dockerfile")).context("failed to read deploy/Dockerfile")?;
    let mut image = 0;
    for path in copied(&recipe) {
        image += match path.strip_prefix(PROGRAMS_THERE) {
            Some(program) => size(&options.binaries.join(program))?,
            None => size(&root.join(path.trim_start_matches(SOURCES)))?,
        };
    }
    table.figure("the image, without its base", megabytes(image));
    table.raw("bytes", json!({ "plugin": plugin, "image": image }));
    Ok(())
}

/// What the image takes over from its build, by the name it has there.
fn copied(recipe: &str) -> impl Iterator<Item = &str> {
    recipe.lines().filter(|line| line.starts_with("COPY --from=")).flat_map(|line| {
        let mut words: Vec<_> = line.split_whitespace().skip(2).collect();
        words.pop();
        words
    })
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_what_its_recipe_copies() {
        let recipe = "FROM x AS build\nCOPY . .\nFROM y\nCOPY --from=build /src/target/dist/a /src/target/dist/b /usr/bin/\n\
                      COPY --from=build /src/LICENSE /usr/share/\n";
        let all: Vec<_> = copied(recipe).collect();
        assert_eq!(all, ["/src/target/dist/a", "/src/target/dist/b", "/src/LICENSE"]);
    }
}
