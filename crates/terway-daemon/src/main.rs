//! `terwayd`: reads flags and configuration, and runs the daemon.

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use terway_cloud::{
    Access, AccessOptions, Budget, CallSink, Cloud, InstanceIdentity, Metadata, Trust, WatchPace,
};
use terway_daemon::actions::Owner;
use terway_daemon::bring_up::{BringUp, KernelTraces, Way, kernel_links, kernel_macs};
use terway_daemon::call_log::CallLog;
use terway_daemon::config::ConfigError;
use terway_daemon::configuration::Configuration;
use terway_daemon::conflist::Conflist;
use terway_daemon::daemon::{Daemon, Guarding};
use terway_daemon::driver::{Fuse, kill_self};
use terway_daemon::flags::{self, EndpointType, Flags, RecoveryOptions};
use terway_daemon::instance_lock::InstanceLock;
use terway_daemon::metrics::Metrics;
use terway_daemon::node::Node;
use terway_daemon::recover::{Recovery, kernel_traces};
use terway_daemon::settings::Settings;
use terway_daemon::{clock, logging, pod_ranges};
use terway_datapath::kernel::NicRule;
use terway_types::{Fault, FaultCode, Subnets};
use tokio::signal::unix::{SignalKind, signal};

/// Gives memory back after a burst. The system's keeps one stock per thread, and what lies at the end of one keeps all.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// What `sysexits.h` calls a configuration error: trying again without mending it is pointless.
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let (flags, recovery) = flags::read(std::env::args_os());
    logging::start(flags.log_level, flags.log_json);
    let outcome = match recovery {
        Some(options) => recover(&flags, options),
        None => run(flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            let fault = error.downcast_ref::<Fault>();
            if fault.is_some_and(|fault| fault.code == FaultCode::ConfigInvalid) {
                ExitCode::from(EX_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let (configuration, settings) = read_config(&flags)?;
    let (pod_ranges, unheeded) = read_ranges(&flags, &settings)?;
    for warning in settings.warnings.iter().chain(&unheeded) {
        tracing::warn!("{warning}");
    }
    let _lock = InstanceLock::take(&flags.state_dir).map_err(|error| error.fault())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let daemon = assemble(&flags, configuration, &settings, pod_ranges)?;
    let (node, state) = Node::new(Arc::new(Metrics::default()), clock::system(), flags.config);
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
        let stop = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        daemon.run(Arc::new(node), state, stop).await
    })
}

fn read_config(flags: &Flags) -> Result<(Configuration, Settings), Fault> {
    let path = flags.config.display();
    let configuration = Configuration::read(flags.config.clone()).map_err(|error| {
        unusable(format!("failed to read {path}"), &error)
            .remedy("say by --config where the operator's configuration is; deploy/eni-config.yaml shows one")
    })?;
    let settings = configuration
        .settings(flags.mode())
        .map_err(|error| error.fault(format!("mend the keys named in {path}")))?;
    Ok((configuration, settings))
}

/// What the VPC leads to this node, and what is to be said about it.
fn read_ranges(flags: &Flags, settings: &Settings) -> Result<(Subnets, Option<String>), Fault> {
    let read = pod_ranges::read(&flags.pod_cidrs).and_then(|ranges| {
        let unheeded = pod_ranges::check(&ranges, flags.mode(), settings)?;
        Ok((ranges, unheeded))
    });
    read.map_err(|error: ConfigError| error.fault("mend the flags named"))
}

/// A key or flag that cannot be used.
fn unusable(what: impl Into<String>, error: &dyn std::error::Error) -> Fault {
    Fault::new(FaultCode::ConfigInvalid, what).caused_by(error)
}

fn assemble(
    flags: &Flags,
    configuration: Configuration,
    settings: &Settings,
    pod_ranges: Subnets,
) -> Result<Daemon, Fault> {
    let access = access(flags, settings)?;
    let cloud = Arc::clone(&access);
    let owner = Owner { cluster: flags.cluster_id.clone(), node: flags.node_name.clone() };
    let conflist =
        flags.cni_conf.clone().map(|source| Conflist { source, directory: flags.cni_conf_dir.clone() });
    Ok(Daemon {
        bring_up: BringUp {
            configuration,
            wanted: flags.mode(),
            pod_ranges,
            lingjun: flags.lingjun_worker,
            owner,
            state_dir: flags.state_dir.clone(),
            nic_kinds: flags.nic_kinds.clone(),
            root: flags.host_root.clone(),
            metadata: access,
            connect: Box::new(move |identity, way, calls| connect(&cloud, identity, way, calls)),
            links: kernel_links(flags.nic_kinds.clone()),
            macs: kernel_macs(),
            traces: traces_of(flags.nic_kinds.clone()),
            pace: WatchPace::default(),
            fuse: flags.die_after_effects.map_or(Fuse::NONE, |effects| Fuse::new(effects, kill_self)),
        },
        socket: flags.socket.clone(),
        readonly: Some(flags.readonly_listen.clone()),
        conflist,
        guarding: Some(Guarding {
            run_dir: flags.run_dir.clone(),
            root: flags.host_root.clone(),
            repairs: !flags.no_host_guard,
        }),
    })
}

fn traces_of(nic_kinds: Vec<String>) -> Box<KernelTraces> {
    Box::new(move || kernel_traces(&NicRule::with_kinds(&nic_kinds)).map_err(|error| error.fault()))
}

/// The way to the cloud, whichever it is.
fn access(flags: &Flags, settings: &Settings) -> Result<Arc<Access>, Fault> {
    let budget = Budget::new(&settings.rate_limit)
        .map_err(|error| unusable("failed to use the key `rate_limit`", &error))?;
    let key = settings.access_key.as_ref();
    let options = AccessOptions {
        provider: flags.provider,
        metadata_endpoint: flags.metadata_endpoint.clone(),
        ecs_endpoint: flags.ecs_endpoint.clone(),
        vpc_endpoint: flags.vpc_endpoint.clone(),
        eflo_endpoint: flags.eflo_endpoint.clone(),
        addon_token: settings.credential_path.clone(),
        trust: trust(flags)?,
        public: flags.endpoint_type == EndpointType::Public,
        key: key.map(|(id, secret)| (id.expose_secret().to_owned(), secret.clone())),
        ..AccessOptions::new(Arc::new(budget))
    };
    let access = Access::new(options);
    Ok(Arc::new(access.map_err(|error| unusable("failed to use the cloud's endpoints", &error))?))
}

/// Whose certificates the endpoints may show.
fn trust(flags: &Flags) -> Result<Trust, Fault> {
    let Some(path) = &flags.cloud_ca_file else { return Ok(Trust::System) };
    let what = || format!("failed to use the certificate authorities of --cloud-ca-file {}", path.display());
    let pem = fs::read(path).map_err(|error| unusable(what(), &error))?;
    Trust::given(pem).map_err(|error| unusable(what(), &error))
}

fn connect(
    access: &Access,
    identity: &InstanceIdentity,
    way: Way<'_>,
    calls: Arc<dyn CallSink>,
) -> Result<Arc<dyn Cloud>, Fault> {
    if let Some(provider) = way.remembered.and_then(|name| name.parse().ok()) {
        access.assume(provider);
    }
    access
        .connect(identity, way.source, Some(calls))
        .map_err(|error| Fault::new(FaultCode::CloudInvalid, "failed to reach the cloud").caused_by(&error))
}

/// `terwayd recover`: a new ledger from cloud and kernel.
fn recover(flags: &Flags, options: RecoveryOptions) -> anyhow::Result<()> {
    let (_, settings) = read_config(flags)?;
    let (pod_ranges, _) = read_ranges(flags, &settings)?;
    let access = access(flags, &settings)?;
    let owner = Owner { cluster: flags.cluster_id.clone(), node: flags.node_name.clone() };
    let traces =
        kernel_traces(&NicRule::with_kinds(flags.nic_kinds.clone())).map_err(|error| error.fault())?;
    let recovery = Recovery {
        state_dir: flags.state_dir.clone(),
        mode: flags.mode(),
        pod_ranges,
        metadata: Arc::clone(&access) as Arc<dyn Metadata>,
        lingjun: flags.lingjun_worker,
        marks: owner.marks(),
        filter: settings.eni_tag_filter.clone(),
        quarantine: settings.quarantine,
        dry_run: options.dry_run,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = Arc::new(CallLog::new(clock::system));
    let connect = |identity: &InstanceIdentity, source| {
        let way = Way { source, ..Way::default() };
        connect(&access, identity, way, Arc::clone(&calls) as Arc<dyn CallSink>)
    };
    let lines = runtime.block_on(recovery.run(connect, &traces, clock::system()))?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
