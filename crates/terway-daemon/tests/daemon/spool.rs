//! Releases that were spooled while the daemon was away.

use std::fs;

use crate::support::Site;

const CONFIG: &str =
    r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 3, "eni_quarantine": "0s"}"#;

fn spool(site: &Site, file: &str, container: &str) {
    let entry = format!(
        r#"{{"version": 1, "network": "terway", "container_id": "{container}", "ifname": "eth0", "pod_name": "p",
            "pod_namespace": "default", "at_unix_ms": 1}}"#
    );
    let draft = site.path("state/spool/draft");
    fs::write(&draft, entry).unwrap();
    fs::rename(draft, site.path(&format!("state/spool/{file}.json"))).unwrap();
}

fn files(site: &Site) -> Vec<String> {
    let names = fs::read_dir(site.path("state/spool")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn releases_from_before_are_done_before_anyone_is_served() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    let kept = life.run(life.allocate("b")).unwrap();
    life.stop();
    spool(&site, "1", "a");
    spool(&site, "2", "never-seen");
    fs::write(site.path("state/spool/0.json"), "{").unwrap();
    fs::write(site.path("state/spool/3.json"), r#"{"version": 2}"#).unwrap();
    fs::write(site.path("state/spool/4.json.tmp"), "a draft").unwrap();
    let life = site.serve();
    assert_eq!(life.run(life.info("a")).unwrap(), None);
    assert_eq!(life.run(life.info("b")).unwrap(), Some(kept));
    assert_eq!(files(&site), ["0.json.bad", "3.json.bad", "4.json.tmp"]);
    life.stop();
}

#[test]
fn a_file_that_appears_is_consumed_once() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    spool(&site, "1", "a");
    life.until("the file is consumed", async |_| files(&site).is_empty().then_some(()));
    assert_eq!(life.run(life.info("a")).unwrap(), None);
    // The key may come again, and must not be released a second time.
    let eni = life.run(life.allocate("a")).unwrap();
    spool(&site, "2", "other");
    life.until("the file is consumed", async |_| files(&site).is_empty().then_some(()));
    assert_eq!(life.run(life.info("a")).unwrap(), Some(eni.clone()));
    life.stop();
    let life = site.serve();
    assert_eq!(life.run(life.info("a")).unwrap(), Some(eni));
    life.stop();
}

/// A daemon that dies between a release and the removal of its file finds the file again.
#[test]
fn a_release_that_was_done_before_takes_nothing_from_anybody() {
    let site = Site::new(CONFIG);
    let life = site.serve();
    life.run(life.allocate("a")).unwrap();
    life.run(life.release("a")).unwrap();
    let kept = life.run(life.allocate("b")).unwrap();
    life.stop();
    spool(&site, "1", "a");
    let life = site.serve();
    assert_eq!(files(&site), [""; 0]);
    assert_eq!(life.run(life.info("a")).unwrap(), None);
    assert_eq!(life.run(life.info("b")).unwrap(), Some(kept));
    life.stop();
}
