//! Links `terwayd` with packed relocations. Unpacked they are 0.7 MiB in thirty thousand entries, which the loader reads at
//! the start and which stay resident for nothing. The loader must know them: glibc does since 2.36. Where an older one is
//! linked with, they stay as they are.

use std::fs;

/// Where glibc's headers say their version.
const FEATURES: &str = "/usr/include/features.h";
/// The first version whose loader knows packed relocations.
const KNOWS_THEM: [u32; 2] = [2, 36];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FEATURES}");
    let text = fs::read_to_string(FEATURES).unwrap_or_default();
    if version(&text).is_some_and(|version| version >= KNOWS_THEM) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

fn version(features: &str) -> Option<[u32; 2]> {
    let number = |name: &str| {
        let mut lines = features.lines().map(str::split_whitespace);
        let mut words = lines.find(|words| words.clone().take(2).eq(["#define", name]))?;
        words.nth(2)?.parse().ok()
    };
    Some([number("__GLIBC__")?, number("__GLIBC_MINOR__")?])
}
