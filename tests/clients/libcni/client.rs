//! The client of libcni, built once for each libcni, and the sandboxes that it attaches.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use terway_rig::node::Node;
use terway_rig::{namespace, pod};

use crate::recording::Plugins;
use crate::{fixture, newer};

/// Where Debian has Go packages.
const PACKAGES: &str = "usr/share/gocode";

/// The client, for one node: it reads the conflist that the daemon has put in place.
pub(super) struct Libcni {
    program: &'static Path,
    host: PathBuf,
    conflist: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) plugins: Plugins,
}

/// A sandbox: its id and its namespace.
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) netns: PathBuf,
}

impl Sandbox {
    pub(super) fn new(name: &str, number: usize) -> Result<Self> {
        let id = format!("{name}{number}");
        Ok(Self { netns: pod::sandbox(Path::new("/run/netns"), &id)?, id })
    }
}

impl Libcni {
    /// The libcni that is installed, for one node.
    pub(super) fn new(node: &Node) -> Result<Self> {
        Self::by(client()?, node)
    }

    /// The newer one.
    pub(super) fn newer(node: &Node) -> Result<Self> {
        Self::by(newer_client()?, node)
    }

    fn by(program: &'static Path, node: &Node) -> Result<Self> {
        Ok(Self {
            program,
            host: node.netns.clone(),
            conflist: node.conflist(),
            cache: node.path("libcni"),
            plugins: Plugins::install(&node.path("bin"), &node.binaries.join("terway"))?,
        })
    }

    /// One call; `netns` may be nothing.
    pub(super) fn call(&self, verb: &str, id: &str, netns: &str, ifname: &str) -> Result<Output> {
        let mut command = Command::new(self.program);
        command.arg(verb).args([&self.conflist, &self.cache]).args([id, netns, ifname]);
        command.env("CNI_PATH", &self.plugins.folder);
        namespace::inside(&self.host, move || command.output())?.context("failed to run the client of libcni")
    }

    /// Holds the calls so far to what is kept of a libcni that knows the same version of the protocol. A refusal is left
    /// out: it belongs to what a test did to the sandbox.
    pub(super) fn hold(&self, node: &Node) -> Result<()> {
        let output = self.call("version", "", "", "")?;
        let mut calls = self.plugins.calls()?;
        calls.retain(|call| call.answer.as_ref().is_none_or(|answer| answer["code"].is_null()));
        fixture::hold("libcni", String::from_utf8_lossy(&output.stdout).trim(), node, &calls)
    }

    /// A call without a sandbox that has to succeed: STATUS, or GC, for which `id` is the sandbox that lives.
    pub(super) fn succeed(&self, verb: &str, id: &str, ifname: &str) -> Result<()> {
        let output = self.call(verb, id, "", ifname)?;
        ensure!(output.status.success(), "libcni {verb}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// What a successful call printed.
    pub(super) fn run(&self, verb: &str, sandbox: &Sandbox, ifname: &str) -> Result<String> {
        let output = self.call(verb, &sandbox.id, &sandbox.netns.to_string_lossy(), ifname)?;
        ensure!(output.status.success(), "libcni {verb}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What a failing call said.
    pub(super) fn refusal(&self, verb: &str, sandbox: &Sandbox) -> Result<String> {
        let output = self.call(verb, &sandbox.id, &sandbox.netns.to_string_lossy(), "eth0")?;
        ensure!(!output.status.success(), "libcni {verb} passed");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The results it keeps.
    pub(super) fn kept(&self) -> usize {
        fs::read_dir(self.cache.join("results")).map(Iterator::count).unwrap_or_default()
    }
}

/// Builds the client of the libcni that is installed, once.
fn client() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let package = || vec![Path::new("/").join(PACKAGES)];
    let built = BUILT.get_or_init(|| {
        build("installed", Path::new("go"), &package(), "before_1_2.go").map_err(|error| format!("{error:#}"))
    });
    built.as_deref().map_err(|error| anyhow!("{error}"))
}

/// Builds the client of the newer one, once. What that needs of others is among the installed packages.
fn newer_client() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| built_newer().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow!("{error}"))
}

fn built_newer() -> Result<PathBuf> {
    let go = newer::go()?.join(newer::GO);
    let packages = [newer::runtimes()?, PathBuf::from("/")].map(|root| root.join(PACKAGES));
    build("newer", &go, &packages, "since_1_2.go")
}

fn build(name: &str, go: &Path, packages: &[PathBuf], verbs: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libcni").join(name);
    let program = folder.join("client");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/libcni");
    let mut command = Command::new(go);
    command.args(["build", "-o"]).arg(&program).args([sources.join("main.go"), sources.join(verbs)]);
    command.env("GOPATH", env::join_paths(packages)?).env("GOCACHE", folder.join("cache"));
    command.envs([("GO111MODULE", "off"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local"), ("GOTELEMETRY", "off")]);
    let output = command.output().with_context(|| {
        format!("failed to run {}; install golang-go and golang-github-appc-cni-dev", go.display())
    })?;
    ensure!(output.status.success(), "go build: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(program)
}
