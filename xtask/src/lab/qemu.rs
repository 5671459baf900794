//! A whole machine under qemu, with a stock distribution kernel and a PCI bus: NICs are plugged in and pulled out of
//! it while it runs. Instructions are translated one by one, so it needs no virtualisation and is slow. The machine sees
//! nothing of this one; it asks for what it wants over a port, and hands over what it leaves the same way.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::job::{DONE, HandOver};

/// How many slots NICs can be plugged into.
const SLOTS: usize = 4;
/// Longest wait for qemu to do something.
const PATIENCE: Duration = Duration::from_mins(1);

/// The emulator where it was unpacked: it is not installed.
pub(super) struct Emulator<'a> {
    pub(super) unpacked: &'a Path,
}

/// A machine to be.
pub(super) struct Machine<'a> {
    pub(super) emulator: &'a Emulator<'a>,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    /// The kernel's words for its first process.
    pub(super) words: &'a str,
    /// What it leaves.
    pub(super) folder: &'a Path,
    /// Where its sockets are: a short path.
    pub(super) sockets: &'a Path,
    pub(super) deadline: Duration,
}

impl Machine<'_> {
    /// Boots it and serves it until it ends.
    pub(super) fn run(&self) -> Result<()> {
        let mut machine = Running(self.start()?);
        let outcome = self.serve();
        drop(machine.0.kill());
        machine.0.wait().context("failed to wait for qemu")?;
        let console = fs::read(self.folder.join("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let tail: Vec<_> = console.lines().rev().take(20).collect();
        outcome.with_context(|| format!("its console, last line first:\n{}", tail.join("\n")))
    }

    fn start(&self) -> Result<Child> {
        let share = self.emulator.unpacked.join("usr/share");
        let mut command = Command::new(self.emulator.unpacked.join("usr/bin/qemu-system-x86_64"));
        command.env("LD_LIBRARY_PATH", self.emulator.unpacked.join("usr/lib/x86_64-linux-gnu"));
        for folder in ["qemu", "seabios"] {
            command.arg("-L").arg(share.join(folder));
        }
        command.args(["-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "tcg,thread=multi"]);
        command.args(["-cpu", "max", "-smp", "1", "-m", "768", "-display", "none", "-no-reboot"]);
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        command.arg("-append").arg(format!(
            "console=ttyS0 quiet nokaslr mitigations=off tsc=reliable no_timer_check nowatchdog audit=0 apparmor=0 \
             panic=-1 {}",
            self.words
        ));
        command.arg("-serial").arg(format!("file:{}", self.folder.join("console").display()));
        let socket = |name: &str| format!("{},server=on,wait=off", self.sockets.join(name).display());
        command.arg("-qmp").arg(format!("unix:{}", socket("qmp")));
        command.arg("-chardev").arg(format!("socket,id=lab,path={}", socket("port")));
        command.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=lab,name=lab"]);
        for slot in 1..=SLOTS {
            command.arg("-device").arg(format!("pcie-root-port,id=slot{slot},chassis={slot},slot={slot}"));
        }
        command.stdin(Stdio::null()).spawn().context("failed to start qemu")
    }

    /// Does what the machine asks for, until it says that all is done or the deadline has come.
    fn serve(&self) -> Result<()> {
        let mut qmp = Qmp::connect(&self.sockets.join("qmp"))?;
        let port = connect(&self.sockets.join("port"))?;
        let until = Instant::now() + self.deadline;
        let mut requests = BufReader::new(port.try_clone()?);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "the machine did not finish within {} s", self.deadline.as_secs());
            port.set_read_timeout(Some(left))?;
            let mut line = String::new();
            let length = requests.read_line(&mut line).context("the machine says nothing more")?;
            ensure!(length > 0, "the machine ended early");
            let answer = match self.obey(&mut qmp, line.trim_end()) {
                Ok(()) => "done".to_owned(),
                Err(error) => format!("failed: {error:#}").replace('\n', " "),
            };
            writeln!(&port, "{answer}").context("failed to answer the machine")?;
            if self.folder.join(DONE).exists() {
                return Ok(());
            }
        }
    }

    fn obey(&self, qmp: &mut Qmp, request: &str) -> Result<()> {
        match request.split(' ').collect::<Vec<_>>()[..] {
            ["plug", number, mac] => qmp.plug(number.parse()?, mac),
            ["pull", number] => qmp.pull(number.parse()?),
            _ => {
                let file: HandOver = serde_json::from_str(request).context("not understood")?;
                ensure!(!file.name.contains('/'), "{} is not a file's name", file.name);
                fs::write(self.folder.join(&file.name), file.content).context("failed to write it down")
            }
        }
    }
}

/// Ends with this program, whatever way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless something went wrong.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// qemu's own protocol: a JSON object per line (docs/interop/qmp-spec).
struct Qmp {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    /// NICs that are gone, as far as anybody may ask.
    gone: Vec<String>,
}

impl Qmp {
    fn connect(path: &Path) -> Result<Self> {
        let stream = connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Self { lines: BufReader::new(stream.try_clone()?), stream, gone: Vec::new() };
        qmp.line()?;
        qmp.command("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// A NIC in the slot of this number; all hang on one cable.
    fn plug(&mut self, number: usize, mac: &str) -> Result<()> {
        ensure!(number < SLOTS, "there is no slot {number}");
        let (net, nic) = (format!("net{number}"), format!("nic{number}"));
        self.command("netdev_add", &json!({ "type": "hubport", "id": net, "hubid": 1 }))?;
        let bus = format!("slot{}", number + 1);
        let device = json!({ "driver": "virtio-net-pci", "id": nic, "netdev": net, "mac": mac, "bus": bus });
        self.command("device_add", &device)
    }

    /// Pulls it out and waits until it is gone.
    fn pull(&mut self, number: usize) -> Result<()> {
        let nic = format!("nic{number}");
        self.gone.clear();
        self.command("device_del", &json!({ "id": nic }))?;
        while !self.gone.contains(&nic) {
            self.line()?;
        }
        self.command("netdev_del", &json!({ "id": format!("net{number}") }))
    }

    fn command(&mut self, name: &str, arguments: &Value) -> Result<()> {
        writeln!(self.stream, "{}", json!({ "execute": name, "arguments": arguments }))?;
        loop {
            let told = self.line()?;
            if !told["error"].is_null() {
                bail!("qemu refuses {name}: {}", told["error"]);
            }
            if !told["return"].is_null() {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).context("qemu does not answer")?;
        ensure!(length > 0, "qemu has ended");
        let told: Value = serde_json::from_str(&line).context("qemu said no JSON")?;
        if told["event"] == "DEVICE_DELETED" {
            self.gone.extend(told["data"]["device"].as_str().map(str::to_owned));
        }
        Ok(told)
    }
}

/// qemu makes its sockets in its own time.
fn connect(path: &Path) -> Result<UnixStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > until => {
                return Err(error).with_context(|| format!("failed to reach {}", path.display()));
            }
            Err(_) => thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// A file that is emptied before qemu writes to it.
pub(super) fn console(folder: &Path) -> Result<()> {
    File::create(folder.join("console")).map(drop).context("failed to make the console")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A qemu that says what it is asked.
    fn told(
        script: &'static [&'static str],
        ask: impl FnOnce(&mut Qmp) -> Result<()>,
    ) -> (Result<()>, Vec<Value>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let qemu = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            writeln!(&stream, "{{\"QMP\": {{}}}}").unwrap();
            let mut asked = Vec::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for answer in ["{\"return\": {}}"].iter().chain(script) {
                let Some(Ok(line)) = lines.next() else { break };
                asked.push(serde_json::from_str(&line).unwrap());
                writeln!(&stream, "{answer}").unwrap();
            }
            asked
        });
        let mut qmp = Qmp::connect(&path).unwrap();
        let outcome = ask(&mut qmp);
        drop(qmp);
        (outcome, qemu.join().unwrap())
    }

    #[test]
    fn a_nic_is_plugged_into_its_slot() {
        let (outcome, asked) = told(&["{\"return\": {}}", "{\"event\": \"X\"}\n{\"return\": {}}"], |qmp| {
            qmp.plug(1, "00:16:3e:00:0b:01")
        });
        outcome.unwrap();
        assert_eq!(asked[1]["arguments"]["hubid"], 1);
        assert_eq!(asked[2]["execute"], "device_add");
        assert_eq!(asked[2]["arguments"]["bus"], "slot2");
        assert_eq!(asked[2]["arguments"]["mac"], "00:16:3e:00:0b:01");
    }

    #[test]
    fn a_pulled_nic_is_awaited_and_a_refusal_told() {
        const GONE: &str =
            "{\"return\": {}}\n{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"nic0\"}}";
        let (outcome, asked) = told(&[GONE, "{\"return\": {}}"], |qmp| qmp.pull(0));
        outcome.unwrap();
        assert_eq!(asked[2]["execute"], "netdev_del");
        let (outcome, _) = told(&["{\"error\": {\"desc\": \"no such device\"}}"], |qmp| qmp.pull(0));
        assert!(outcome.unwrap_err().to_string().contains("no such device"));
    }
}
