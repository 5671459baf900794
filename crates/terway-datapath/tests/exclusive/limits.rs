//! Traffic limits: the buckets are where they should be, with the rates asked for, and traffic passes through them.

use std::net::UdpSocket;

use serde_json::Value;
use terway_types::{Bandwidth, IpFamily::V4};

use crate::sandbox::run;
use crate::world::{PATIENCE, World};

pub(crate) fn rates_are_set_and_traffic_passes_them() {
    let world = World::new();
    let mut pod = world.pod(&[V4]);
    let limit = |bytes_per_second| Some(Bandwidth { bytes_per_second, burst_bytes: None });
    (pod.plan.ingress, pod.plan.egress) = (limit(1_250_000), limit(2_500_000));
    let layout = world.add(&pod);
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    let cali = &layout.host.links[0].name;
    let node = world.node_name();
    for (netns, link, rate) in
        [(&pod.name, "eth0", 2_500_000), (&pod.name, "ifb-eth0", 1_250_000), (&node, cali, 1_250_000)]
    {
        let tbf = tbf(netns, link);
        assert_eq!(tbf["options"]["rate"], rate, "{link}: {tbf}");
        assert_eq!(tbf["root"], true);
        let burst = tbf["options"]["burst"].as_u64().unwrap();
        assert!((2900..20_000).contains(&burst), "{link}: {tbf}");
    }

    // What arrives by the ENI passes the intermediate link, what leaves by it passes its own bucket.
    let bind = |netns: &terway_datapath::kernel::Netns, address: &str| {
        let socket = netns.run(|| UdpSocket::bind(address)).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let (gateway, inside) = (bind(&world.vpc, "10.0.1.253:7000"), bind(&pod.netns, "10.0.1.1:7000"));
    let before = (packets(&pod.name, "ifb-eth0"), packets(&pod.name, "eth0"));
    let mut buffer = [0; 2000];
    for _ in 0..10 {
        gateway.send_to(&[0; 1000], "10.0.1.1:7000").unwrap();
        inside.recv_from(&mut buffer).unwrap();
        inside.send_to(&[0; 1000], "10.0.1.253:7000").unwrap();
        gateway.recv_from(&mut buffer).unwrap();
    }
    assert!(packets(&pod.name, "ifb-eth0") >= before.0 + 10);
    assert!(packets(&pod.name, "eth0") >= before.1 + 10);
}

fn tbf(netns: &str, link: &str) -> Value {
    let all: Vec<Value> =
        serde_json::from_str(&run(&format!("tc -s -j -n {netns} qdisc show dev {link}"))).unwrap();
    all.into_iter().find(|qdisc| qdisc["kind"] == "tbf").unwrap_or_else(|| panic!("{link} has no tbf"))
}

fn packets(netns: &str, link: &str) -> u64 {
    tbf(netns, link)["packets"].as_u64().unwrap()
}
