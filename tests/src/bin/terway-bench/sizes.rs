//! Bytes on disk: every program, and the layers that the image adds to its base, packed as a registry keeps them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

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
    table.promise("the plugin's size", megabytes(plugin), "<= 1.5 MB", plugin <= 1_500_000);
    let mut sizes = Vec::new();
    for name in PROGRAMS {
        sizes.push(format!("{name} {}", megabytes(size(&options.binaries.join(name))?)));
    }
    table.figure("size of the other programs of a node", sizes.join(", "));
    let recipe =
        fs::read_to_string(root.join("deploy/Dockerfile")).context("failed to read deploy/Dockerfile")?;
    let (mut whole, mut packed, mut count) = (0, 0, 0);
    for (number, layer) in layers(&recipe).enumerate() {
        let folder = options.state.join(format!("layer-{number}"));
        let from = |path: &str| match path.strip_prefix(PROGRAMS_THERE) {
            Some(program) => options.binaries.join(program),
            None => root.join(path.trim_start_matches(SOURCES)),
        };
        layer.lay_out(&folder, from)?;
        whole += size(&archive(&folder, "--no-auto-compress", "tar")?)?;
        packed += size(&archive(&folder, "--gzip", "tar.gz")?)?;
        count += 1;
    }
    table.figure(
        "the image's layers above its base",
        format!("{}, compressed {}, in {count} layers", megabytes(whole), megabytes(packed)),
    );
    table.raw("bytes", json!({ "plugin": plugin, "image": whole, "image_compressed": packed }));
    let counts =
        fs::read(root.join("tests/instructions.json")).context("failed to read tests/instructions.json")?;
    instructions(table, &serde_json::from_slice(&counts)?)
}

/// What calls may spend, as it is committed and held by the tests: the figure of a call that no other one disturbs.
fn instructions(table: &mut Table, counts: &Value) -> Result<()> {
    let of = |what: &str| {
        let total = &counts["x86_64-unknown-linux-musl"][what]["total"];
        total.as_f64().map(|total| total / 1e6).with_context(|| format!("there is no budget of {what}"))
    };
    for mode in ["exclusive", "shared"] {
        let each = |verb: &str| -> Result<String> {
            let [plugin, daemon] =
                ["plugin", "daemon"].map(|program| of(&format!("{program}, {verb}, {mode}")));
            Ok(format!("{verb} {:.2} + {:.2}", plugin?, daemon?))
        };
        table.figure(
            format!("{mode}: instructions of plugin + daemon"),
            format!("{}, {} million; the tests hold this to 5 %", each("ADD")?, each("DEL")?),
        );
    }
    Ok(())
}

/// What one line of the recipe takes over from the build, and into which folder.
#[derive(Debug, PartialEq, Eq)]
struct Layer<'a> {
    files: Vec<&'a str>,
    folder: &'a str,
}

impl Layer<'_> {
    /// Puts its files where the image has them, below `root`.
    fn lay_out(&self, root: &Path, from: impl Fn(&str) -> PathBuf) -> Result<()> {
        let folder = root.join(self.folder.trim_matches('/'));
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        for file in &self.files {
            let name = Path::new(file).file_name().context("a file without a name")?;
            fs::copy(from(file), folder.join(name)).with_context(|| format!("failed to copy {file}"))?;
        }
        Ok(())
    }
}

/// The layers of a recipe, by the names that files have in its build.
fn layers(recipe: &str) -> impl Iterator<Item = Layer<'_>> {
    recipe.lines().filter(|line| line.starts_with("COPY --from=")).filter_map(|line| {
        let mut files: Vec<_> = line.split_whitespace().skip(2).collect();
        let folder = files.pop()?;
        Some(Layer { files, folder })
    })
}

/// Packs what is below a folder.
fn archive(folder: &Path, how: &str, ending: &str) -> Result<PathBuf> {
    let path = folder.with_extension(ending);
    let mut command = Command::new("tar");
    command
        .args(["--create", "--owner=0", "--group=0", how, "--file"])
        .arg(&path)
        .arg("-C")
        .args([folder, Path::new(".")]);
    let status = command.stdin(Stdio::null()).status().context("failed to start tar")?;
    ensure!(status.success(), "tar ended with {status}");
    Ok(path)
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "FROM x AS build\nCOPY . .\nFROM y\nCOPY --from=build /src/target/dist/a /src/b /usr/bin/\n\
                          COPY --from=build /src/LICENSE /usr/share/\n";

    #[test]
    fn a_layer_is_what_a_line_of_the_recipe_copies() {
        let all: Vec<_> = layers(RECIPE).collect();
        let layer = |files: &[&'static str], folder| Layer { files: files.to_vec(), folder };
        assert_eq!(
            all,
            [layer(&["/src/target/dist/a", "/src/b"], "/usr/bin/"), layer(&["/src/LICENSE"], "/usr/share/")]
        );
    }

    #[test]
    fn a_layer_is_packed_with_its_files_in_their_places() {
        let root = std::env::temp_dir().join(format!("terway-layer-{}", std::process::id()));
        let folder = root.join("layer-0");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let layer = layers(RECIPE).nth(1).expect("a layer");
        layer.lay_out(&folder, |_| page.clone()).expect("laid out");
        let of =
            |how, ending| fs::metadata(archive(&folder, how, ending).expect("packed")).expect("a file").len();
        let (whole, packed) = (of("--no-auto-compress", "tar"), of("--gzip", "tar.gz"));
        let kept = fs::metadata(&page).expect("a file").len();
        assert_eq!(fs::metadata(folder.join("usr/share/LICENSE")).expect("in its place").len(), kept);
        fs::remove_dir_all(&root).expect("a folder");
        assert!(whole > kept && packed < whole && packed > 0, "{kept} {whole} {packed}");
    }
}
