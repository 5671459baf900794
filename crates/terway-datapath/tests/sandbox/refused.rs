//! Everything an ADD asks of the kernel refused once, one ADD after the other: requests, switches, and changes of
//! nf_tables. Whichever it is, all must be as before.

use std::cell::{Cell, RefCell};

use terway_datapath::{Applied, ApplyError, Asked};

/// Applies again and again, with something else spoiled each time, until one goes through because nothing more is asked.
/// Says how much was refused.
pub(crate) fn each(
    apply: impl Fn(&dyn Fn(Asked<'_, '_>)) -> Result<Applied, ApplyError>,
    all_is_as_before: impl Fn(),
) -> usize {
    let mut number = 0;
    loop {
        let (sent, refused) = (Cell::new(0), RefCell::new(String::new()));
        let spoil = |asked: Asked<'_, '_>| {
            if sent.replace(sent.get() + 1) == number {
                *refused.borrow_mut() = asked.what();
                asked.spoil();
            }
        };
        let outcome = apply(&spoil);
        if sent.get() <= number {
            outcome.unwrap();
            return number;
        }
        let what = refused.take();
        match outcome {
            Err(ApplyError::Step { undo: None, source, .. }) => {
                let told = terway_types::fault::chain(&source);
                assert!(told.contains(&what), "{what} was refused, and told was: {told}");
            }
            other => panic!("{what} was refused: {other:?}"),
        }
        all_is_as_before();
        number += 1;
    }
}
