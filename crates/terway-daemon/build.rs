//! Links `terwayd` with packed relocations. Unpacked they are 0.7 MiB in thirty thousand entries, which the loader reads at
//! the start and which stay resident for nothing. The loader must know them: glibc does since 2.36. Where an older one is
//! linked with, they stay as they are.

use std::process::Command;

/// The first version of glibc whose loader knows packed relocations.
const GLIBC: [u32; 2] = [2, 36];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if glibc().is_some_and(|version| version >= GLIBC) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc, which is the one that is linked with.
fn glibc() -> Option<[u32; 2]> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().strip_prefix("glibc ")?.split('.').map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
}
