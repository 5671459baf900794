//! Looks at all ENIs: what they show, whom they tell, and what is counted.

use std::collections::BTreeMap;

use terway_cloud::{Cloud as _, CreateEni, EniKind};
use terway_rpc::wire;
use terway_types::{AddressCounts, CloudFailureKind};

use crate::support::{Life, Site};

const CONFIG: &str = r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1}"#;

fn inspect(life: &Life) -> wire::InspectReply {
    life.run(async { life.client().await.unwrap().inspect(wire::InspectRequest {}).await.unwrap() })
}

/// Somebody makes an ENI with these tags.
fn make(site: &Site, life: &Life, token: &str, tags: &[(&str, &str)], attached: bool) -> String {
    let request = CreateEni {
        token: token.into(),
        vswitch: "vsw-own".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    };
    life.run(async {
        let made = site.cloud.create_eni(&request).await.unwrap();
        if attached {
            site.cloud.attach_eni(&made.id, &"i-1".into()).await.unwrap();
        }
        made.id.0
    })
}

#[test]
fn enis_of_others_and_orphans_are_told_and_counted() {
    let site = Site::new(CONFIG);
    site.cloud.add_primary(&["sg-1"]);
    let life = site.serve();
    life.until_phases(&[("Ready", 1)]);
    let foreign = make(&site, &life, "x", &[("creator", "somebody")], true);
    let ours = [("creator", "terway"), ("terway.io/cluster", "c1"), ("terway.io/node", "n1")];
    let orphan = make(&site, &life, "y", &ours, false);
    let look = inspect(&life);
    assert_eq!((look.enis, look.metadata_macs), (4, 1));
    assert_eq!((look.foreign, look.orphans), (vec![foreign.clone()], vec![orphan]));
    assert!(look.missing.is_empty() && look.cloud_fault.is_none());
    assert_eq!(life.run(life.status()).unwrap().inventory.unwrap().enis, 4);
    assert!(
        life.run(life.status()).unwrap().pool.unwrap().enis.iter().all(|eni| eni.id != foreign),
        "what is not ours is never taken"
    );
    life.stop();
}

#[test]
fn half_a_look_is_none() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    life.until_phases(&[("Ready", 1)]);
    site.cloud.refuse("describe", Some(CloudFailureKind::Denied));
    let look = inspect(&life);
    assert_eq!(look.cloud_fault.unwrap().code, "cloud-denied");
    assert!(look.missing.is_empty(), "a refused look shows nothing missing");
    life.until_phases(&[("Ready", 1)]);
    life.stop();
}

#[test]
fn an_eni_that_the_cloud_does_not_show_is_told() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    life.until_phases(&[("Ready", 1)]);
    let eni = life.run(life.allocate("a")).unwrap();
    life.until_phases(&[("InUse", 1), ("Ready", 1)]);
    let hidden = site.cloud.with(|cloud| cloud.enis.remove(&eni.as_str().into()).unwrap());
    assert_eq!(inspect(&life).missing, std::slice::from_ref(&eni));
    assert_eq!(life.run(life.info("a")).unwrap(), Some(eni), "what is in use is not taken away");
    site.cloud.with(|cloud| cloud.enis.insert(hidden.id.clone(), hidden));
    assert!(inspect(&life).missing.is_empty());
    life.stop();
}

#[test]
fn a_node_that_goes_away_serves_nobody_new() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    life.run(async {
        life.allocate("a").await.unwrap();
        let client = life.client().await.unwrap();
        assert_eq!(client.retire(wire::RetireRequest {}).await.unwrap().in_use, 1);
    });
    life.until_event("Retired");
    let notices = life.run(life.status()).unwrap().notices;
    assert!(notices[0].starts_with("the node goes away"), "{notices:?}");
    life.until_phases(&[("InUse", 1)]);
    let refused = life.run(async {
        let client = life.client_for(std::time::Duration::from_millis(500)).await.unwrap();
        client.alloc_ip(crate::support::container("b")).await
    });
    assert!(refused.is_err());
    life.run(life.release("a")).unwrap();
    life.until_phases(&[]);
    life.stop();
    assert!(site.cloud.with(|cloud| cloud.enis.is_empty()), "nothing is left behind");
}
