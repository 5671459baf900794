//! `list`, `show`, `execute`: the daemon's own register of resources, as the tracing service offers it.

use serde::Serialize;
use terway_rpc::wire::{
    KeyValue, Placeholder, ResourceExecuteRequest, ResourceTypeNameRequest, ResourceTypeRequest,
};
use terway_rpc::{DaemonClient, fault_of};
use terway_types::{Fault, FaultCode};

use crate::screen::Screen;
use crate::tree::Tree;

/// Lists types, or the resources of one type.
pub(crate) async fn list(
    client: &DaemonClient,
    screen: &mut Screen,
    kind: Option<&str>,
) -> Result<(), Fault> {
    let mut names = match kind {
        None => client.get_resource_types(Placeholder {}).await?.names,
        Some(kind) => names(client, kind).await?,
    };
    names.sort();
    screen.show(&names, |names| names.join("\n"))
}

async fn names(client: &DaemonClient, kind: &str) -> Result<Vec<String>, Fault> {
    Ok(client.get_resources(ResourceTypeRequest { name: kind.to_owned() }).await?.names)
}

#[derive(Serialize)]
struct Resource {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    config: Vec<Entry>,
    trace: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    value: String,
}

impl From<KeyValue> for Entry {
    fn from(KeyValue { key, value }: KeyValue) -> Self {
        Self { key, value }
    }
}

/// Shows configuration and state of one resource.
pub(crate) async fn show(
    client: &DaemonClient,
    screen: &mut Screen,
    kind: &str,
    name: Option<&str>,
) -> Result<(), Fault> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => names(client, kind).await?.into_iter().next().ok_or_else(|| {
            Fault::new(FaultCode::ConfigInvalid, format!("there is no resource of type {kind}"))
                .remedy("see `terway-cli list` for the types")
        })?,
    };
    let request = ResourceTypeNameRequest { r#type: kind.to_owned(), name: name.clone() };
    let config = client.get_resource_config(request.clone()).await?.config;
    let trace = client.get_resource_trace(request).await?.trace;
    let resource = Resource {
        kind: kind.to_owned(),
        name,
        config: config.into_iter().map(Entry::from).collect(),
        trace: trace.into_iter().map(Entry::from).collect(),
    };
    screen.show(&resource, text)
}

fn text(resource: &Resource) -> String {
    let mut tree = Tree::default();
    for entry in resource.config.iter().chain(&resource.trace) {
        tree.insert(&entry.key, &entry.value);
    }
    let mut lines = vec![format!("{}/{}", resource.kind, resource.name)];
    lines.extend(tree.lines(1));
    lines.join("\n")
}

/// Runs a command of a resource and prints what it says, as it says it.
pub(crate) async fn execute(
    client: &DaemonClient,
    screen: &mut Screen,
    kind: &str,
    name: &str,
    command: &str,
    args: &[String],
) -> Result<(), Fault> {
    let request = ResourceExecuteRequest {
        r#type: kind.to_owned(),
        name: name.to_owned(),
        command: command.to_owned(),
        args: args.to_vec(),
    };
    let mut replies = client.resource_execute(request).await?;
    while let Some(reply) = replies.message().await.map_err(|status| fault_of(&status))? {
        screen.verbatim(&reply.message)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_resource_as_a_tree() {
        let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
        let resource = Resource {
            kind: "network_service".into(),
            name: "default".into(),
            config: vec![entry("name", "default"), entry("daemon_mode", "ENIOnly")],
            trace: vec![
                entry("pending_pods_count", "0"),
                entry("pods/default/web/resources", "(eni) eni-a"),
                entry("pods/default/db/resources", "(eni) eni-b"),
            ],
        };
        assert_snapshot!(text(&resource), @r"
        network_service/default
          name: default
          daemon_mode: ENIOnly
          pending_pods_count: 0
          pods
            default
              web
                resources: (eni) eni-a
              db
                resources: (eni) eni-b
        ");
    }
}
