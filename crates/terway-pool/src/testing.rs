//! Small values for tests.

use std::time::Duration;

use terway_types::{
    AddressCounts, Addresses, AttachmentKey, AttachmentRecord, ContainerId, EniPhase, EniRecord, Gateways,
    IfName, NetworkName, PodRef, Subnets, Timestamp,
};

use crate::settings::{Mode, PoolSettings, ReleasePace, VSwitchPolicy};

pub(crate) fn settings() -> PoolSettings {
    PoolSettings {
        mode: Mode::Exclusive,
        min_idle: 1,
        max_idle: 2,
        warm_up: 0,
        max_enis: 5,
        release: ReleasePace { interval: Duration::from_mins(2), quick: false },
        reclaim: None,
        vswitches: vec!["vsw-a".into()],
        vswitch_policy: VSwitchPolicy::Ordered,
        security_groups: vec!["sg-1".into()],
        ipv6: false,
        quarantine: Duration::from_secs(30),
        quarantine_max: Duration::from_mins(5),
        consistency: Duration::from_secs(10),
        link_timeout: Duration::from_mins(1),
        home_timeout: Duration::from_secs(90),
        operation_timeout: Duration::from_mins(10),
        retry_first: Duration::from_secs(1),
        retry_max: Duration::from_mins(1),
        parallel: 3,
        token_prefix: "test".to_owned(),
        generation: 1,
        seed: 1,
    }
}

pub(crate) fn key(number: u8) -> AttachmentKey {
    AttachmentKey {
        network: NetworkName::new("net").unwrap(),
        container: ContainerId::new(format!("c{number}")).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

pub(crate) fn record(token: &str, phase: EniPhase) -> EniRecord {
    EniRecord {
        token: token.into(),
        id: Some(format!("eni-{token}").into()),
        mac: None,
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::default(),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        phase,
        since: Timestamp(1),
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        claim: None,
        assigning: None,
    }
}

pub(crate) fn attachment(number: u8, token: &str) -> AttachmentRecord {
    AttachmentRecord {
        key: key(number),
        pod: PodRef::default(),
        netns: String::new(),
        eni: token.into(),
        addresses: Addresses::default(),
        claim: None,
        since: Timestamp(1),
    }
}
