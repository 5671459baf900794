//! Regenerates what is generated and committed: the Rust side of `proto/terway.proto`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Where the generated messages and services are committed.
const RPC: &str = "crates/terway-rpc/src/generated/rpc.rs";

/// Regenerates everything below `root`; with `check`, only says what differs.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let fresh = rpc(root)?;
    let path = root.join(RPC);
    if !check {
        fs::write(&path, fresh).with_context(|| format!("failed to write {}", path.display()))?;
        return Ok(());
    }
    let committed =
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    if committed != fresh {
        bail!("{RPC} is not what proto/terway.proto says; run `cargo xtask gen`");
    }
    Ok(())
}

/// Compiles the schema in memory, without a protoc on the machine.
fn rpc(root: &Path) -> Result<String> {
    let proto = root.join("proto");
    let descriptors = protox::compile([proto.join("terway.proto")], [&proto])
        .context("failed to compile proto/terway.proto")?;
    let out = root.join("target").join("gen");
    fs::create_dir_all(&out).with_context(|| format!("failed to create {}", out.display()))?;
    tonic_prost_build::configure()
        .client_mod_attribute("rpc", "#[cfg(feature = \"client\")]")
        .server_mod_attribute("rpc", "#[cfg(feature = \"server\")]")
        .build_transport(false)
        .out_dir(&out)
        .compile_fds(descriptors)
        .context("failed to generate Rust from proto/terway.proto")?;
    let file = out.join("rpc.rs");
    fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))
}
