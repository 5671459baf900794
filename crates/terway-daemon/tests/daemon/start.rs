//! Start-up: the socket answers at once, says why it cannot serve, and recovers by itself.

use std::fs;
use std::pin::pin;

use terway_daemon::instance_lock::InstanceLock;
use terway_rpc::wire;
use terway_types::{CloudFailureKind, FaultCode};

use crate::support::{Site, container};

#[test]
fn a_cloud_that_is_away_is_waited_for_and_named() {
    let site = Site::new(r#"{"security_groups": ["sg-1"]}"#);
    site.cloud.refuse("identity", Some(CloudFailureKind::Transient));
    let life = site.start();
    let fault = life.until("the reason is told", async |life| {
        let status = life.status().await.unwrap();
        assert!(!status.ready && status.pool.is_none());
        status.fault.filter(|fault| fault.code == FaultCode::CloudUnavailable.name())
    });
    assert!(fault.cause.contains("refused by the test"), "{fault:?}");
    let refused = life.run(life.allocate("a")).unwrap_err();
    assert_eq!(refused.code, FaultCode::DaemonStarting);
    assert!(refused.cause.starts_with("cloud-unavailable: "), "{refused}");
    let kept = life.run(life.release("a")).unwrap_err();
    assert_eq!(kept.code, FaultCode::DaemonStarting, "the plugin spools it");
    assert!(!site.path("net.d/10-terway.conflist").exists(), "the node is not ready");
    site.cloud.refuse("identity", None);
    life.until_ready();
    life.until("the conflist is installed", async |_| {
        fs::metadata(site.path("net.d/10-terway.conflist")).ok().map(drop)
    });
    life.stop();
    assert!(site.path("net.d/10-terway.conflist").exists(), "DEL needs it");
}

#[test]
fn who_comes_while_the_daemon_starts_waits_for_it() {
    let site = Site::new(r#"{"security_groups": ["sg-1"], "max_pool_size": 1}"#);
    site.cloud.with(|cloud| cloud.busy.send_replace(true));
    let life = site.start();
    life.run(async {
        let client = life.client().await.unwrap();
        let mut call = pin!(client.alloc_ip(container("a")));
        // On the same connection, so behind it: when so many are answered, the call has long been there.
        let looks = async {
            for _ in 0..50 {
                assert!(!client.status(wire::StatusRequest {}).await.unwrap().ready);
            }
        };
        tokio::select! {
            biased;
            answer = &mut call => panic!("answered while the start was held: {answer:?}"),
            () = looks => {}
        }
        site.cloud.with(|cloud| cloud.busy.send_replace(false));
        call.await.unwrap();
    });
    life.stop();
}

#[test]
fn a_cloud_that_answers_one_question_at_a_time_is_enough() {
    const QUESTIONS: [&str; 3] = ["limits", "vswitch", "describe"];
    let site = Site::new("{}");
    site.cloud.add_primary(&["sg-1"]);
    for question in QUESTIONS {
        site.cloud.refuse(question, Some(CloudFailureKind::Throttled));
    }
    let asked = |question| site.cloud.with(|state| state.calls.get(question).copied().unwrap_or(0));
    let life = site.start();
    for question in QUESTIONS {
        site.cloud.refuse(question, None);
        let before = asked(question);
        life.until(&format!("{question} is answered"), async |_| (asked(question) > before).then_some(()));
        site.cloud.refuse(question, Some(CloudFailureKind::Throttled));
    }
    life.until_ready();
    life.stop();
}

#[test]
fn unusable_vswitches_are_named() {
    for (vswitch, reason) in [
        ("vsw-unknown", "the cloud does not know vSwitch vsw-unknown, listed for zone zone-a"),
        ("vsw-elsewhere", "vSwitch vsw-elsewhere is in zone zone-b, this node is in zone-a"),
        ("vsw-foreign", "vSwitch vsw-foreign is in VPC vpc-2, this node is in vpc-1"),
    ] {
        let site = Site::new(&format!(
            r#"{{"vswitches": {{"zone-a": ["vsw-1", "{vswitch}"]}}, "security_groups": ["sg-1"]}}"#
        ));
        let life = site.start();
        life.until("the reason is told", async |life| {
            life.status().await.unwrap().fault.filter(|fault| fault.what == reason)
        });
        life.stop();
    }
}

#[test]
fn a_spoilt_ledger_is_told_and_left_alone() {
    let site = Site::new(r#"{"security_groups": ["sg-1"]}"#);
    fs::create_dir_all(site.path("state")).unwrap();
    fs::write(site.path("state/ledger.redb"), "not a database").unwrap();
    let life = site.start();
    life.until("the reason is told", async |life| {
        life.status().await.unwrap().fault.filter(|fault| fault.code == FaultCode::LedgerCorrupt.name())
    });
    let kept = life.run(life.release("a")).unwrap_err();
    assert_eq!(kept.code, FaultCode::DaemonStarting, "the plugin spools it");
    life.stop();
    assert_eq!(fs::read(site.path("state/ledger.redb")).unwrap(), b"not a database");
}

#[test]
fn the_pool_is_filled_and_marked() {
    let site = Site::new(
        r#"{"security_groups": ["sg-1"], "min_pool_size": 2, "max_pool_size": 3, "eni_tags": {"team": "a"}}"#,
    );
    let life = site.serve();
    life.until_phases(&[("Ready", 2)]);
    life.stop();
    site.cloud.with(|cloud| {
        for eni in cloud.enis.values() {
            for (key, value) in
                [("creator", "terway"), ("terway.io/cluster", "c1"), ("terway.io/node", "n1"), ("team", "a")]
            {
                assert_eq!(eni.tags.get(key).map(String::as_str), Some(value));
            }
            assert!(eni.tags.contains_key("terway.io/intent"));
            assert_eq!(eni.vswitch.as_str(), "vsw-own", "no vSwitch listed for the zone");
        }
    });
}

#[test]
fn a_node_without_a_vswitch_of_its_own_wants_some_listed() {
    let site = Site::new(r#"{"security_groups": ["sg-1"], "max_pool_size": 1}"#);
    site.cloud.with(|cloud| cloud.homeless = true);
    let life = site.start();
    let fault = life.until("the reason is told", async |life| {
        life.status().await.unwrap().fault.filter(|fault| fault.code == FaultCode::ConfigInvalid.name())
    });
    assert_eq!(fault.what, "`vswitches` lists none for zone zone-a, and this node has none of its own");
    assert!(fault.remedy.contains("list the vSwitches"), "{}", fault.remedy);
    life.stop();
    site.configure(
        r#"{"security_groups": ["sg-1"], "max_pool_size": 1, "vswitches": {"zone-a": ["vsw-1"]}}"#,
    );
    site.serve().stop();
}

#[test]
fn a_gateway_that_the_metadata_names_is_believed_from_then_on() {
    let site = Site::new(r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1}"#);
    site.cloud.with(|cloud| cloud.told.gateways.v4 = "10.0.0.9".parse().ok());
    let life = site.serve();
    life.until_phases(&[("Ready", 1)]);
    assert_eq!(life.run(life.gateway("a")).unwrap(), "10.0.0.9");
    let told = life.until_event("GatewayDiffers");
    assert!(told.contains("10.0.0.9 as gateway of vSwitch vsw-own"), "{told}");
    life.stop();
    // The next life has nobody to ask.
    site.cloud.refuse("identity", Some(CloudFailureKind::Transient));
    site.cloud.refuse("vswitch", Some(CloudFailureKind::Transient));
    let life = site.serve();
    assert_eq!(life.run(life.gateway("a")).unwrap(), "10.0.0.9");
    life.stop();
}

#[test]
fn security_groups_default_to_those_of_the_primary_eni() {
    let site = Site::new(r#"{"min_pool_size": 1, "max_pool_size": 1}"#);
    let life = site.start();
    life.until("the reason is told", async |life| {
        life.status().await.unwrap().fault.filter(|fault| fault.remedy.contains("`security_groups`"))
    });
    site.cloud.add_primary(&["sg-7", "sg-8"]);
    life.until_phases(&[("Ready", 1)]);
    life.stop();
    let groups = site.cloud.with(|cloud| cloud.enis[&"eni-1".into()].security_groups.clone());
    assert_eq!(groups, ["sg-7".into(), "sg-8".into()]);
}

#[test]
fn one_daemon_per_state_directory() {
    let site = Site::new("{}");
    let _held = InstanceLock::take(&site.path("state")).unwrap();
    let error = InstanceLock::take(&site.path("state")).unwrap_err().to_string();
    assert!(error.contains("another terwayd (process "), "{error}");
}
