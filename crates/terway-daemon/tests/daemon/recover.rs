//! A ledger that is damaged or lost is made anew, and a daemon goes on with it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use terway_cloud::Cloud;
use terway_daemon::actions::Owner;
use terway_daemon::clock;
use terway_daemon::instance_lock::InstanceLock;
use terway_daemon::recover::{Recovery, Traces};
use terway_rpc::attachment_key;
use terway_types::{Fault, FaultCode, MacAddr, NodeMode, Subnets};

use crate::support::Site;

const CONFIG: &str =
    r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1, "eni_quarantine": "0s"}"#;

fn recover(site: &Site, traces: &Traces, dry_run: bool) -> Result<Vec<String>, Fault> {
    let owner = Owner { cluster: "c1".to_owned(), node: "n1".to_owned() };
    let recovery = Recovery {
        state_dir: site.path("state"),
        mode: NodeMode::Exclusive,
        pod_ranges: Subnets::default(),
        lingjun: false,
        metadata: Arc::new(site.cloud.clone()),
        marks: owner.marks(),
        filter: BTreeMap::new(),
        quarantine: Duration::ZERO,
        dry_run,
    };
    let cloud = Arc::new(site.cloud.clone()) as Arc<dyn Cloud>;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(recovery.run(|_, _| Ok(Arc::clone(&cloud)), traces, clock::system()))
}

#[test]
fn a_daemon_goes_on_with_what_cloud_and_kernel_show() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    let eni = life.run(life.allocate("a")).unwrap();
    life.until_phases(&[("InUse", 1), ("Ready", 1)]);
    let (mac, address) = site.cloud.with(|cloud| {
        let eni = &cloud.enis[&eni.as_str().into()];
        (eni.mac, eni.addresses)
    });
    site.cloud.nic(mac, false);
    life.stop();
    let home: Vec<MacAddr> = site
        .cloud
        .with(|cloud| cloud.enis.values().map(|eni| eni.mac).filter(|other| *other != mac).collect());
    let traces = Traces {
        holders: BTreeMap::from([(attachment_key("", "a", "").unwrap(), address.iter().collect())]),
        nameless: Vec::new(),
        home: home.into_iter().collect(),
    };
    let refused = recover(&site, &traces, false).unwrap_err();
    assert!(refused.what.contains("is sound"), "{refused}");

    let ledger = site.path("state/ledger.redb");
    let length = fs::metadata(&ledger).unwrap().len();
    fs::File::options().write(true).open(&ledger).unwrap().set_len(length / 2).unwrap();
    let held = InstanceLock::take(&site.path("state")).unwrap();
    assert!(recover(&site, &traces, false).unwrap_err().what.contains("another terwayd"));
    drop(held);

    let told = recover(&site, &traces, true).unwrap();
    assert_eq!(fs::metadata(&ledger).unwrap().len(), length / 2, "a dry run changes nothing: {told:?}");
    let told = recover(&site, &traces, false).unwrap().join("\n");
    assert!(told.contains("the ledger is damaged") && told.contains("is kept as"), "{told}");
    assert!(!told.contains("uncertain"), "{told}");
    let aside = fs::read_dir(site.path("state"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"));
    assert_eq!(aside.count(), 1, "the old file is still there");

    let life = site.serve();
    assert_eq!(life.run(life.info("a")).unwrap(), Some(eni.clone()), "the pod has its ENI again");
    let other = life.run(life.allocate("b")).unwrap();
    assert_ne!(other, eni);
    site.cloud.nic(mac, true);
    life.run(life.release("a")).unwrap();
    assert_eq!(life.run(life.info("a")).unwrap(), None);
    life.stop();
}

#[test]
fn a_lost_ledger_is_made_and_what_nobody_shows_rests() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    let eni = life.run(life.allocate("a")).unwrap();
    let mac = site.cloud.with(|cloud| cloud.enis[&eni.as_str().into()].mac);
    site.cloud.nic(mac, false);
    life.until_phases(&[("InUse", 1), ("Ready", 1)]);
    life.stop();
    fs::remove_file(site.path("state/ledger.redb")).unwrap();
    let told = recover(&site, &Traces::default(), false).unwrap().join("\n");
    assert!(told.contains("there is no ledger"), "{told}");
    assert!(told.contains("uncertain: the NIC of"), "{told}");
    let life = site.serve();
    // Somewhere in a pod, so it is given to nobody.
    let given = life.run(life.allocate("b")).unwrap();
    assert_ne!(given, eni);
    let refused = recover(&site, &Traces::default(), false).unwrap_err();
    assert_eq!(refused.code, FaultCode::StateUnwritable, "a daemon runs: {refused}");
    life.stop();
}
