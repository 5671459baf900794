//! Looking inside, as the existing CLI does: the gRPC service `TerwayTracing`. Three types of resources
//! (`network_service`, `resource_pool`, `factory`), one resource of each.

use std::sync::Arc;

use terway_pool::{AddressView, EniView, PoolView};
use terway_rpc::wire::terway_tracing_server::TerwayTracing;
use terway_rpc::{status_of, wire};
use terway_types::{AddressPhase, EniId, Fault, FaultCode, IpFamily, MacAddr, NodeMode};
use tonic::{Request, Response, Status};

use crate::node::{Node, Serving};

const SERVICE: &str = "network_service";
const POOL: &str = "resource_pool";
const FACTORY: &str = "factory";
/// The name of the only resource of each type.
const DEFAULT: &str = "default";

/// The service, over a daemon in whatever state it is.
#[derive(Clone, Debug)]
pub struct Inspection {
    node: Arc<Node>,
}

type Reply<T> = Result<Response<T>, Status>;

impl Inspection {
    /// The service of this daemon.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    async fn config(&self, kind: &str) -> Result<Vec<wire::KeyValue>, Fault> {
        match kind {
            SERVICE => Ok(vec![
                pair("name", DEFAULT),
                pair("daemon_mode", self.mode()),
                pair("config_file_path", self.node.config.display()),
            ]),
            POOL => {
                let pool = self.node.pool().await?;
                Ok(vec![
                    pair("min_idle", pool.min_idle),
                    pair("max_idle", pool.max_idle),
                    pair("max_enis", pool.max_enis),
                ])
            }
            _ => Ok(factory(&*self.node.serving()?)),
        }
    }

    fn mode(&self) -> &'static str {
        match self.node.progress().map(|serving| serving.standing.mode) {
            Ok(NodeMode::Exclusive) => "ENIOnly",
            Ok(NodeMode::Shared) => "ENIMultiIP",
            Ok(NodeMode::VpcRoute) => "VPC",
            Err(_) => "not decided yet",
        }
    }

    async fn trace(&self, kind: &str) -> Result<Vec<wire::KeyValue>, Fault> {
        let pool = self.node.pool().await?;
        Ok(match kind {
            SERVICE => pods(&pool),
            POOL => pool
                .enis
                .iter()
                .map(|eni| pair(&format!("eni/{}", name(eni)), eni.record.phase.name()))
                .chain([
                    pair("idle", pool.idle),
                    pair("in_use", pool.in_use),
                    pair("waiters", pool.waiters.len()),
                ])
                .collect(),
            _ => pool
                .enis
                .iter()
                .filter_map(|eni| {
                    let fault = eni.last_fault.as_ref()?;
                    Some(pair(&format!("eni/{}/last_fault", name(eni)), fault))
                })
                .collect(),
        })
    }

    async fn execute(&self, message: &wire::ResourceExecuteRequest) -> Result<Vec<String>, Fault> {
        match (message.r#type.as_str(), message.command.as_str()) {
            (SERVICE, "mapping") => {
                Ok(mapping(&self.node.pool().await?).into_iter().map(|row| row.text()).collect())
            }
            (SERVICE, "resdb") => {
                let records = records(&self.node.pool().await?);
                Ok(records.iter().map(|record| format!("{record:?}")).collect())
            }
            (kind, command) => {
                let known = if kind == SERVICE { "mapping, resdb" } else { "none" };
                Ok(vec![format!("unrecognised command {command:?}; {kind} knows: {known}")])
            }
        }
    }
}

trait Text {
    fn text(&self) -> String;
}

impl Text for wire::ResourceMapping {
    fn text(&self) -> String {
        format!("{} {} {} {}", self.eni_id, self.mac, self.status, self.info.join("; "))
    }
}

fn pair(key: &str, value: impl std::fmt::Display) -> wire::KeyValue {
    wire::KeyValue { key: key.to_owned(), value: format!("{value}") }
}

fn factory(serving: &Serving) -> Vec<wire::KeyValue> {
    let live = serving.live.borrow();
    let facts = &live.facts;
    let mut config = vec![
        pair("provider", serving.provider),
        pair("region", &facts.identity.region),
        pair("zone", &facts.identity.zone),
        pair("instance_id", &facts.identity.id),
        pair("instance_type", &facts.identity.instance_type),
        pair("instance_enis", facts.limits.enis),
    ];
    config.extend(facts.vswitches.iter().map(|vswitch| pair("vswitch", &vswitch.id)));
    config.extend(facts.security_groups.iter().map(|group| pair("security_group", group)));
    config
}

fn pods(pool: &PoolView) -> Vec<wire::KeyValue> {
    let mut trace = vec![pair("pending_pods_count", pool.waiters.len())];
    for eni in &pool.enis {
        if let Some(held) = &eni.attachment {
            let key = format!("pods/{}/{}/resources", held.pod.namespace, held.pod.name);
            trace.push(pair(&key, format_args!("(eni){}", name(eni))));
        }
        for address in &eni.addresses {
            if let Some(pod) = &address.pod {
                let key = format!("pods/{}/{}/resources", pod.namespace, pod.name);
                trace.push(pair(&key, format_args!("(eniIp){}.{}", mac(eni), address.record.address)));
            }
        }
    }
    trace
}

/// The cloud's id, or the token while there is none.
fn name(eni: &EniView) -> String {
    eni.record.id.as_ref().map_or_else(|| eni.record.token.to_string(), EniId::to_string)
}

fn mac(eni: &EniView) -> String {
    eni.record.mac.as_ref().map(MacAddr::to_string).unwrap_or_default()
}

fn mapping(pool: &PoolView) -> Vec<wire::ResourceMapping> {
    let row = |eni: &EniView| {
        let pod = eni.attachment.as_ref().map(|held| held.pod.to_string()).unwrap_or_default();
        let phase = eni.record.phase.name();
        wire::ResourceMapping {
            eni_id: name(eni),
            mac: mac(eni),
            r#type: match pool.mode {
                NodeMode::Exclusive => "Exclusive",
                NodeMode::Shared => "Secondary",
                NodeMode::VpcRoute => "Primary",
            }
            .to_owned(),
            inhibit_expires_at: String::new(),
            status: phase.to_owned(),
            info: if eni.addresses.is_empty() {
                eni.record.addresses.iter().map(|address| format!("{address}  {pod}  {phase}")).collect()
            } else {
                eni.addresses.iter().map(address).collect()
            },
        }
    };
    pool.enis.iter().map(row).collect()
}

fn address(view: &AddressView) -> String {
    let pod = view.pod.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}  {pod}  {}", view.record.address, view.record.phase.name())
}

fn records(pool: &PoolView) -> Vec<wire::ResourceRecord> {
    let record = |eni: &EniView| {
        let held = eni.attachment.as_ref()?;
        let addresses = eni.record.addresses;
        Some(wire::ResourceRecord {
            pod_name: held.pod.name.clone(),
            pod_namespace: held.pod.namespace.clone(),
            eni_id: name(eni),
            eni_mac: mac(eni),
            ipv4: addresses.v4.map(|v4| v4.to_string()).unwrap_or_default(),
            ipv6: addresses.v6.map(|v6| v6.to_string()).unwrap_or_default(),
            r#type: "eni".to_owned(),
        })
    };
    pool.enis.iter().filter_map(record).chain(pool.enis.iter().flat_map(shared_records)).collect()
}

/// A pod's addresses of both families lie on one ENI and are one record.
fn shared_records(eni: &EniView) -> Vec<wire::ResourceRecord> {
    let mut records: Vec<(&terway_types::AttachmentKey, wire::ResourceRecord)> = Vec::new();
    for view in &eni.addresses {
        let AddressPhase::InUse(key) = &view.record.phase else { continue };
        let at = records.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            let pod = view.pod.clone().unwrap_or_default();
            let record = wire::ResourceRecord {
                pod_name: pod.name,
                pod_namespace: pod.namespace,
                eni_id: name(eni),
                eni_mac: mac(eni),
                r#type: "eniIp".to_owned(),
                ..Default::default()
            };
            records.push((key, record));
            records.len() - 1
        });
        let text = view.record.address.to_string();
        match IpFamily::of(&view.record.address) {
            IpFamily::V4 => records[at].1.ipv4 = text,
            IpFamily::V6 => records[at].1.ipv6 = text,
        }
    }
    records.into_iter().map(|(_, record)| record).collect()
}

/// Refuses types and names that do not exist.
fn known<'a>(kind: &'a str, name: &str) -> Result<&'a str, Status> {
    if [SERVICE, POOL, FACTORY].contains(&kind) && name == DEFAULT {
        return Ok(kind);
    }
    let what = format!("there is no resource {name:?} of type {kind:?}");
    Err(status_of(&Fault::new(FaultCode::PlanInvalid, what).remedy("list them with `terway-cli list`")))
}

fn reply<T>(outcome: Result<T, Fault>) -> Reply<T> {
    outcome.map(Response::new).map_err(|fault| status_of(&fault))
}

#[tonic::async_trait]
impl TerwayTracing for Inspection {
    async fn get_resource_types(&self, _: Request<wire::Placeholder>) -> Reply<wire::ResourceTypes> {
        let names = [SERVICE, POOL, FACTORY].map(str::to_owned).to_vec();
        Ok(Response::new(wire::ResourceTypes { names }))
    }

    async fn get_resources(&self, request: Request<wire::ResourceTypeRequest>) -> Reply<wire::ResourceNames> {
        known(&request.get_ref().name, DEFAULT)?;
        Ok(Response::new(wire::ResourceNames { names: vec![DEFAULT.to_owned()] }))
    }

    async fn get_resource_config(
        &self,
        request: Request<wire::ResourceTypeNameRequest>,
    ) -> Reply<wire::ResourceConfigReply> {
        let message = request.into_inner();
        let config = self.config(known(&message.r#type, &message.name)?).await;
        reply(config.map(|config| wire::ResourceConfigReply { config }))
    }

    async fn get_resource_trace(
        &self,
        request: Request<wire::ResourceTypeNameRequest>,
    ) -> Reply<wire::ResourceTraceReply> {
        let message = request.into_inner();
        let trace = self.trace(known(&message.r#type, &message.name)?).await;
        reply(trace.map(|trace| wire::ResourceTraceReply { trace }))
    }

    type ResourceExecuteStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<wire::ResourceExecuteReply, Status>>>;

    async fn resource_execute(
        &self,
        request: Request<wire::ResourceExecuteRequest>,
    ) -> Reply<Self::ResourceExecuteStream> {
        let message = request.into_inner();
        known(&message.r#type, &message.name)?;
        let lines = self.execute(&message).await.map_err(|fault| status_of(&fault))?;
        let replies: Vec<_> =
            lines.into_iter().map(|message| Ok(wire::ResourceExecuteReply { message })).collect();
        Ok(Response::new(tokio_stream::iter(replies)))
    }

    async fn get_resource_mapping(&self, _: Request<wire::Placeholder>) -> Reply<wire::ResourceMappingReply> {
        let pool = self.node.pool().await;
        reply(pool.map(|pool| wire::ResourceMappingReply { info: mapping(&pool), records: records(&pool) }))
    }
}
