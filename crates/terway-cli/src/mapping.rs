//! `mapping`: which ENI serves which pod. Daemons without `Status` (the Go one) are asked by the method
//! they have, and what they do not say stays empty.

use serde::Serialize;
use terway_rpc::wire::{
    Placeholder, PoolView, ResourceMapping, ResourceMappingReply, ResourceRecord, StatusRequest,
};
use terway_rpc::{DaemonClient, fault_of};
use terway_types::{Fault, FaultCode, Timestamp};

use crate::age::age;
use crate::pool::{self, Addresses, Attachment, Eni, Pod, Share};
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

/// Whether pods share an ENI is not said there: each has a share of it.
fn of_resources(reply: &ResourceMappingReply) -> Mapping {
    let mut enis: Vec<Eni> = reply.info.iter().map(|eni| of_resource(eni, &reply.records)).collect();
    enis.sort_by(|left, right| left.id.cmp(&right.id));
    Mapping { enis }
}

fn of_resource(eni: &ResourceMapping, records: &[ResourceRecord]) -> Eni {
    let holds = |record: &&ResourceRecord| record.eni_id == eni.eni_id || record.eni_mac == eni.mac;
    let share = |record: &ResourceRecord| Share {
        addresses: Addresses { ipv4: pool::some(&record.ipv4), ipv6: pool::some(&record.ipv6) },
        attachment: None,
        pod: pool::pod(&record.pod_namespace, &record.pod_name),
        host_link: None,
    };
    Eni {
        id: pool::some(&eni.eni_id),
        mac: pool::some(&eni.mac),
        phase: eni.status.clone(),
        since_unix_ms: None,
        vswitch: None,
        link_present: None,
        addresses: Addresses::default(),
        attachment: None,
        pod: None,
        host_link: None,
        shares: records.iter().filter(holds).map(share).collect(),
        fault: None,
    }
}

fn text(mapping: &Mapping, now: Timestamp) -> String {
    let mut table =
        Table::new(&["ENI", "MAC", "PHASE", "FOR", "IPV4", "IPV6", "POD", "ATTACHMENT", "HOST LINK"]);
    for eni in &mapping.enis {
        let head = [
            eni.id.clone(),
            eni.mac.clone(),
            Some(eni.phase.clone()),
            eni.since_unix_ms.map(|since| age(Timestamp(since), now)),
        ];
        let of_share = |Share { addresses, pod, attachment, host_link }: &Share| {
            tail(addresses, pod.as_ref(), attachment.as_ref(), host_link.as_ref())
        };
        let mut tails: Vec<_> = eni.shares.iter().map(of_share).collect();
        if tails.is_empty() {
            let Eni { addresses, pod, attachment, host_link, .. } = eni;
            tails.push(tail(addresses, pod.as_ref(), attachment.as_ref(), host_link.as_ref()));
        }
        for tail in tails {
            table.row(head.iter().cloned().chain(tail).map(Option::unwrap_or_default));
        }
    }
    let faults = mapping.enis.iter().filter_map(|eni| {
        let name = eni.id.as_deref().unwrap_or("an ENI without id");
        eni.fault.as_ref().map(|fault| format!("{name}: {}", fault.line()))
    });
    std::iter::once(table.render()).chain(faults).collect::<Vec<_>>().join("\n")
}

/// The columns about whoever has an ENI, or a part of it.
fn tail(
    addresses: &Addresses,
    pod: Option<&Pod>,
    attachment: Option<&Attachment>,
    host_link: Option<&String>,
) -> [Option<String>; 5] {
    [
        addresses.ipv4.clone(),
        addresses.ipv6.clone(),
        pod.map(Pod::full_name),
        attachment.map(Attachment::short),
        host_link.cloned(),
    ]
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
    fn shared_enis_with_their_pods() {
        assert_snapshot!(text(&of_pool(&samples::shared_pool()), Timestamp(samples::NOW)), @r"
        ENI    MAC  PHASE  FOR  IPV4      IPV6     POD          ATTACHMENT         HOST LINK
        eni-s  -    Ready  1m   10.0.0.7  fd00::7  default/web  c0ffeec0ffee/eth0  cali68caf03a5f4
        eni-s  -    Ready  1m   10.0.0.6  -        default/db   decafdecafde/eth0  calie57ed5aa5ae
        ");
        let mapping = serde_json::to_value(of_pool(&samples::shared_pool())).unwrap();
        let eni = &mapping["enis"][0];
        assert!(eni["pod"].is_null() && eni["shares"].as_array().unwrap().len() == 2, "{eni}");
        let share = &eni["shares"][0];
        assert_eq!(share["addresses"], serde_json::json!({ "ipv4": "10.0.0.7", "ipv6": "fd00::7" }));
        assert_eq!((&share["pod"]["name"], &share["attachment"]["ifname"]), (&"web".into(), &"eth0".into()));
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
          "shares": [],
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
