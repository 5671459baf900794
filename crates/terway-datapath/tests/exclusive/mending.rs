//! A repair makes what is missing and touches nothing else: the kernel itself, by `ip monitor`, tells what it was asked
//! for, and rules of translation keep the numbers they had.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use terway_datapath::Layout;
use terway_datapath::describe::{Object, Table};

use crate::world::{PATIENCE, Pod, World};

/// Takes away one by one what the pod has on the node for itself, and mends it. Says how many objects that were.
pub(crate) fn one_by_one(world: &World, pod: &Pod, layout: &Layout) -> usize {
    let filter = || world.on_node("nft -a list ruleset");
    let before = filter();
    let own: Vec<_> =
        layout.host.objects().into_iter().filter_map(|one| Some((taking(&one)?, one))).collect();
    for (taking, object) in &own {
        world.node(taking);
        let told = told_of(world, pod, || world.mend(layout, object));
        assert_eq!(told.len(), 1, "{object} was missing, and all of this was made: {told:#?}");
        assert_eq!(filter(), before, "{object} was missing");
    }
    own.len()
}

/// How `ip` takes it away; nothing if that takes others along, or concerns others.
fn taking(object: &Object) -> Option<String> {
    let family = |is_ipv4: bool| if is_ipv4 { "-4" } else { "-6" };
    match object {
        Object::Route(route) if route.table == Table::Main => {
            let family = family(route.destination.is_ipv4());
            Some(format!("{family} route del {} dev {}", route.destination, route.link))
        }
        Object::Neighbour(neighbour) => {
            Some(format!("neigh del {} dev {}", neighbour.address, neighbour.link))
        }
        Object::Rule(rule) => {
            let selector = rule.from.map(|from| format!("from {from}"));
            let selector = selector.or(rule.to.map(|to| format!("to {to}")))?;
            let family = if selector.contains(':') { "-6" } else { "-4" };
            Some(format!("{family} rule del priority {} {selector}", rule.priority))
        }
        _ => None,
    }
}

/// What the kernel tells of the pod's addresses while something is done.
fn told_of(world: &World, pod: &Pod, deed: impl FnOnce()) -> Vec<String> {
    let mut command = Command::new("ip");
    command.args(["-n", &world.node_name(), "-o", "monitor", "route", "neigh", "rule"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reading =
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    // It takes its time to begin; what has been told before does not count.
    let until = Instant::now() + PATIENCE;
    while until_mark(world, 1, Duration::from_millis(50), &lines).is_none() {
        assert!(Instant::now() < until, "ip monitor tells nothing");
    }
    deed();
    let told = until_mark(world, 2, PATIENCE, &lines).expect("ip monitor goes on telling");
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody listens any more, or all has been said.
    let _ended = reading.join().unwrap();
    let addresses: Vec<_> = pod.plan.addresses.iter().map(|address| address.to_string()).collect();
    let of_the_pod =
        |line: &String| line.split([' ', '/']).any(|word| addresses.iter().any(|own| own == word));
    told.into_iter().filter(of_the_pod).collect()
}

/// Makes a route nobody needs, and gives what is told until it is.
fn until_mark(
    world: &World,
    number: u8,
    patience: Duration,
    lines: &Receiver<String>,
) -> Option<Vec<String>> {
    let mark = format!("192.0.2.{number}");
    world.node(&format!("route add {mark} dev lo"));
    world.node(&format!("route del {mark} dev lo"));
    let (mut told, until) = (Vec::new(), Instant::now() + patience);
    loop {
        let line = lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
        if line.contains(&mark) && line.starts_with("Deleted") {
            return Some(told);
        }
        told.push(line);
    }
}
