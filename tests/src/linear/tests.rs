//! The checker accepts what may happen and finds each kind of contradiction.

use super::*;

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn add(key: &str, last: u8, from: u64, to: u64) -> Call {
    Call { ask: Ask::Add(key.to_owned()), answer: Answer::Holds(address(last)), from, to }
}

fn del(key: &str, held: Option<u8>, from: u64, to: u64) -> Call {
    Call { ask: Ask::Del(key.to_owned()), answer: Answer::Released(held.map(address)), from, to }
}

fn collect(valid: &[&str], released: &[&str], from: u64, to: u64) -> Call {
    let set = |keys: &[&str]| keys.iter().map(ToString::to_string).collect();
    Call { ask: Ask::Collect(set(valid)), answer: Answer::Collected(set(released)), from, to }
}

#[test]
fn one_after_the_other_is_in_order() {
    let history = [add("a", 1, 0, 1), del("a", Some(1), 2, 3), add("b", 1, 4, 5), collect(&[], &["b"], 6, 7)];
    assert_eq!(linearize(&history), Ok(vec![0, 1, 2, 3]));
}

#[test]
fn overlapping_calls_may_be_reordered() {
    let history = [add("b", 1, 0, 9), del("a", Some(1), 1, 8), add("a", 1, 2, 3)];
    assert_eq!(linearize(&history), Ok(vec![2, 1, 0]));
}

#[test]
fn an_address_of_two_is_found_out() {
    let history = [add("a", 1, 0, 5), add("b", 1, 1, 6)];
    assert_eq!(linearize(&history).unwrap_err().stuck, 1);
}

#[test]
fn a_repeated_add_must_get_the_same() {
    assert!(linearize(&[add("a", 1, 0, 1), add("a", 1, 2, 3)]).is_ok());
    assert!(linearize(&[add("a", 1, 0, 1), add("a", 2, 2, 3)]).is_err());
}

#[test]
fn a_release_that_came_too_early_or_says_the_wrong_thing_is_found_out() {
    assert!(
        linearize(&[del("a", Some(1), 0, 1), add("a", 1, 2, 3)]).is_err(),
        "released before it was given"
    );
    assert!(linearize(&[add("a", 1, 0, 1), del("a", None, 2, 3)]).is_err(), "held, and said to hold nothing");
    assert!(linearize(&[add("a", 1, 0, 1), del("a", Some(1), 2, 3), del("a", Some(1), 4, 5)]).is_err());
}

#[test]
fn a_collection_takes_all_of_what_is_not_valid_and_nothing_else() {
    let held = [add("a", 1, 0, 1), add("b", 2, 2, 3)];
    let with = |call: Call| held.iter().cloned().chain([call]).collect::<Vec<_>>();
    assert!(linearize(&with(collect(&["a"], &["b"], 4, 5))).is_ok());
    assert!(linearize(&with(collect(&["a"], &[], 4, 5))).is_err(), "one is left over");
    assert!(linearize(&with(collect(&["a"], &["a", "b"], 4, 5))).is_err(), "a valid one is taken");
}

#[test]
fn a_call_without_an_answer_may_have_happened_or_not() {
    let lost = Call { ask: Ask::Add("a".into()), answer: Answer::Unknown, from: 0, to: 1 };
    assert!(linearize(&[lost.clone(), del("a", None, 2, 3)]).is_ok());
    assert!(linearize(&[lost.clone(), del("a", Some(1), 2, 3)]).is_ok());
    assert!(linearize(&[lost.clone(), add("b", 1, 2, 3), del("a", Some(1), 4, 5)]).is_err(), "both had it");
    let lost = Call { ask: Ask::Del("a".into()), ..lost };
    let history = [add("a", 1, 0, 1), Call { from: 2, to: 3, ..lost }, add("b", 1, 4, 5)];
    assert!(linearize(&history).is_ok());
}

#[test]
fn a_refused_call_changes_nothing() {
    let refused = Call { ask: Ask::Add("a".into()), answer: Answer::Refused, from: 2, to: 3 };
    assert!(linearize(&[refused.clone(), del("a", None, 4, 5)]).is_ok());
    assert!(linearize(&[refused, del("a", Some(1), 4, 5)]).is_err());
}
