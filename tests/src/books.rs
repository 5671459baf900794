//! Three books kept by three parties: the ledger's file, the cloud's own state, and the kernel's links. An auditor
//! who shares no rule with the pool compares them.
//!
//! The ledger is read from its file, so the daemon must be dead: what counts is what survives it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use crate::node::Node;
use crate::reader;
use crate::world::World;

/// The rows of a node's ledger, by table.
#[derive(Debug)]
pub struct Ledger {
    tables: BTreeMap<String, Vec<Value>>,
}

impl Ledger {
    /// What is durable on this node.
    pub fn read(node: &Node) -> Result<Self> {
        let text = terway_ledger::export(&node.path("state/ledger.redb"))
            .map_err(|error| anyhow!("{}", error.fault()))?;
        let mut tables: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).context("a line of the ledger is no JSON")?;
            let table = line["table"].as_str().unwrap_or_default().to_owned();
            tables.entry(table).or_default().push(line["row"].clone());
        }
        Ok(Self { tables })
    }

    /// The rows of one table.
    pub fn table(&self, name: &str) -> &[Value] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }
}

/// What must hold at any instant at which the daemon may die: every ENI it made is accounted for, nothing has two
/// owners, and every attachment has what it was told it has.
pub fn accounted(world: &World, node: &Node) -> Result<Ledger> {
    let ledger = Ledger::read(node)?;
    let enis = ledger.table("enis");
    for eni in made_by(world, node)? {
        let (id, intent) = (&eni["id"], &eni["tags"]["terway.io/intent"]);
        let known = enis.iter().any(|row| row["id"] == *id || row["token"] == *intent);
        ensure!(known, "leaked: {id} of intent {intent} is in the cloud and not in the ledger");
    }
    let mut ids = BTreeSet::new();
    for row in enis.iter().filter(|row| !row["id"].is_null()) {
        ensure!(ids.insert(row["id"].to_string()), "{} has two records", row["id"]);
    }
    let mut held = BTreeSet::new();
    for attachment in ledger.table("attachments") {
        let eni = enis.iter().find(|row| row["token"] == attachment["eni"]);
        let eni = eni.with_context(|| format!("{} holds an ENI without a record", attachment["key"]))?;
        let whole = eni["phase"]["name"] == "InUse";
        ensure!(!whole || eni["phase"]["attachment"] == attachment["key"], "{attachment} holds {eni}");
        let what = if whole { &attachment["eni"] } else { &attachment["addresses"] };
        ensure!(held.insert(what.to_string()), "{what} belongs to two attachments");
    }
    for row in enis.iter().filter(|row| row["phase"]["name"] == "InUse") {
        let holder =
            ledger.table("attachments").iter().find(|held| held["key"] == row["phase"]["attachment"]);
        ensure!(holder.is_some_and(|holder| holder["eni"] == row["token"]), "{row} is held by nobody");
    }
    Ok(ledger)
}

/// What must hold besides once nothing is under way: the three books say the same. `pods` are all namespaces of
/// pods on the node.
pub fn agree(world: &World, node: &Node, pods: &[&Path]) -> Result<()> {
    let ledger = accounted(world, node)?;
    let cloud = made_by(world, node)?;
    for row in ledger.table("enis") {
        let phase = row["phase"]["name"].as_str().unwrap_or_default();
        ensure!(matches!(phase, "Ready" | "InUse" | "Quarantined"), "{} is still {phase}", row["id"]);
        let eni = cloud.iter().find(|eni| eni["id"] == row["id"]);
        let eni = eni.with_context(|| format!("{} is unknown to the cloud", row["id"]))?;
        ensure!(eni["instance"] == node.instance.as_str() && eni["status"] == "InUse", "{row} against {eni}");
        ensure!(eni["mac"] == row["mac"], "{row} against {eni}");
    }
    links(&ledger, node, pods)?;
    marks(&ledger, node)
}

/// The ENIs this node's daemon made, as the cloud knows them.
fn made_by(world: &World, node: &Node) -> Result<Vec<Value>> {
    let mut enis = world.cloud_enis()?;
    enis.retain(|eni| eni["tags"]["terway.io/node"] == node.name.as_str());
    Ok(enis)
}

/// Every ENI has one netdev: with its pod if it is held, else at home.
fn links(ledger: &Ledger, node: &Node, pods: &[&Path]) -> Result<()> {
    let home = addresses(&node.netns)?;
    let away = pods.iter().map(|pod| addresses(pod)).collect::<Result<Vec<_>>>()?.concat();
    for row in ledger.table("enis") {
        let count = |links: &[String]| links.iter().filter(|mac| row["mac"] == mac.as_str()).count();
        let held = row["phase"]["name"] == "InUse";
        let (here, there) = (count(&home), count(&away));
        ensure!(here + there == 1, "{} has {here} netdevs at home and {there} in pods", row["id"]);
        ensure!(held || here == 1, "{} is held by nobody, and its netdev is in a pod", row["id"]);
    }
    Ok(())
}

fn addresses(netns: &Path) -> Result<Vec<String>> {
    let links = reader::json(netns, "ip", &["link", "show"])?;
    let links = links.as_array().context("ip printed no list")?;
    Ok(links.iter().filter_map(|link| link["address"].as_str().map(str::to_owned)).collect())
}

/// Every link of ours on the node belongs to an attachment that is.
fn marks(ledger: &Ledger, node: &Node) -> Result<()> {
    let keys: BTreeSet<String> = ledger
        .table("attachments")
        .iter()
        .map(|held| {
            let part = |name: &str| held["key"][name].as_str().unwrap_or_default().to_owned();
            format!("terway:{}/{}/{}", part("network"), part("container"), part("ifname"))
        })
        .collect();
    let links = reader::json(&node.netns, "ip", &["link", "show"])?;
    for link in links.as_array().context("ip printed no list")? {
        let mark = link["ifalias"].as_str().unwrap_or_default();
        ensure!(!mark.starts_with("terway:") || keys.contains(mark), "{} outlived {mark}", link["ifname"]);
    }
    Ok(())
}
