//! What people ask of a node: who held what, and to let it go.

use std::sync::atomic::Ordering;

use terway_ledger::HistoryQuery;
use terway_pool::Event;
use terway_rpc::wire;
use terway_types::{
    AttachmentRecord, ContainerId, EniId, EniRecord, Fault, FaultCode, HistoryEntry, PodRef, Timestamp,
};

use crate::node::Node;
use crate::views;

/// Entries in an answer unless asked otherwise.
const LIMIT: usize = 100;

/// A look at all ENIs, now.
pub(super) async fn look(node: &Node) -> Result<wire::InspectReply, Fault> {
    let serving = node.serving()?;
    let Some(inspector) = &serving.inspector else {
        let what = "a node in vpc-route mode has no ENIs to look for: its pods' addresses are of --pod-cidr";
        return Err(
            Fault::new(FaultCode::ConfigInvalid, what).remedy("see `terway-cli mapping` for its addresses")
        );
    };
    Ok(views::look(&inspector.look().await?))
}

/// Those who hold it now, and those who did.
pub(super) async fn history(node: &Node, request: wire::HistoryRequest) -> Result<wire::HistoryReply, Fault> {
    let container = match request.container_id.as_str() {
        "" => None,
        id => Some(ContainerId::new(id).map_err(|error| wrong(&error))?),
    };
    let query = query(&request)?;
    let serving = node.serving()?;
    let (asked, sandbox) = (query.clone(), container.clone());
    let held = serving.driver.look(move |pool, now| {
        let fits = |held: &AttachmentRecord, eni: &EniRecord| {
            sandbox.as_ref().is_none_or(|container| held.key.container == *container)
                && asked.matches(&HistoryEntry::Held(views::holding_now(held, eni, now)))
        };
        let found = pool.attachments().filter(|(held, eni)| fits(held, eni));
        found.map(|(held, eni)| views::lasting(held, eni)).collect::<Vec<_>>()
    });
    let holding = held.await?;
    let reader = serving.history.clone();
    let limit = query.limit.unwrap_or(LIMIT);
    // A sandbox has one attachment or a few; the ledger finds attachments by their whole key.
    let query = HistoryQuery { limit: container.is_none().then_some(limit), ..query };
    let entries = tokio::task::spawn_blocking(move || reader.history(&query))
        .await
        .map_err(|error| Fault::new(FaultCode::Internal, "reading the history panicked").caused_by(&error))?
        .map_err(|error| error.fault())?;
    let of_container = |entry: &HistoryEntry| match (&container, entry) {
        (None, _) => true,
        (Some(container), HistoryEntry::Held(holding)) => holding.key.container == *container,
        (Some(_), HistoryEntry::Called(_)) => false,
    };
    let entries = entries.iter().filter(|(_, entry)| of_container(entry)).take(limit);
    Ok(wire::HistoryReply {
        holding,
        entries: entries.map(|(number, entry)| views::entry(*number, entry)).collect(),
    })
}

fn query(request: &wire::HistoryRequest) -> Result<HistoryQuery, Fault> {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let time = |ms: u64| (ms > 0).then_some(Timestamp(ms));
    let pod = said(&request.pod_name).map(|name| PodRef {
        namespace: request.pod_namespace.clone(),
        name,
        uid: None,
    });
    Ok(HistoryQuery {
        address: said(&request.address)
            .map(|text| text.parse())
            .transpose()
            .map_err(|error| wrong(&error))?,
        eni: said(&request.eni).map(EniId),
        pod,
        key: None,
        intent: said(&request.intent).map(Into::into),
        since: time(request.since_unix_ms),
        until: time(request.until_unix_ms),
        limit: Some(usize::try_from(request.limit).unwrap_or(LIMIT))
            .filter(|limit| *limit > 0)
            .or(Some(LIMIT)),
    })
}

fn wrong(error: &dyn std::error::Error) -> Fault {
    Fault::new(FaultCode::PlanInvalid, format!("the history cannot be asked for this: {error}"))
        .remedy("mend the value named")
}

/// Serves nobody new from now on.
pub(super) async fn retire(node: &Node) -> Result<wire::RetireReply, Fault> {
    let serving = node.serving()?;
    serving.driver.tell(Event::Retire);
    serving.retired.store(true, Ordering::Relaxed);
    node.events.note("Retired", "the node goes away: every ENI goes as soon as nobody holds it");
    let in_use = serving.driver.look(|pool, _| pool.attachments().count()).await?;
    Ok(wire::RetireReply { in_use: u32::try_from(in_use).unwrap_or(u32::MAX) })
}
