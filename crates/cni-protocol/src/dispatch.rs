//! One invocation from its inputs to its outputs: bytes for standard output and an exit code.

use std::io::Read;

use serde_json::{Value, json};

use crate::environment::Environment;
use crate::error::{CniError, code};
use crate::request::{
    AddRequest, CheckRequest, DelRequest, GcRequest, Request, StatusRequest, answer_version,
};
use crate::result::CniResult;
use crate::version::Version;

/// No configuration comes near this; a runtime gone mad must not fill the memory.
const STDIN_LIMIT: u64 = 16 << 20;

/// A plugin. VERSION needs no method: what is spoken is what this crate speaks, and a plugin has to
/// answer every verb of it, so no version is offered that lacks one.
pub trait Handler {
    /// Attaches. The result holds what this plugin made; entries of plugins before it are kept by us.
    fn add(&self, request: &AddRequest) -> Result<CniResult, CniError>;
    /// Detaches. Succeeds for what is not there.
    fn del(&self, request: &DelRequest) -> Result<(), CniError>;
    /// Says whether the attachment is as it should be.
    fn check(&self, request: &CheckRequest) -> Result<(), CniError>;
    /// Detaches whatever is not listed as valid.
    fn gc(&self, request: &GcRequest) -> Result<(), CniError>;
    /// Says whether an ADD could be served.
    fn status(&self, request: &StatusRequest) -> Result<(), CniError>;
    /// What the protocol itself refuses, as this plugin words it; the code stays.
    fn refused(&self, error: CniError) -> CniError {
        error
    }
}

/// What the process has to do at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output; success of most verbs is silent.
    pub stdout: Vec<u8>,
    /// 0 for success, 1 for failure.
    pub exit_code: u8,
}

/// Serves one invocation.
pub fn dispatch(handler: &impl Handler, env: &impl Environment, stdin: impl Read) -> Outcome {
    let (bytes, input) = match read_all(stdin) {
        Ok(bytes) => (bytes, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    };
    let version = answer_version(&bytes);
    let request = match (Request::read(env, &bytes), input) {
        // The environment comes first, and VERSION does without standard input.
        (Err(error), _) if error.code == code::INVALID_ENVIRONMENT => Err(error),
        (Ok(Request::Version), _) => Ok(Request::Version),
        (_, Err(error)) => Err(error),
        (request, Ok(())) => request,
    };
    let request = request.map_err(|error| handler.refused(error));
    match request.and_then(|request| serve(handler, &request, &version)) {
        Ok(None) => Outcome { stdout: Vec::new(), exit_code: 0 },
        Ok(Some(value)) => Outcome { stdout: line(&value), exit_code: 0 },
        Err(error) => Outcome { stdout: line(&error.to_json(&version)), exit_code: 1 },
    }
}

fn serve(handler: &impl Handler, request: &Request, version: &str) -> Result<Option<Value>, CniError> {
    match request {
        Request::Add(request) => {
            let ours = handler.add(request)?;
            let version = request.context.config.version;
            let all = match &request.prev_result {
                Some(theirs) => theirs.followed_by(&ours, version),
                None => ours.to_json(version),
            };
            return Ok(Some(all));
        }
        Request::Del(request) => handler.del(request)?,
        Request::Check(request) => handler.check(request)?,
        Request::Gc(request) => handler.gc(request)?,
        Request::Status(request) => handler.status(request)?,
        Request::Version => {
            let supported = Version::ALL.map(Version::as_str);
            return Ok(Some(json!({ "cniVersion": version, "supportedVersions": supported })));
        }
    }
    Ok(None)
}

fn read_all(stdin: impl Read) -> Result<Vec<u8>, CniError> {
    let mut bytes = Vec::new();
    stdin.take(STDIN_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| {
        CniError::new(code::IO_FAILURE, format!("failed to read the network configuration: {error}"))
    })?;
    if bytes.len() as u64 > STDIN_LIMIT {
        let msg = format!("the network configuration is larger than {STDIN_LIMIT} bytes");
        return Err(CniError::new(code::IO_FAILURE, msg));
    }
    Ok(bytes)
}

fn line(value: &Value) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "all keys of a value are texts, and memory takes all bytes")]
    let mut bytes = serde_json::to_vec(value).expect("a value can be printed");
    bytes.push(b'\n');
    bytes
}
