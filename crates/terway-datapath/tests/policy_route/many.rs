//! Many at once on one ENI: nothing is lost, and nothing stays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use terway_datapath::kernel::{Netlink, Request, Route, RouteFilter, Rule};
use terway_types::{IpFamily::V4, IpFamily::V6};

use crate::shared;
use crate::world::{World, similar};

/// While some come and others go, whoever has come finds everything it needs.
pub(crate) fn the_table_is_there_while_anybody_needs_it() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 5);
    shared::used(&world, &mut eni);
    let before = world.record();
    let pods: Vec<_> = (0..4).map(|_| eni.pod(&world, &[V4, V6])).collect();
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| {
                for _ in 0..25 {
                    let layout = world.add(pod);
                    let drifts = world.check(pod, &layout);
                    if !drifts.is_empty() {
                        eprintln!("{drifts:?}");
                        failed.store(true, Ordering::Relaxed);
                    }
                    world.del(pod);
                }
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed));
    similar(&before, &world.record());
}

pub(crate) fn a_hundred_at_once() {
    let world = World::new();
    let mut enis = [shared::eni(&world, 4, 51), shared::eni(&world, 5, 51)];
    for eni in &mut enis {
        shared::used(&world, eni);
    }
    let before = world.record();
    let pods: Vec<_> = (0..100).map(|number| enis[number % 2].pod(&world, &[V4, V6])).collect();
    let start = Instant::now();
    let layouts: Vec<_> = thread::scope(|scope| {
        let adding: Vec<_> = pods.iter().map(|pod| scope.spawn(|| world.add(pod))).collect();
        adding.into_iter().map(|one| one.join().unwrap()).collect()
    });
    println!("100 ADDs: {:?}", start.elapsed());
    for (pod, layout) in pods.iter().zip(&layouts) {
        assert_eq!(world.check(pod, layout), Vec::<String>::new());
    }
    let start = Instant::now();
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| world.del(pod));
        }
    });
    println!("100 DELs: {:?}", start.elapsed());
    similar(&before, &world.record());
}

/// Seventy pods on two shared ENIs and thirty with ENIs of their own, half of which go while the other half comes.
pub(crate) fn a_hundred_in_mixed_modes() {
    let world = World::new();
    let mut enis = [shared::eni(&world, 6, 45), shared::eni(&world, 7, 45)];
    for eni in &mut enis {
        shared::used(&world, eni);
    }
    let pod = |number: usize, enis: &mut [shared::SharedEni; 2]| match number % 10 {
        0..3 => world.pod(&[V4, V6]),
        _ => enis[number % 2].pod(&world, &[V4, V6]),
    };
    let pods: Vec<_> = (0..100).map(|number| pod(number, &mut enis)).collect();
    let before = world.record();
    let (first, second) = pods.split_at(50);
    thread::scope(|scope| first.iter().for_each(|pod| drop(scope.spawn(|| world.add(pod)))));
    let start = Instant::now();
    let layouts: Vec<_> = thread::scope(|scope| {
        let adding: Vec<_> = second.iter().map(|pod| scope.spawn(|| world.add(pod))).collect();
        for pod in first {
            scope.spawn(|| world.del(pod));
        }
        adding.into_iter().map(|one| one.join().unwrap()).collect()
    });
    println!("50 ADDs and 50 DELs in mixed modes: {:?}", start.elapsed());
    for (pod, layout) in second.iter().zip(&layouts) {
        assert_eq!(world.check(pod, layout), Vec::<String>::new());
    }
    thread::scope(|scope| second.iter().for_each(|pod| drop(scope.spawn(|| world.del(pod)))));
    similar(&before, &world.record());
}

/// Somebody clears tables nobody is led to, again and again, while others come and go: whoever has made rule and route
/// keeps the route, at whatever moment of the clearing they came.
pub(crate) fn who_comes_during_a_clearing_keeps_the_route() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 1);
    shared::used(&world, &mut eni);
    let table = eni.table(&world);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                terway_datapath::rules::sweep(&world.node).unwrap();
            }
        });
        let mut node = Netlink::open(&world.node).unwrap();
        // Not ours by its protocol, so the sweep leaves the rule alone; it leads to the table all the same.
        let from = "10.9.9.9/32".parse().ok();
        let rule = Rule { from, protocol: 3, ..Rule::lookup(V4, 2048, table) };
        let route =
            Route::default_of(V4).dev(table - 1000).via("10.0.1.253".parse().unwrap()).onlink().table(table);
        let filter = RouteFilter { family: Some(V4), table: Some(table), oif: None };
        let mut lost = 0;
        for _ in 0..1500 {
            node.transact(&[Request::add_rule(&rule), Request::replace_route(&route)]).unwrap();
            // The clearing that was under way ends meanwhile.
            lost += (0..5).filter(|_| node.routes(filter).unwrap().is_empty()).count();
            node.transact(&[Request::delete_rule(&rule)]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(lost, 0);
    });
}
