//! STATUS: whether an ADD could be served now. Only "this node cannot serve any pod" is an answer of no: a
//! runtime takes the whole node for unready then, and a full node is what capacity resources are for.

use cni_protocol::StatusRequest;
use terway_types::{Fault, FaultCode};

use crate::daemon_client::Daemon;
use crate::netconf::{Options, Paths};
use crate::timeline;

pub(crate) fn status(request: &StatusRequest) -> Result<(), Fault> {
    let conf = &request.context.config;
    Options::read(conf)?;
    let paths = Paths::read(conf)?;
    timeline::until("prepare");
    let asked = Daemon::connect(&paths.socket).and_then(|daemon| {
        timeline::until("connect");
        daemon.status()
    });
    timeline::until("daemon");
    let reply = match asked {
        Ok(reply) => reply,
        // The daemon we replace has no such method: that it answers is all there is to know.
        Err(fault) if fault.code == FaultCode::DaemonOutdated => return Ok(()),
        Err(fault) => return Err(not_ready(&fault)),
    };
    match reply.fault {
        _ if reply.ready => Ok(()),
        Some(fault) => Err(not_ready(&fault.into())),
        None => Err(not_ready(&Fault::new(FaultCode::DaemonStarting, "terwayd gives no reason"))),
    }
}

fn not_ready(cause: &Fault) -> Fault {
    let because = match cause.cause.as_str() {
        "" => format!("{}: {}", cause.code.name(), cause.what),
        deeper => format!("{}: {}: {deeper}", cause.code.name(), cause.what),
    };
    Fault::new(FaultCode::NotReady, "this node cannot serve pods now").because(because).remedy(&cause.remedy)
}
