//! Namespaces: made, found, told apart, removed.

use std::fs;
use std::path::Path;
use std::thread;

use libtest_mimic::Trial;
use terway_datapath::kernel::sysctl::Sysctl;
use terway_datapath::kernel::{Netns, NetnsError};

use crate::bench::{json, netns, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_named_namespace_is_found_again_until_it_is_removed", named),
        trial("what_is_no_namespace_is_refused_by_type", refused),
        trial("work_in_a_namespace_leaves_the_caller_where_it_was", run),
        trial("a_caller_without_other_threads_goes_in_itself_and_comes_back", go_and_come_back),
        trial("a_setting_belongs_to_the_namespace_it_is_set_in", settings),
    ]
}

fn named() {
    let path = Path::new("/run/netns/named");
    let made = Netns::create_named(path).unwrap();
    assert!(matches!(Netns::create_named(path), Err(NetnsError::Failed { .. })), "made twice");
    let found = Netns::open(path).unwrap();
    assert!(found.is_same(&made));
    assert!(!found.is_same(&Netns::current().unwrap()));
    assert_eq!(found.path(), Some(path));
    let listed = json(&Netns::current().unwrap(), "ip -j netns list");
    assert!(listed.to_string().contains("named"), "{listed}");
    Netns::remove_named(path).unwrap();
    assert!(!path.exists());
    assert!(matches!(Netns::open(path), Err(NetnsError::Missing { .. })));
    Netns::remove_named(path).unwrap();
    assert_eq!(json(&made, "ip -j link").as_array().unwrap().len(), 1, "the handle keeps it alive");
}

fn refused() {
    fs::write("/run/plain", "").unwrap();
    let errors = [
        Netns::open("/run/plain").unwrap_err(),
        Netns::open("/run/absent").unwrap_err(),
        // A namespace, but not of the network: seen only on entering.
        Netns::open("/proc/self/ns/uts").unwrap().run(|| ()).unwrap_err(),
    ];
    let texts = errors.each_ref().map(ToString::to_string);
    assert_eq!(texts[0], "/run/plain is not a network namespace");
    assert_eq!(texts[1], "network namespace /run/absent does not exist");
    assert_eq!(texts[2], "/proc/self/ns/uts is not a network namespace");
    assert!(errors.iter().all(NetnsError::is_gone));
    Netns::remove_named("/run/plain").unwrap();
    assert!(!Path::new("/run/plain").exists(), "a leftover file is removed");
}

fn run() {
    let before = Netns::current().unwrap();
    let other = netns();
    let inside = other.run(|| Netns::current().unwrap()).unwrap();
    assert!(inside.is_same(&other));
    assert!(Netns::current().unwrap().is_same(&before));
    let panic = std::panic::catch_unwind(|| other.run(|| std::panic::resume_unwind(Box::new("mine"))));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"mine"), "a panic comes back to the caller");
}

fn go_and_come_back() {
    let home = Netns::current().unwrap();
    let is_home = || Netns::current().unwrap().is_same(&home);
    let other = netns().returning_to(&home);
    let inside = || (thread::current().id(), Netns::current().unwrap());
    let (who, there) = other.run(inside).unwrap();
    assert_eq!(who, thread::current().id());
    assert!(there.is_same(&other) && is_home());
    let panic = std::panic::catch_unwind(|| other.run(|| std::panic::resume_unwind(Box::new("mine"))));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"mine"));
    assert!(is_home(), "also after a panic");
    let refusal = Netns::open("/proc/self/ns/uts").unwrap().returning_to(&home).run(|| ()).unwrap_err();
    assert!(matches!(refusal, NetnsError::NotANetns { .. }) && is_home(), "{refusal}");
}

fn settings() {
    let (one, two) = (netns(), netns());
    let name = "net/ipv4/conf/lo/rp_filter";
    let get = |netns: &Netns| netns.run(|| Sysctl::default().get(name).unwrap()).unwrap();
    let before = get(&two);
    assert!(one.run(|| Sysctl::default().set(name, "2").unwrap()).unwrap());
    assert!(!one.run(|| Sysctl::default().set(name, "2").unwrap()).unwrap(), "already so");
    assert_eq!((get(&one), get(&two)), ("2".to_owned(), before.clone()));
    let of_one = Sysctl::default();
    assert_eq!(one.run(|| of_one.get(name).unwrap()).unwrap(), "2");
    assert!(
        two.run(|| of_one.set(name, "1").unwrap()).unwrap(),
        "it is of the namespace it was first asked in"
    );
    assert_eq!((get(&one), get(&two)), ("1".to_owned(), before));
    let refusal = one.run(|| Sysctl::default().set(name, "x").unwrap_err()).unwrap();
    assert_eq!(refusal.to_string(), "failed to set sysctl net/ipv4/conf/lo/rp_filter to x");
}
