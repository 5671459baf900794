//! `terwayd`: reads flags and configuration, and runs the daemon.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use terway_cloud::aliyun::{Aliyun, AliyunConfig, AliyunMetadata, METADATA_URL};
use terway_cloud::{Budget, CallSink, Cloud, InstanceIdentity, Metadata, StaticKey, WatchPace};
use terway_daemon::actions::Owner;
use terway_daemon::bring_up::{BringUp, Connect, kernel_links, kernel_macs};
use terway_daemon::call_log::CallLog;
use terway_daemon::config::ConfigError;
use terway_daemon::configuration::Configuration;
use terway_daemon::conflist::Conflist;
use terway_daemon::credentials::{self, SECRET_DIRECTORY};
use terway_daemon::daemon::Daemon;
use terway_daemon::driver::{Fuse, kill_self};
use terway_daemon::flags::{self, Flags, RecoveryOptions};
use terway_daemon::instance_lock::InstanceLock;
use terway_daemon::metrics::Metrics;
use terway_daemon::node::Node;
use terway_daemon::recover::{Recovery, kernel_traces};
use terway_daemon::settings::Settings;
use terway_daemon::{clock, logging};
use terway_datapath::kernel::NicRule;
use terway_types::{Fault, FaultCode};
use tokio::signal::unix::{SignalKind, signal};

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
            let config = error.downcast_ref::<ConfigError>().is_some();
            if config { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let (configuration, settings, key) = read_config(&flags)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let _lock = InstanceLock::take(&flags.state_dir).map_err(|error| error.fault())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let daemon = assemble(&flags, configuration, &settings, key)?;
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

fn read_config(flags: &Flags) -> anyhow::Result<(Configuration, Settings, StaticKey)> {
    let path = &flags.config;
    let configuration =
        Configuration::read(path.clone()).with_context(|| format!("failed to read {}", path.display()))?;
    let settings = configuration.settings(flags.mode());
    let both = settings.and_then(|settings| {
        let key = credentials::find(&settings, Path::new(SECRET_DIRECTORY));
        let key = key.map_err(|problem| ConfigError { problems: vec![problem] })?;
        Ok((settings, key))
    });
    let (settings, key) = both.with_context(|| format!("failed to use {}", path.display()))?;
    Ok((configuration, settings, key))
}

fn assemble(
    flags: &Flags,
    configuration: Configuration,
    settings: &Settings,
    key: StaticKey,
) -> anyhow::Result<Daemon> {
    let (metadata, connect) = cloud(flags, settings, key)?;
    let owner = Owner { cluster: flags.cluster_id.clone(), node: flags.node_name.clone() };
    let conflist =
        flags.cni_conf.clone().map(|source| Conflist { source, directory: flags.cni_conf_dir.clone() });
    Ok(Daemon {
        bring_up: BringUp {
            configuration,
            wanted: flags.mode(),
            lingjun: flags.lingjun_worker,
            owner,
            state_dir: flags.state_dir.clone(),
            nic_kinds: flags.nic_kinds.clone(),
            metadata,
            connect,
            links: kernel_links(flags.nic_kinds.clone()),
            macs: kernel_macs(),
            pace: WatchPace::default(),
            fuse: flags.die_after_effects.map_or(Fuse::NONE, |effects| Fuse::new(effects, kill_self)),
        },
        socket: flags.socket.clone(),
        readonly: Some(flags.readonly_listen.clone()),
        conflist,
    })
}

/// The ways to the metadata service and to the cloud.
fn cloud(
    flags: &Flags,
    settings: &Settings,
    key: StaticKey,
) -> anyhow::Result<(Arc<dyn Metadata>, Box<Connect>)> {
    let metadata = AliyunMetadata::new(flags.metadata_endpoint.as_deref().unwrap_or(METADATA_URL))
        .context("failed to use --metadata-endpoint")?;
    let budget = Arc::new(Budget::new(&settings.rate_limit).context("failed to use `rate_limit`")?);
    let (ecs, vpc) = (flags.ecs_endpoint.clone(), flags.vpc_endpoint.clone());
    let connect = move |identity: &InstanceIdentity, calls: Arc<dyn CallSink>| {
        let mut config = AliyunConfig::new(&identity.region, Arc::new(key.clone()), Arc::clone(&budget));
        config.ecs_endpoint.clone_from(&ecs);
        config.vpc_endpoint.clone_from(&vpc);
        config.calls = Some(calls);
        let cloud = Aliyun::new(config).map_err(|error| {
            Fault::new(FaultCode::CloudInvalid, "failed to reach the cloud").caused_by(&error)
        })?;
        Ok(Arc::new(cloud) as Arc<dyn Cloud>)
    };
    Ok((Arc::new(metadata), Box::new(connect)))
}

/// `terwayd recover`: a new ledger from cloud and kernel.
fn recover(flags: &Flags, options: RecoveryOptions) -> anyhow::Result<()> {
    let (_, settings, key) = read_config(flags)?;
    let (metadata, connect) = cloud(flags, &settings, key)?;
    let owner = Owner { cluster: flags.cluster_id.clone(), node: flags.node_name.clone() };
    let traces = kernel_traces(&NicRule::with_kinds(flags.nic_kinds.clone()))
        .context("failed to read the node's links and routes")?;
    let recovery = Recovery {
        state_dir: flags.state_dir.clone(),
        mode: flags.mode(),
        metadata,
        marks: owner.marks(),
        filter: settings.eni_tag_filter.clone(),
        quarantine: settings.quarantine,
        dry_run: options.dry_run,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = Arc::new(CallLog::new(clock::system));
    let connect = |identity: &InstanceIdentity| connect(identity, calls);
    let lines = runtime.block_on(recovery.run(connect, &traces, clock::system()))?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
