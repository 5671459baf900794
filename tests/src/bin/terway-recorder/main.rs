//! Stands where a runtime expects the plugin, writes down what the runtime sends and what it is answered, and
//! becomes the real plugin: the process that the runtime started, and may kill, is the plugin itself.
//!
//! Beside it stands a folder `.recorder` with the link `plugin` and the folder `calls`.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// The word with which it starts itself to copy the answer.
const COPY: &str = "--copy-answer-to";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let outcome = match words.as_slice() {
        [word, file] if word == COPY => copy(Path::new(file)),
        _ => record(),
    };
    outcome.map_or_else(
        |error| {
            println!(
                "{}",
                json!({ "cniVersion": "1.0.0", "code": 999, "msg": format!("recorder: {error}") })
            );
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// Writes the call down, then becomes the plugin with the same input; another process passes the answer on.
fn record() -> Result<(), Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or("no folder of its own")?.join(".recorder");
    let mut input = String::new();
    if std::env::var_os("CNI_COMMAND").is_some() {
        io::stdin().read_to_string(&mut input)?;
    }
    let call = unique(&folder)?;
    let environment: Map<String, Value> = std::env::vars()
        .filter(|(key, _)| key.starts_with("CNI_"))
        .map(|(key, value)| (key, Value::from(value)))
        .collect();
    let request: Value = serde_json::from_str(&input).unwrap_or_else(|_| Value::from(input.as_str()));
    let kept = call.with_extension("stdin");
    fs::write(&kept, &input)?;
    // Complete before it has its name: a reader may look at any time.
    fs::write(
        call.with_extension("new"),
        json!({ "environment": environment, "input": request }).to_string(),
    )?;
    fs::rename(call.with_extension("new"), call.with_extension("call"))?;
    let (reader, writer) = io::pipe()?;
    Command::new(&own).arg(COPY).arg(call.with_extension("answer")).stdin(reader).spawn()?;
    let error = Command::new(folder.join("plugin")).stdin(File::open(&kept)?).stdout(writer).exec();
    Err(error.into())
}

/// A file name that sorts by time.
fn unique(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(folder.join("calls").join(format!("{now:024}-{}", std::process::id())))
}

/// Passes the plugin's standard output on and keeps it.
fn copy(file: &Path) -> Result<(), Box<dyn Error>> {
    let mut answer = Vec::new();
    io::stdin().read_to_end(&mut answer)?;
    fs::write(file.with_extension("part"), &answer)?;
    fs::rename(file.with_extension("part"), file)?;
    io::stdout().write_all(&answer)?;
    Ok(())
}
