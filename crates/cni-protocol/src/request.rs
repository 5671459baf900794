//! An invocation as one typed value: what is asked, of which attachment, under which configuration.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args::Args;
use crate::environment::{self, Environment, Variables};
use crate::error::{CniError, code};
use crate::garbage::ValidAttachments;
use crate::netconf::{self, NetConf, incompatible};
use crate::prev_result::PrevResult;
use crate::trace::TraceContext;
use crate::version::{Verb, Version};

/// One interface of one container; with the network's name it is the key of everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`
    pub ifname: String,
}

/// What every request but VERSION carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// The network configuration.
    pub config: NetConf,
    /// Arguments from `CNI_ARGS` and `args.cni`.
    pub args: Args,
    /// `CNI_PATH`: where other plugins are.
    pub path: Vec<PathBuf>,
    /// The trace this call belongs to.
    pub trace: TraceContext,
}

/// ADD
#[derive(Clone, Debug, PartialEq)]
pub struct AddRequest {
    /// What to attach.
    pub attachment: Attachment,
    /// The container's network namespace.
    pub netns: String,
    /// What the plugins before made.
    pub prev_result: Option<PrevResult>,
    /// The rest.
    pub context: Context,
}

/// DEL
#[derive(Clone, Debug, PartialEq)]
pub struct DelRequest {
    /// What to detach.
    pub attachment: Attachment,
    /// The container's network namespace, if it still has one.
    pub netns: Option<String>,
    /// What the whole list made. One that cannot be understood counts as none: DEL goes on without.
    pub prev_result: Option<PrevResult>,
    /// The rest.
    pub context: Context,
}

/// CHECK
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRequest {
    /// What to check.
    pub attachment: Attachment,
    /// The container's network namespace.
    pub netns: String,
    /// What the whole list made. The specification obliges the runtime to send it; a plugin that has other
    /// things to complain of first may do so.
    pub prev_result: Option<PrevResult>,
    /// The rest.
    pub context: Context,
}

/// GC
#[derive(Clone, Debug, PartialEq)]
pub struct GcRequest {
    /// What must stay.
    pub valid: ValidAttachments,
    /// The rest.
    pub context: Context,
}

/// STATUS
#[derive(Clone, Debug, PartialEq)]
pub struct StatusRequest {
    /// The rest.
    pub context: Context,
}

/// An invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Attach.
    Add(AddRequest),
    /// Detach.
    Del(DelRequest),
    /// Check.
    Check(CheckRequest),
    /// Collect garbage.
    Gc(GcRequest),
    /// Say whether ADD would work.
    Status(StatusRequest),
    /// Say which versions are spoken.
    Version,
}

impl Request {
    /// Reads an invocation. The environment is judged first and as a whole (code 4), then standard
    /// input (codes 5, 6), then the version (code 1), then the rest (code 7).
    ///
    /// VERSION takes everything: podman calls it with `dummy` in the variables, and its standard input
    /// may be empty.
    pub fn read(env: &impl Environment, stdin: &[u8]) -> Result<Self, CniError> {
        let mut vars = Variables::new(env);
        let verb = vars.required("CNI_COMMAND", is_verb);
        let Some(verb) = Verb::parse(&verb) else {
            let unset = CniError::new(code::INVALID_ENVIRONMENT, "CNI_COMMAND is not set");
            return Err(vars.finish().err().unwrap_or(unset));
        };
        if verb == Verb::Version {
            return Ok(Self::Version);
        }
        let subject = Subject::read(&mut vars, verb);
        let path = vars.optional("CNI_PATH", environment::text).unwrap_or_default();
        vars.finish()?;

        let config = NetConf::read(stdin)?;
        if config.version < verb.since() {
            let msg = format!("{verb} needs cniVersion {} or newer, not {}", verb.since(), config.version);
            return Err(incompatible(msg, verb.since()));
        }
        let args = Args::read(&subject.args, cni_args_object(&config)?)
            .map_err(|offenders| CniError::new(code::INVALID_ENVIRONMENT, offenders.join("; ")))?;
        let path = path.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect();
        let context = Context { config, args, path, trace: TraceContext::read(env) };
        subject.into_request(verb, context)
    }
}

fn is_verb(text: &str) -> Result<(), &'static str> {
    Verb::parse(text).map(drop).ok_or("is none of ADD, DEL, CHECK, GC, STATUS, VERSION")
}

/// What the environment says about the attachment; nothing under GC and STATUS.
#[derive(Default)]
struct Subject {
    container_id: String,
    netns: Option<String>,
    ifname: String,
    args: String,
}

impl Subject {
    fn read<E: Environment>(vars: &mut Variables<'_, E>, verb: Verb) -> Self {
        let is_about_one = matches!(verb, Verb::Add | Verb::Del | Verb::Check);
        if !is_about_one {
            return Self::default();
        }
        let container_id = vars.required("CNI_CONTAINERID", environment::name);
        let netns = if verb == Verb::Del {
            vars.optional("CNI_NETNS", environment::text)
        } else {
            Some(vars.required("CNI_NETNS", environment::text))
        };
        let ifname = vars.required("CNI_IFNAME", environment::interface_name);
        let args = vars.optional("CNI_ARGS", environment::text).unwrap_or_default();
        if let Err(offenders) = Args::read(&args, Map::new()) {
            for offender in offenders {
                vars.offend(offender);
            }
        }
        Self { container_id, netns, ifname, args }
    }

    fn into_request(self, verb: Verb, context: Context) -> Result<Request, CniError> {
        let attachment = Attachment { container_id: self.container_id, ifname: self.ifname };
        let netns = self.netns;
        let raw = context.config.raw();
        Ok(match verb {
            Verb::Add => {
                let prev_result = PrevResult::read(raw)?;
                Request::Add(AddRequest {
                    attachment,
                    netns: netns.unwrap_or_default(),
                    prev_result,
                    context,
                })
            }
            Verb::Del => {
                let prev_result = PrevResult::read(raw).ok().flatten();
                Request::Del(DelRequest { attachment, netns, prev_result, context })
            }
            Verb::Check => {
                let prev_result = PrevResult::read(raw)?;
                let netns = netns.unwrap_or_default();
                Request::Check(CheckRequest { attachment, netns, prev_result, context })
            }
            Verb::Gc => Request::Gc(GcRequest { valid: ValidAttachments::read(raw)?, context }),
            Verb::Status => Request::Status(StatusRequest { context }),
            Verb::Version => Request::Version,
        })
    }
}

/// The object `args.cni` of the configuration.
fn cni_args_object(config: &NetConf) -> Result<Map<String, Value>, CniError> {
    #[derive(Deserialize)]
    struct ArgsKey {
        #[serde(default)]
        cni: Option<Map<String, Value>>,
    }
    Ok(config.key::<ArgsKey>("args")?.and_then(|args| args.cni).unwrap_or_default())
}

/// The version to answer in: the one on standard input, whether we speak it or not, else our newest.
pub(crate) fn answer_version(stdin: &[u8]) -> String {
    netconf::version_text(stdin).unwrap_or_else(|| Version::HIGHEST.as_str().to_owned())
}
