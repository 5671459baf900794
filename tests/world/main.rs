//! Scenarios with the shipped binaries: a simulated cloud, nodes with `terwayd`, pods through `terway`. Each file is
//! a story a user would recognise; each scenario has a world of its own inside one sandbox, on each of the clouds.

mod attach;
mod away;
mod bad_input;
mod between;
mod by_the_node;
mod calls;
mod check;
mod clock;
mod cloud_trouble;
mod crash;
mod detach;
mod disk;
mod earlier;
mod erdma;
mod fabric;
mod faults;
mod garbage;
mod grace;
mod growth;
mod guard;
mod keys;
mod leftovers;
mod linear;
mod lingjun;
mod meddling;
mod parallel;
mod place;
mod policy_route;
mod pool;
mod recovery;
mod shared;
mod support;
mod transport;
mod vpc_route;

use std::process::ExitCode;

use anyhow::bail;
use libtest_mimic::{Arguments, Trial};
use terway_rig::{sandbox, slowest};

fn main() -> ExitCode {
    sandbox::run(|| {
        let binaries = support::binaries();
        if !binaries.join("terway").exists() {
            bail!("the shipped binaries are missing in {}; run `cargo xtask build`", binaries.display());
        }
        let mut arguments = Arguments::from_args();
        // Worlds are heavy: more than a few at once only wait for the kernel's one lock.
        arguments.test_threads = Some(arguments.test_threads.unwrap_or(3));
        let scenarios = [
            attach::scenarios(),
            detach::scenarios(),
            check::scenarios(),
            garbage::scenarios(),
            guard::scenarios(),
            leftovers::scenarios(),
            away::scenarios(),
            parallel::scenarios(),
            crash::scenarios(),
            keys::scenarios(),
            linear::scenarios(),
            lingjun::scenarios(),
            calls::scenarios(),
            clock::scenarios(),
            pool::scenarios(),
            recovery::scenarios(),
            meddling::scenarios(),
            shared::scenarios(),
            policy_route::scenarios(),
            grace::scenarios(),
            growth::scenarios(),
            disk::scenarios(),
            earlier::scenarios(),
            erdma::scenarios(),
            fabric::scenarios(),
            faults::scenarios(),
            cloud_trouble::scenarios(),
            bad_input::scenarios(),
            place::scenarios(),
            transport::scenarios(),
            vpc_route::scenarios(),
        ];
        let chosen = support::chosen_cloud()?;
        let trials: Vec<Trial> =
            scenarios.into_iter().flatten().flat_map(|scenario| scenario.trials(chosen)).collect();
        let conclusion = libtest_mimic::run(&arguments, trials);
        slowest::tell();
        Ok(conclusion.exit_code())
    })
}
