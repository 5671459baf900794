//! `terwayd`: reads flags and configuration, and runs the daemon.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use terway_cloud::aliyun::{Aliyun, AliyunConfig, AliyunMetadata, METADATA_URL};
use terway_cloud::{Budget, Cloud, InstanceIdentity, StaticKey, WatchPace};
use terway_daemon::actions::Owner;
use terway_daemon::bring_up::{BringUp, kernel_links};
use terway_daemon::config::ConfigError;
use terway_daemon::conflist::Conflist;
use terway_daemon::credentials::{self, SECRET_DIRECTORY};
use terway_daemon::daemon::Daemon;
use terway_daemon::driver::{Fuse, kill_self};
use terway_daemon::flags::Flags;
use terway_daemon::instance_lock::InstanceLock;
use terway_daemon::metrics::Metrics;
use terway_daemon::node::Node;
use terway_daemon::settings::Settings;
use terway_daemon::{clock, logging};
use terway_types::{Fault, FaultCode};
use tokio::signal::unix::{SignalKind, signal};

/// What `sysexits.h` calls a configuration error: trying again without mending it is pointless.
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let flags = Flags::parse();
    logging::start(flags.log_level, flags.log_json);
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            let config = error.downcast_ref::<ConfigError>().is_some();
            if config { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let (settings, key) = read_config(&flags.config)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let _lock = InstanceLock::take(&flags.state_dir).map_err(|error| error.fault())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let daemon = assemble(&flags, settings, key)?;
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

fn read_config(path: &Path) -> anyhow::Result<(Settings, StaticKey)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let settings = Settings::parse(&text);
    let both = settings.and_then(|settings| {
        let key = credentials::find(&settings, Path::new(SECRET_DIRECTORY));
        let key = key.map_err(|problem| ConfigError { problems: vec![problem] })?;
        Ok((settings, key))
    });
    both.with_context(|| format!("failed to use {}", path.display()))
}

fn assemble(flags: &Flags, settings: Settings, key: StaticKey) -> anyhow::Result<Daemon> {
    let metadata = AliyunMetadata::new(flags.metadata_endpoint.as_deref().unwrap_or(METADATA_URL))
        .context("failed to use --metadata-endpoint")?;
    let budget = Arc::new(Budget::new(&settings.rate_limit).context("failed to use `rate_limit`")?);
    let (ecs, vpc) = (flags.ecs_endpoint.clone(), flags.vpc_endpoint.clone());
    let connect = move |identity: &InstanceIdentity| {
        let mut config = AliyunConfig::new(&identity.region, Arc::new(key.clone()), Arc::clone(&budget));
        config.ecs_endpoint.clone_from(&ecs);
        config.vpc_endpoint.clone_from(&vpc);
        let cloud = Aliyun::new(config).map_err(|error| {
            Fault::new(FaultCode::CloudInvalid, "failed to reach the cloud").caused_by(&error)
        })?;
        Ok(Arc::new(cloud) as Arc<dyn Cloud>)
    };
    let owner = Owner { cluster: flags.cluster_id.clone(), node: flags.node_name.clone() };
    let conflist =
        flags.cni_conf.clone().map(|source| Conflist { source, directory: flags.cni_conf_dir.clone() });
    Ok(Daemon {
        bring_up: BringUp {
            settings,
            owner,
            state_dir: flags.state_dir.clone(),
            nic_kinds: flags.nic_kinds.clone(),
            metadata: Arc::new(metadata),
            connect: Box::new(connect),
            links: kernel_links(flags.nic_kinds.clone()),
            pace: WatchPace::default(),
            fuse: flags.die_after_effects.map_or(Fuse::NONE, |effects| Fuse::new(effects, kill_self)),
        },
        socket: flags.socket.clone(),
        readonly: Some(flags.readonly_listen.clone()),
        conflist,
    })
}
