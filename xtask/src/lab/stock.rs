//! Test files under a stock distribution kernel, in a machine that qemu emulates. Kernel and qemu are Debian's packages,
//! unpacked and not installed; the machine's root is made of the test files, what they call, and the kernel's modules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::initramfs::{self, Initramfs};
use super::job::{JOB, Job, Program};
use super::modules::{self, INDEX, STOCK};
use super::qemu::{self, Emulator, Machine};
use super::test_files::TestFile;
use crate::packages;

/// The kernel: the one for clouds, which boots fastest.
const KERNEL: &str = "linux-image-6.1.0-56-cloud-amd64";
/// What it is, for the report.
pub(super) const IS: &str = "the kernel that Debian packages for clouds, in a machine that qemu emulates";
/// qemu with the libraries that a machine without it lacks.
const QEMU: [&str; 27] = [
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
    "ipxe-qemu",
    "libbrlapi0.8",
    "libcacard0",
    "libcapstone4",
    "libdaxctl1",
    "libepoxy0",
    "libexecs0",
    "libfdt1",
    "liborc-0.4-0",
    "libgstreamer-plugins-base1.0-0",
    "libnl-3-200",
    "libnl-route-3-200",
    "libibverbs1",
    "libndctl6",
    "libopus0",
    "libpmem1",
    "librdmacm1",
    "libslirp0",
    "libsndio7.0",
    "libspice-server1",
    "libusb-1.0-0",
    "libusbredirparser1",
    "libvdeplug2",
];
/// The package that names NICs as they are plugged in, its program, and those of its files which do so.
const UDEV: &str = "udev";
const UDEV_PROGRAM: &str = "usr/bin/udevadm";
const UDEV_FILES: [&str; 3] = [
    "usr/lib/udev/rules.d/75-net-description.rules",
    "usr/lib/udev/rules.d/80-net-setup-link.rules",
    "usr/lib/systemd/network/99-default.link",
];
/// What test files call.
const TOOLS: [&str; 10] = ["sh", "ip", "tc", "nft", "sysctl", "cat", "ls", "cut", "mkdir", "test"];
/// Where the machine has its job.
const FOLDER: &str = "/lab";

/// What a run of test files left, and where.
pub(super) struct Left {
    pub(super) folder: PathBuf,
    pub(super) job: Job,
}

/// Runs the test files in a machine, one after the other.
pub(super) fn run(
    files: &[TestFile],
    filter: Option<&str>,
    init: &Path,
    [left, cache, sockets]: [&Path; 3],
    deadline: Duration,
) -> Result<Left> {
    let (kernel, unpacked, folder) = (cache.join("stock-kernel"), cache.join("qemu"), left.join("machine"));
    packages::unpack(&[KERNEL], &kernel)?;
    packages::unpack(&QEMU, &unpacked)?;
    let udev = cache.join("udev");
    packages::unpack(&[UDEV], &udev)?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    qemu::console(&folder)?;
    let job = Job {
        modules: modules::WANTED.map(str::to_owned).to_vec(),
        layers: vec![],
        shared: vec![],
        whole_machine: true,
        programs: files.iter().map(|file| inside(Program::test(file, filter))).collect(),
    };
    let mut root = root(files, init, &kernel, &folder, &job)?;
    add_udev(&mut root, &udev)?;
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, root.finish()).context("failed to write the machine's root")?;
    let release = KERNEL.trim_start_matches("linux-image-");
    let machine = Machine {
        emulator: &Emulator { unpacked: &unpacked },
        kernel: &kernel.join("boot").join(format!("vmlinuz-{release}")),
        initramfs: &initramfs,
        words: &format!("rdinit=/init -- lab-guest {FOLDER}"),
        folder: &folder,
        sockets,
        deadline,
    };
    machine.run()?;
    Ok(Left { folder, job })
}

/// The program where the machine has it.
fn inside(program: Program) -> Program {
    Program {
        path: Path::new("/tests").join(&program.name),
        directory: "/".into(),
        environment: BTreeMap::new(),
        ..program
    }
}

fn root(files: &[TestFile], init: &Path, kernel: &Path, scratch: &Path, job: &Job) -> Result<Initramfs> {
    let mut root = Initramfs::default();
    for folder in ["/proc", "/sys", "/dev", "/run", "/tmp"] {
        root.folder(Path::new(folder));
    }
    let small = scratch.join("stripped");
    let programs = files.iter().map(|file| (file.path.as_path(), Path::new("/tests").join(&file.name)));
    for (program, at) in programs.chain([(init, "/init".into())]) {
        initramfs::stripped(program, &small)?;
        root.program(&small, &at)?;
    }
    TOOLS.iter().try_for_each(|tool| root.tool(tool))?;
    add_modules(&mut root, kernel)?;
    root.file(&Path::new(FOLDER).join(JOB), &serde_json::to_vec(job)?);
    Ok(root)
}

/// The daemon and its tool, which are one program under two names.
fn add_udev(root: &mut Initramfs, unpacked: &Path) -> Result<()> {
    for name in ["/lib/systemd/systemd-udevd", "/bin/udevadm"] {
        root.program(&unpacked.join(UDEV_PROGRAM), Path::new(name))?;
    }
    for file in UDEV_FILES {
        let content = fs::read(unpacked.join(file)).with_context(|| format!("{UDEV} has no {file}"))?;
        root.file(&Path::new("/").join(file), &content);
    }
    Ok(())
}

/// The wanted modules and what they need, with the index that tells it: the package comes without.
fn add_modules(root: &mut Initramfs, kernel: &Path) -> Result<()> {
    let release = KERNEL.trim_start_matches("linux-image-");
    let mut known = BTreeMap::new();
    find(&kernel.join("usr/lib/modules").join(release), &mut known)?;
    let mut index = String::new();
    let mut open: Vec<String> = modules::WANTED.map(str::to_owned).to_vec();
    let place = Path::new(STOCK).join(release);
    while let Some(name) = open.pop() {
        let Some(path) = known.remove(&name) else { continue };
        let content = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let needs = modules::depends(&content);
        let files: Vec<String> = needs.iter().map(|need| format!("{need}.ko")).collect();
        writeln!(index, "{name}.ko: {}", files.join(" "))?;
        root.file(&place.join(format!("{name}.ko")), &content);
        open.extend(needs);
    }
    root.file(&place.join(INDEX), index.as_bytes());
    Ok(())
}

/// Modules below a folder by their names, in which a dash is an underscore.
fn find(folder: &Path, known: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            find(&path, known)?;
        } else if path.extension().is_some_and(|extension| extension == "ko")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            known.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}
