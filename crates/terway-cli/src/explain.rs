//! `explain`: everything the daemon knows about the attachments of a pod or a sandbox.

use serde::Serialize;
use terway_rpc::DaemonClient;
use terway_rpc::wire::{AttachmentView, ExplainRequest, Interface};
use terway_types::{Fault, FaultCode, Timestamp};

use crate::age::age;
use crate::arguments::Subject;
use crate::pool::{self, Attachment, Eni, Pod};
use crate::screen::Screen;
use crate::table::properties;

#[derive(Serialize)]
struct Explanation {
    attachment: Option<Attachment>,
    pod: Option<Pod>,
    netns: String,
    since_unix_ms: u64,
    host_link: Option<String>,
    eni: Option<Eni>,
    /// The attachment's own; a shared ENI has others too.
    addresses: Vec<String>,
    gateways: Vec<String>,
    service_cidrs: Vec<String>,
    default_route: bool,
}

/// Asks and prints; knowing nothing is a failure.
pub(crate) async fn run(
    client: &DaemonClient,
    screen: &mut Screen,
    subject: &Subject,
    now: Timestamp,
) -> Result<(), Fault> {
    let reply = client.explain(request(subject)).await?;
    if reply.attachments.is_empty() {
        return Err(Fault::new(FaultCode::AttachmentUnknown, "the daemon knows no such pod or sandbox")
            .remedy("see `terway-cli mapping` for those it knows"));
    }
    let explanations: Vec<Explanation> = reply.attachments.iter().map(view).collect();
    screen.show(&explanations, |all| all.iter().map(|one| text(one, now)).collect::<Vec<_>>().join("\n\n"))
}

fn request(subject: &Subject) -> ExplainRequest {
    let (pod_namespace, pod_name) = subject.pod.clone().unwrap_or_default();
    ExplainRequest { container_id: subject.container.clone().unwrap_or_default(), pod_name, pod_namespace }
}

fn view(message: &AttachmentView) -> Explanation {
    let interface = message.interface.clone().unwrap_or_default();
    Explanation {
        attachment: message.attachment.as_ref().map(Attachment::from),
        pod: pool::pod(&message.pod_namespace, &message.pod_name),
        netns: message.netns.clone(),
        since_unix_ms: message.since_unix_ms,
        host_link: message
            .attachment
            .as_ref()
            .and_then(|key| pool::host_link(key, &message.pod_namespace, &message.pod_name)),
        eni: message.eni.as_ref().map(Eni::from),
        addresses: texts(&interface, |basic| basic.pod_ip.as_ref()),
        gateways: texts(&interface, |basic| basic.gateway.as_ref()),
        service_cidrs: texts(&interface, |basic| basic.service_cidr.as_ref()),
        default_route: interface.default_route,
    }
}

/// The texts of both families of one part of an interface.
fn texts(
    interface: &Interface,
    part: impl Fn(&terway_rpc::wire::BasicInfo) -> Option<&terway_rpc::wire::AddressPair>,
) -> Vec<String> {
    let pair = interface.basic.as_ref().and_then(part).cloned().unwrap_or_default();
    let both = [pair.ipv4, pair.ipv6];
    both.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn text(explanation: &Explanation, now: Timestamp) -> String {
    let attachment = explanation.attachment.as_ref();
    let mut lines = vec![
        (
            "attachment",
            attachment
                .map(|key| format!("{}/{}/{}", key.network, key.container_id, key.ifname))
                .unwrap_or_default(),
        ),
        ("pod", explanation.pod.as_ref().map_or_else(|| "-".to_owned(), Pod::full_name)),
        ("since", format!("{} ago", age(Timestamp(explanation.since_unix_ms), now))),
        ("netns", explanation.netns.clone()),
    ];
    if let Some(eni) = &explanation.eni {
        let name = eni.id.as_deref().unwrap_or("-");
        let said = eni.mac.as_deref().map(|mac| format!("{name}, {mac}, {}", eni.phase));
        lines.push(("eni", said.unwrap_or_else(|| "none: the VPC leads the address to the node".to_owned())));
    }
    lines.push(("addresses", explanation.addresses.join(", ")));
    let default = if explanation.default_route { " (default route)" } else { "" };
    let gateways =
        if explanation.gateways.is_empty() { "the node" } else { &explanation.gateways.join(", ") };
    lines.push(("gateways", format!("{gateways}{default}")));
    if let Some(link) = &explanation.host_link {
        lines.push(("host link", link.clone()));
    }
    if !explanation.service_cidrs.is_empty() {
        lines.push(("services", format!("{} by the host link", explanation.service_cidrs.join(", "))));
    }
    properties(lines)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use terway_rpc::wire::{AddressPair, BasicInfo};

    use super::*;
    use crate::pool::samples;

    #[test]
    fn an_attachment_explained() {
        let message = AttachmentView {
            attachment: Some(samples::attachment("c0ffee")),
            pod_name: "web".into(),
            pod_namespace: "default".into(),
            netns: "/run/netns/web".into(),
            since_unix_ms: samples::NOW - 42_000,
            eni: Some(samples::pool().enis[2].clone()),
            interface: Some(Interface {
                basic: Some(BasicInfo {
                    pod_ip: Some(AddressPair { ipv4: "10.0.0.7".into(), ipv6: String::new() }),
                    gateway: Some(AddressPair { ipv4: "10.0.0.253".into(), ipv6: String::new() }),
                    service_cidr: Some(AddressPair { ipv4: "172.16.0.0/16".into(), ipv6: String::new() }),
                    ..Default::default()
                }),
                default_route: true,
                ..Default::default()
            }),
        };
        assert_snapshot!(text(&view(&message), Timestamp(samples::NOW)), @r"
        attachment  terway/c0ffee/eth0
        pod         default/web
        since       42s ago
        netns       /run/netns/web
        eni         eni-a, 00:16:3e:00:00:01, InUse
        addresses   10.0.0.7
        gateways    10.0.0.253 (default route)
        host link   cali68caf03a5f4
        services    172.16.0.0/16 by the host link
        ");
    }
}
