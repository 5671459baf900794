//! The operator's file while the daemon runs.

use crate::support::Site;

const FIRST: &str = r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1}"#;

#[test]
fn a_valid_change_takes_effect_and_an_invalid_one_does_not() {
    let site = Site::new(FIRST);
    let life = site.serve();
    life.until_phases(&[("Ready", 1)]);

    site.configure(
        r#"{"security_groups": ["sg-1"], "min_pool_size": 3, "max_pool_size": 2, "eni_quarantine": "x"}"#,
    );
    let refused = life.until_event("ConfigRefused");
    assert!(refused.contains("2 problems in the configuration"), "{refused}");
    assert!(refused.contains("min_pool_size: 3 is more than max_pool_size, 2"), "{refused}");
    assert!(refused.contains("eni_quarantine: ") && refused.contains("what was in force stays"), "{refused}");
    assert_eq!(life.run(life.status()).unwrap().pool.unwrap().max_idle, 1);

    site.configure(
        r#"{"security_groups": ["sg-1"], "vswitches": {"zone-a": ["vsw-unknown"]}, "max_pool_size": 2}"#,
    );
    life.until("the cloud's word is told", async |life| {
        let client = life.client().await.ok()?;
        let events = client.events(terway_rpc::wire::EventsRequest {}).await.ok()?.events;
        events.iter().any(|event| event.message.contains("does not know vSwitch vsw-unknown")).then_some(())
    });

    site.configure(
        r#"{"security_groups": ["sg-1"], "min_pool_size": 2, "max_pool_size": 20, "service_cidr": "172.21.0.0/20"}"#,
    );
    let applied = life.until_event("ConfigApplied");
    assert!(applied.starts_with("2 to 7 idle"), "{applied}");
    assert!(applied.contains("service_cidr can only change with a restart"), "{applied}");
    assert!(applied.contains("`max_pool_size` 20 is more than the 7 ENIs"), "{applied}");
    life.until_phases(&[("Ready", 2)]);
    life.stop();
}

#[test]
fn a_file_that_goes_away_changes_nothing() {
    let site = Site::new(FIRST);
    let life = site.serve();
    std::fs::remove_file(site.path("etc/eni_conf")).unwrap();
    assert!(life.until_event("ConfigUnreadable").contains("what was in force stays"));
    life.until_phases(&[("Ready", 1)]);
    life.run(life.allocate("a")).unwrap();
    life.stop();
}
