//! The daemon dies before every single effect of a small history. Whatever was on disk and in the cloud
//! then, the next life must neither lose an ENI nor give one twice.

use std::collections::{BTreeMap, BTreeSet};

use terway_daemon::driver::Fuse;
use terway_types::Fault;

use crate::support::{Life, Site};

const CONFIG: &str = r#"{"security_groups": ["sg-1"], "min_pool_size": 1, "max_pool_size": 1, "max_eni": 3, "eni_quarantine": "0s"}"#;

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(&'static str),
    Del(&'static str),
}

const HISTORY: [Step; 8] = [
    Step::Add("a"),
    Step::Add("b"),
    Step::Del("a"),
    Step::Add("c"),
    Step::Add("d"),
    Step::Del("b"),
    Step::Del("c"),
    Step::Add("e"),
];

/// What the runtime believes.
type Told = BTreeMap<&'static str, String>;

async fn perform(life: &Life, step: Step, told: &mut Told) -> Result<(), Fault> {
    match step {
        Step::Add(name) => {
            let eni = life.allocate(name).await?;
            let twice = told.iter().find(|(other, held)| **other != name && **held == eni);
            assert_eq!(twice, None, "{eni} was given to {name} too");
            told.insert(name, eni);
        }
        Step::Del(name) => {
            life.release(name).await?;
            told.remove(name);
        }
    }
    Ok(())
}

/// Goes through the rest of the history until a step fails; says how many steps are done.
fn go_on(life: &Life, done: usize, told: &mut Told) -> usize {
    let rest = HISTORY.iter().skip(done);
    let succeeded = rest.take_while(|step| life.run(perform(life, **step, told)).is_ok()).count();
    done + succeeded
}

fn check(site: &Site, life: &Life, told: &Told) {
    // One idle ENI beside those in use, and nothing under way.
    let enis = life.until_phases(&[("InUse", told.len()), ("Ready", 1)]);
    let ours: BTreeSet<_> = enis.iter().map(|eni| eni.id.clone()).collect();
    let clouds: BTreeSet<_> = site.cloud.with(|cloud| cloud.enis.keys().map(|id| id.0.clone()).collect());
    assert_eq!(ours, clouds, "none lost, none imagined");
    for (name, eni) in told {
        assert_eq!(life.run(life.info(name)).unwrap().as_ref(), Some(eni), "{name} holds what it was told");
    }
}

/// One history with a death before effect `effects + 1`. Says whether it came to that.
fn with_death_after(effects: u64) -> bool {
    let site = Site::new(CONFIG);
    let mut told = Told::new();
    let life = site.start_with(Fuse::new(effects, || {}));
    life.until("the pool runs or is dead", async |life| {
        let status = life.status().await.ok()?;
        (status.ready || status.fault?.what.contains("the pool is not available")).then_some(())
    });
    let done = go_on(&life, 0, &mut told);
    // The history may end before what it sets off does.
    let dead = life.until("the pool is dead or at rest", async |life| {
        let status = life.status().await.ok()?;
        let Some(pool) = status.pool else { return Some(true) };
        let at_rest =
            pool.enis.iter().all(|eni| ["Ready", "InUse"].contains(&eni.phase.as_str())) && pool.idle == 1;
        at_rest.then_some(false)
    });
    if !dead {
        assert_eq!(done, HISTORY.len());
        check(&site, &life, &told);
        life.stop();
        return false;
    }
    life.vanish(&site);
    let life = site.serve();
    assert_eq!(go_on(&life, done, &mut told), HISTORY.len(), "after death at effect {effects}");
    check(&site, &life, &told);
    life.stop();
    true
}

#[test]
fn death_before_any_effect_neither_loses_nor_doubles_an_eni() {
    let deaths = (0..1000).take_while(|effects| with_death_after(*effects)).count();
    assert!((20..1000).contains(&deaths), "{deaths} deaths");
}
