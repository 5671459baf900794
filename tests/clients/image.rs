//! A container image without a registry: an OCI archive with one layer, in which busybox is everything.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The image's name, as runtimes know it once it is loaded.
pub(crate) const NAME: &str = "terway.test/box:1";

/// Debian's statically linked busybox.
const BUSYBOX: &str = "/bin/busybox";

/// What busybox is called inside.
const APPLETS: &[&str] = &["sh", "sleep", "ip", "nc", "grep", "httpd"];

/// Writes the archive. Without a command its containers sleep until they are ended.
pub(crate) fn write(path: &Path) -> Result<()> {
    let busybox =
        fs::read(BUSYBOX).with_context(|| format!("failed to read {BUSYBOX}; install busybox-static"))?;
    let mut layer = Archive::default();
    for folder in ["proc", "sys", "dev", "etc", "tmp", "bin", "www"] {
        layer.add(&format!("{folder}/"), 0o755, Kind::Folder, &[]);
    }
    layer.add("bin/busybox", 0o755, Kind::File, &busybox);
    for applet in APPLETS {
        layer.add(&format!("bin/{applet}"), 0o777, Kind::Link("busybox"), &[]);
    }
    layer.add("www/index.html", 0o644, Kind::File, b"served by a pod\n");
    let layer = layer.end();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": { "Entrypoint": ["/bin/sleep", "2147483647"], "Env": ["PATH=/bin"], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({
        "io.containerd.image.name": NAME,
        "org.opencontainers.image.ref.name": NAME,
    });
    entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    let mut archive = Archive::default();
    archive.add("oci-layout", 0o644, Kind::File, br#"{"imageLayoutVersion":"1.0.0"}"#);
    archive.add("index.json", 0o644, Kind::File, index.as_bytes());
    for blob in [&layer, &config, &manifest] {
        archive.add(&digest(blob).replace("sha256:", "blobs/sha256/"), 0o644, Kind::File, blob);
    }
    fs::write(path, archive.end()).with_context(|| format!("failed to write {}", path.display()))
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn digest(blob: &[u8]) -> String {
    let hash = Sha256::digest(blob);
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Folder,
    Link(&'static str),
}

/// A tar archive in the format of POSIX (ustar).
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(&mut self, name: &str, mode: u32, kind: Kind, content: &[u8]) {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", content.len()).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        let (flag, target) = match kind {
            Kind::File => (b"0", ""),
            Kind::Folder => (b"5", ""),
            Kind::Link(target) => (b"2", target),
        };
        put(156, flag);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}
