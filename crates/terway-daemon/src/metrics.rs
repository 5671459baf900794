//! What the daemon counts and measures, under the names dashboards already use where there is one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use terway_pool::PoolView;
use terway_types::{FaultCode, NodeMode, Timestamp};

/// Phases in the order of an ENI's life; each gets a gauge even when no ENI is in it.
const PHASES: [&str; 11] = [
    "Creating",
    "Detached",
    "Attaching",
    "Attached",
    "Ready",
    "InUse",
    "Quarantined",
    "Regrouping",
    "Kept",
    "Detaching",
    "Deleting",
];

/// Phases of an address.
const ADDRESS_PHASES: [&str; 4] = ["Idle", "InUse", "Quarantined", "Unassigning"];

type Labels<const N: usize> = [(&'static str, String); N];
type Histograms = Family<Labels<2>, Histogram, fn() -> Histogram>;

/// All metrics of the daemon.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    rpc: Histograms,
    openapi: Histograms,
    cloud_calls: Family<Labels<2>, Counter>,
    commits: Family<Labels<1>, Histogram, fn() -> Histogram>,
    enis: Family<Labels<1>, Gauge>,
    pool_total: Family<Labels<2>, Gauge>,
    pool_idle: Family<Labels<2>, Gauge>,
    waiters: Gauge,
    capacity: Family<Labels<1>, Gauge>,
    addresses: Family<Labels<1>, Gauge>,
    operations: Gauge,
    failures: Family<Labels<1>, Counter>,
    foreign: Gauge,
    orphans: Gauge,
    inventory_age: Gauge,
    inventory_at: AtomicU64,
    inventories: Family<Labels<2>, Counter>,
    spooled: Family<Labels<1>, Counter>,
    host_repairs: Family<Labels<1>, Counter>,
}

/// The buckets of the existing implementation: 50 ms to 102 s.
fn rpc_buckets() -> Histogram {
    Histogram::new([1.0, 5.0, 10.0, 25.0].into_iter().chain(exponential_buckets(50.0, 2.0, 12)))
}

fn openapi_buckets() -> Histogram {
    Histogram::new(exponential_buckets(50.0, 2.0, 11))
}

fn commit_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 14))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            rpc: Family::new_with_constructor(rpc_buckets),
            openapi: Family::new_with_constructor(openapi_buckets),
            cloud_calls: Family::default(),
            commits: Family::new_with_constructor(commit_buckets),
            enis: Family::default(),
            pool_total: Family::default(),
            pool_idle: Family::default(),
            waiters: Gauge::default(),
            capacity: Family::default(),
            addresses: Family::default(),
            operations: Gauge::default(),
            failures: Family::default(),
            foreign: Gauge::default(),
            orphans: Gauge::default(),
            inventory_age: Gauge::default(),
            inventory_at: AtomicU64::new(0),
            inventories: Family::default(),
            spooled: Family::default(),
            host_repairs: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("terway_rpc_latency", "Duration of calls by the plugin, in ms", self.rpc.clone());
        registry.register(
            "aliyun_openapi_latency",
            "Duration of cloud calls with the wait for their budget, in ms",
            self.openapi.clone(),
        );
        registry.register(
            "terway_cloud_calls",
            "Cloud calls by action and outcome",
            self.cloud_calls.clone(),
        );
        registry.register(
            "terway_ledger_commit_seconds",
            "Duration of durable commits",
            self.commits.clone(),
        );
        registry.register("terway_pool_enis", "ENIs by phase", self.enis.clone());
        registry.register(
            "terway_resource_pool_total_count",
            "ENIs or addresses of the pool",
            self.pool_total.clone(),
        );
        registry.register(
            "terway_resource_pool_idle_count",
            "Idle ENIs or addresses of the pool",
            self.pool_idle.clone(),
        );
        registry.register("terway_pool_waiters", "Attachments that wait", self.waiters.clone());
        registry.register(
            "terway_pool_capacity",
            "Pods that could be served, at once and after pending work",
            self.capacity.clone(),
        );
        registry.register(
            "terway_orphan_enis",
            "ENIs with this node's tags that the ledger does not know, at the last look",
            self.orphans.clone(),
        );
        registry.register(
            "terway_foreign_enis",
            "ENIs of others on this instance, besides its primary one, at the last look",
            self.foreign.clone(),
        );
        registry.register(
            "terway_inventory_age_seconds",
            "Time since the last complete look at the cloud; -1 before the first",
            self.inventory_age.clone(),
        );
        registry.register(
            "terway_inventories",
            "Looks at all ENIs by witness and outcome",
            self.inventories.clone(),
        );
        registry.register(
            "terway_pool_addresses",
            "Addresses of shared ENIs by phase",
            self.addresses.clone(),
        );
        registry.register("terway_pool_operations", "Cloud operations under way", self.operations.clone());
        registry.register(
            "terway_pool_failures",
            "Failed cloud operations, each tried again after a pause, by cause",
            self.failures.clone(),
        );
        registry.register("terway_spooled_releases", "Spooled releases by outcome", self.spooled.clone());
        registry.register(
            "terway_host_repairs",
            "Objects of attachments on the node that were not as they should be, by outcome",
            self.host_repairs.clone(),
        );
    }

    /// A call of the plugin ended.
    pub fn rpc(&self, method: &'static str, took: Duration, ok: bool) {
        let labels = [("rpc_api", method.to_owned()), ("error", (!ok).to_string())];
        self.rpc.get_or_create(&labels).observe(took.as_secs_f64() * 1000.0);
    }

    /// A cloud call ended; `outcome` is `ok` or the failure's kind.
    pub fn cloud(&self, action: &'static str, took: Duration, outcome: &'static str) {
        let labels = [("api", action.to_owned()), ("error", (outcome != "ok").to_string())];
        self.openapi.get_or_create(&labels).observe(took.as_secs_f64() * 1000.0);
        self.cloud_calls
            .get_or_create(&[("action", action.to_owned()), ("outcome", outcome.to_owned())])
            .inc();
    }

    /// A durable commit ended.
    pub fn commit(&self, took: Duration, ok: bool) {
        self.commits.get_or_create(&[("error", (!ok).to_string())]).observe(took.as_secs_f64());
    }

    /// A cloud operation of the pool failed.
    pub fn failure(&self, cause: FaultCode) {
        self.failures.get_or_create(&[("cause", cause.name().to_owned())]).inc();
    }

    /// A witness was asked for all ENIs.
    pub fn looked(&self, witness: &'static str, ok: bool) {
        let labels = [("witness", witness.to_owned()), ("error", (!ok).to_string())];
        self.inventories.get_or_create(&labels).inc();
    }

    /// What a complete look at the cloud, begun then, showed: ENIs of others on this instance, and ENIs with our
    /// tags that are unknown here.
    pub fn inventory(&self, began: Timestamp, foreign: usize, orphans: usize) {
        self.inventory_at.store(began.0, Ordering::Relaxed);
        self.foreign.set(i64::try_from(foreign).unwrap_or(i64::MAX));
        self.orphans.set(i64::try_from(orphans).unwrap_or(i64::MAX));
    }

    /// So many objects on the node were `repaired`, `expelled` (from ENIs), `left`, `postponed` or `swept`.
    pub fn host_repairs(&self, outcome: &'static str, count: usize) {
        let counter = self.host_repairs.get_or_create(&[("outcome", outcome.to_owned())]);
        counter.inc_by(count.try_into().unwrap_or(u64::MAX));
    }

    /// A spooled release was `released` or `set-aside`.
    pub fn spooled(&self, outcome: &'static str) {
        self.spooled.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// The text of a scrape, with the pool as it is now if there is one.
    pub fn scrape(&self, pool: Option<&PoolView>, now: Timestamp) -> String {
        if let Some(pool) = pool {
            self.show(pool);
        }
        let age = match self.inventory_at.load(Ordering::Relaxed) {
            0 => -1,
            began => i64::try_from(now.since(Timestamp(began)).as_secs()).unwrap_or(i64::MAX),
        };
        self.inventory_age.set(age);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn show(&self, pool: &PoolView) {
        for phase in PHASES {
            let count = pool.enis.iter().filter(|eni| eni.record.phase.name() == phase).count();
            self.enis
                .get_or_create(&[("phase", phase.to_owned())])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let addresses = || pool.enis.iter().flat_map(|eni| &eni.addresses);
        for phase in ADDRESS_PHASES {
            let count = addresses().filter(|address| address.record.phase.name() == phase).count();
            self.addresses
                .get_or_create(&[("phase", phase.to_owned())])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let (kind, total) = match pool.mode {
            NodeMode::Exclusive => ("ENI", pool.enis.len()),
            NodeMode::Shared | NodeMode::VpcRoute => ("LocalIP", addresses().count()),
        };
        let labels = [("type", kind.to_owned()), ("ipStack", "ipv4".to_owned())];
        self.pool_total.get_or_create(&labels).set(i64::try_from(total).unwrap_or(i64::MAX));
        self.pool_idle.get_or_create(&labels).set(i64::from(pool.idle));
        self.operations.set(i64::from(pool.operations));
        self.waiters.set(i64::try_from(pool.waiters.len()).unwrap_or(i64::MAX));
        for (when, count) in [("now", pool.capacity.now), ("later", pool.capacity.later)] {
            self.capacity.get_or_create(&[("when", when.to_owned())]).set(i64::from(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_find_the_names_they_know() {
        let metrics = Metrics::default();
        metrics.rpc("AllocIP", Duration::from_millis(3), true);
        metrics.cloud("AttachNetworkInterface", Duration::from_millis(80), "throttled");
        let text = metrics.scrape(None, Timestamp(0));
        for line in [
            "terway_rpc_latency_bucket{le=\"5.0\",rpc_api=\"AllocIP\",error=\"false\"} 1",
            "aliyun_openapi_latency_count{api=\"AttachNetworkInterface\",error=\"true\"} 1",
            "terway_cloud_calls_total{action=\"AttachNetworkInterface\",outcome=\"throttled\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
