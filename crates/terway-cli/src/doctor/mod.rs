//! `doctor`: looks at the node the program runs on, and says what keeps pods from their network or may take it
//! away, each with its remedy. It changes nothing, and does its work without the daemon too.

mod agents;
mod cni;
mod links;
mod settings;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use terway_datapath::host_agent;
use terway_rpc::DaemonClient;
use terway_rpc::wire::StatusRequest;
use terway_types::{Fault, FaultCode};

use crate::Verdict;
use crate::screen::Screen;
use crate::table::Table;

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Fine,
    /// It could not be told.
    Unknown,
    Wrong,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: String,
    outcome: Outcome,
    what: String,
    remedy: Option<String>,
}

impl Finding {
    fn fine(check: &str, what: impl Into<String>) -> Self {
        Self { check: check.to_owned(), outcome: Outcome::Fine, what: what.into(), remedy: None }
    }

    fn wrong(check: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { check: check.to_owned(), outcome: Outcome::Wrong, what: what.into(), remedy }
    }

    fn unknown(check: &str, fault: &Fault) -> Self {
        let what = format!("{}: {}", fault.what, fault.cause);
        Self { check: check.to_owned(), outcome: Outcome::Unknown, what, remedy: Some(fault.remedy.clone()) }
    }
}

/// Where to look.
pub(crate) struct Place<'a> {
    /// The node's root folder.
    pub(crate) root: &'a Path,
    /// The daemon's socket.
    pub(crate) socket: &'a Path,
    /// How long the daemon may take to answer.
    pub(crate) deadline: Duration,
}

/// Looks and prints; the verdict says whether all is well.
pub(crate) async fn run(place: &Place<'_>, screen: &mut Screen) -> Result<Verdict, Fault> {
    if !place.root.is_dir() {
        let what = format!("{} is no folder", place.root.display());
        return Err(Fault::new(FaultCode::Internal, what).remedy("name the node's root folder by --root"));
    }
    let mut findings = vec![daemon(place).await];
    findings.push(cni::configuration(place.root));
    findings.push(cni::plugin(place.root));
    findings.extend(agents(place.root));
    screen.show(&findings, |findings| text(findings))?;
    let wrong = findings.iter().any(|finding| finding.outcome == Outcome::Wrong);
    Ok(if wrong { Verdict::NotReady } else { Verdict::Fine })
}

async fn daemon(place: &Place<'_>) -> Finding {
    const CHECK: &str = "terwayd";
    let asked = async {
        let client = DaemonClient::connect(place.socket, place.deadline).await?;
        client.status(StatusRequest {}).await
    };
    match asked.await {
        Ok(status) if status.ready => {
            Finding::fine(CHECK, format!("version {} is ready in mode {}", status.version, status.mode))
        }
        Ok(status) => {
            let fault = status.fault.unwrap_or_default();
            Finding::wrong(CHECK, format!("not ready: {}: {}", fault.what, fault.cause), fault.remedy)
        }
        Err(fault) => Finding::wrong(CHECK, format!("{}: {}", fault.what, fault.cause), fault.remedy),
    }
}

fn agents(root: &Path) -> Vec<Finding> {
    let at_work = host_agent::at_work(root);
    if at_work.is_empty() {
        return vec![Finding::fine("host services", "none is at work that would touch pods' links")];
    }
    match links::observe() {
        Ok(links) => at_work.iter().map(|at_work| agents::judge(at_work, root, &links)).collect(),
        Err(fault) => vec![Finding::unknown("host services", &fault)],
    }
}

fn text(findings: &[Finding]) -> String {
    let mut table = Table::new(&["CHECK", "OUTCOME", "FOUND"]);
    for finding in findings {
        let outcome = match finding.outcome {
            Outcome::Fine => "fine",
            Outcome::Unknown => "unknown",
            Outcome::Wrong => "WRONG",
        };
        table.row([finding.check.clone(), outcome.to_owned(), finding.what.clone()]);
    }
    let remedies = findings.iter().filter_map(|finding| {
        let remedy = finding.remedy.as_ref()?;
        Some(format!("\n{}: {remedy}", finding.check))
    });
    let remedies: String = remedies.collect();
    if remedies.is_empty() { table.render() } else { format!("{}\n{remedies}", table.render()) }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn findings_first_then_what_to_do() {
        let findings = [
            Finding::fine("terwayd", "version 0.1.0 is ready in mode exclusive"),
            Finding::wrong("plugin", "/opt/cni/bin/terway is missing", "run terway-cli install"),
        ];
        assert_snapshot!(text(&findings), @r"
        CHECK    OUTCOME  FOUND
        terwayd  fine     version 0.1.0 is ready in mode exclusive
        plugin   WRONG    /opt/cni/bin/terway is missing

        plugin: run terway-cli install
        ");
    }
}
