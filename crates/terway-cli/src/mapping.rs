//! `mapping`: which ENI serves which pod. Daemons without `Status` (the Go one) are asked by the method
//! they have, and what they do not say stays empty.

use serde::Serialize;
use terway_rpc::wire::{
    Placeholder, PoolView, ResourceMapping, ResourceMappingReply, ResourceRecord, StatusRequest,
};
use terway_rpc::{DaemonClient, fault_of};
use terway_types::{Fault, FaultCode, Timestamp};

use crate::age::age;
use crate::pool::{self, Addresses, Eni};
use crate::screen::Screen;
use crate::table::Table;

#[derive(Serialize)]
struct Mapping {
    enis: Vec<Eni>,
}

/// Asks and prints once.
pub(crate) async fn run(client: &DaemonClient, screen: &mut Screen, now: Timestamp) -> Result<(), Fault> {
    let mapping = match client.status(StatusRequest {}).await {
        Ok(status) => of_pool(&status.pool.unwrap_or_default()),
        Err(fault) if fault.code == FaultCode::DaemonOutdated => {
            of_resources(&client.get_resource_mapping(Placeholder {}).await?)
        }
        Err(fault) => return Err(fault),
    };
    screen.show(&mapping, |mapping| text(mapping, now))
}

/// Prints now and after every change, until the daemon or the reader goes away.
pub(crate) async fn watch(
    client: &DaemonClient,
    screen: &mut Screen,
    now: impl Fn() -> Timestamp,
) -> Result<(), Fault> {
    let mut views = client.watch_pool().await?;
    while let Some(view) = views.message().await.map_err(|status| fault_of(&status))? {
        screen.show(&of_pool(&view), |mapping| format!("{}\n", text(mapping, now())))?;
    }
    Ok(())
}

fn of_pool(view: &PoolView) -> Mapping {
    Mapping { enis: pool::enis(view) }
}

/// One entry per pod on an ENI, or one for an ENI without pods.
fn of_resources(reply: &ResourceMappingReply) -> Mapping {
    let mut enis = Vec::new();
    for eni in &reply.info {
        let before = enis.len();
        let holds = |record: &&ResourceRecord| record.eni_id == eni.eni_id || record.eni_mac == eni.mac;
        enis.extend(reply.records.iter().filter(holds).map(|record| of_resource(eni, Some(record))));
        if enis.len() == before {
            enis.push(of_resource(eni, None));
        }
    }
    enis.sort_by(|left, right| left.id.cmp(&right.id));
    Mapping { enis }
}

fn of_resource(eni: &ResourceMapping, record: Option<&ResourceRecord>) -> Eni {
    Eni {
        id: pool::some(&eni.eni_id),
        mac: pool::some(&eni.mac),
        phase: eni.status.clone(),
        since_unix_ms: None,
        vswitch: None,
        link_present: None,
        addresses: Addresses {
            ipv4: record.and_then(|record| pool::some(&record.ipv4)),
            ipv6: record.and_then(|record| pool::some(&record.ipv6)),
        },
        attachment: None,
        pod: record.and_then(|record| pool::pod(&record.pod_namespace, &record.pod_name)),
        host_link: None,
        fault: None,
    }
}

fn text(mapping: &Mapping, now: Timestamp) -> String {
    let mut table =
        Table::new(&["ENI", "MAC", "PHASE", "FOR", "IPV4", "IPV6", "POD", "ATTACHMENT", "HOST LINK"]);
    for eni in &mapping.enis {
        let attachment = eni.attachment.as_ref().map(pool::Attachment::short);
        table.row(
            [
                eni.id.clone(),
                eni.mac.clone(),
                Some(eni.phase.clone()),
                eni.since_unix_ms.map(|since| age(Timestamp(since), now)),
                eni.addresses.ipv4.clone(),
                eni.addresses.ipv6.clone(),
                eni.pod.as_ref().map(pool::Pod::full_name),
                attachment,
                eni.host_link.clone(),
            ]
            .map(Option::unwrap_or_default),
        );
    }
    let faults = mapping.enis.iter().filter_map(|eni| {
        let name = eni.id.as_deref().unwrap_or("an ENI without id");
        eni.fault.as_ref().map(|fault| format!("{name}: {}", fault.line()))
    });
    std::iter::once(table.render()).chain(faults).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::pool::samples;

    #[test]
    fn a_pool_as_a_table() {
        assert_snapshot!(text(&of_pool(&samples::pool()), Timestamp(samples::NOW)), @r"
        ENI    MAC                PHASE     FOR    IPV4      IPV6     POD          ATTACHMENT         HOST LINK
        eni-a  00:16:3e:00:00:01  InUse     42s    10.0.0.7  -        default/web  c0ffeec0ffee/eth0  cali68caf03a5f4
        eni-b  00:16:3e:00:00:02  Ready     3m10s  10.0.0.8  fd00::8  -            -                  -
        -      -                  Creating  850ms  -         -        -            -                  -
        an ENI without id: subnet-exhausted: vsw-a has no free address (remedy: add a vSwitch)
        ");
    }

    #[test]
    fn a_pool_as_json() {
        let mapping = of_pool(&samples::pool());
        let in_use = serde_json::to_string_pretty(&mapping.enis[0]).unwrap();
        assert_snapshot!(in_use, @r#"
        {
          "id": "eni-a",
          "mac": "00:16:3e:00:00:01",
          "phase": "InUse",
          "since_unix_ms": 1795219158000,
          "vswitch": "vsw-a",
          "link_present": true,
          "addresses": {
            "ipv4": "10.0.0.7",
            "ipv6": null
          },
          "attachment": {
            "network": "terway",
            "container_id": "c0ffeec0ffeec0ffee",
            "ifname": "eth0"
          },
          "pod": {
            "namespace": "default",
            "name": "web"
          },
          "host_link": "cali68caf03a5f4",
          "fault": null
        }
        "#);
        let creating = serde_json::to_value(&mapping.enis[2]).unwrap();
        assert!(creating["id"].is_null() && creating["attachment"].is_null() && creating["pod"].is_null());
        assert_eq!(creating["fault"]["code"], "subnet-exhausted");
    }

    #[test]
    fn the_go_daemons_resources() {
        let record = |pod: &str, ipv4: &str| ResourceRecord {
            pod_name: pod.into(),
            pod_namespace: "default".into(),
            eni_id: "eni-b".into(),
            ipv4: ipv4.into(),
            ..Default::default()
        };
        let eni = |id: &str, mac: &str| ResourceMapping {
            eni_id: id.into(),
            mac: mac.into(),
            status: "InUse".into(),
            ..Default::default()
        };
        let reply = ResourceMappingReply {
            info: vec![eni("eni-b", "00:16:3e:00:00:02"), eni("eni-a", "00:16:3e:00:00:01")],
            records: vec![record("x", "10.0.0.8"), record("y", "10.0.0.9")],
        };
        assert_snapshot!(text(&of_resources(&reply), Timestamp(samples::NOW)), @r"
        ENI    MAC                PHASE  FOR  IPV4      IPV6  POD        ATTACHMENT  HOST LINK
        eni-a  00:16:3e:00:00:01  InUse  -    -         -     -          -           -
        eni-b  00:16:3e:00:00:02  InUse  -    10.0.0.8  -     default/x  -           -
        eni-b  00:16:3e:00:00:02  InUse  -    10.0.0.9  -     default/y  -           -
        ");
    }
}
