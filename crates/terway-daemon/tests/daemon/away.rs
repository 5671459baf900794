//! A start while metadata or the cloud are away.

use terway_types::{CloudFailureKind, MacAddr};

use crate::support::Site;

const CONFIG: &str = r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1}"#;

#[test]
fn warm_enis_are_served_by_what_was_known_before() {
    for call in ["identity", "limits", "vswitch"] {
        let site = Site::new(CONFIG);
        let life = site.serve();
        life.until_phases(&[("Ready", 1)]);
        life.stop();
        site.cloud.refuse(call, Some(CloudFailureKind::Transient));
        let life = site.serve();
        let message = life.until_event("CloudAway");
        assert!(message.contains("refused by the test"), "{message}");
        life.run(life.allocate("a")).unwrap();
        let notices = life.run(life.status()).unwrap().notices;
        assert!(notices[0].contains("the cloud did not answer at the start"), "{notices:?}");
        life.stop();
    }
}

#[test]
fn what_the_cloud_says_later_is_heard() {
    let site = Site::new(CONFIG);
    site.serve().stop();
    site.cloud.refuse("limits", Some(CloudFailureKind::Transient));
    let life = site.serve();
    life.until_event("ConfigWaits");
    site.cloud.refuse("limits", None);
    // Looked at again with the next change of the file's directory, or soon.
    site.configure(CONFIG);
    life.until_event("CloudBack");
    assert!(life.run(life.status()).unwrap().notices.is_empty());
    life.stop();
}

#[test]
fn another_nodes_memory_is_not_believed() {
    let mut site = Site::new(CONFIG);
    site.serve().stop();
    site.cloud.refuse("identity", Some(CloudFailureKind::Transient));
    site.macs = vec![MacAddr([2, 0, 0, 0, 0, 77])];
    let life = site.start();
    life.until("the reason is told", async |life| {
        life.status().await.unwrap().fault.filter(|fault| fault.code == "cloud-unavailable")
    });
    life.stop();
}
