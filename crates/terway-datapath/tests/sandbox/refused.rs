//! Every request of an ADD refused once, one ADD after the other: whichever it is, all must be as before.

use std::cell::{Cell, RefCell};

use terway_datapath::kernel::Request;
use terway_datapath::{Applied, ApplyError};

/// Applies again and again, with another request spoiled each time, until one goes through because it has no more
/// requests. Says how many were refused.
pub(crate) fn each(
    apply: impl Fn(&dyn Fn(&mut Request)) -> Result<Applied, ApplyError>,
    all_is_as_before: impl Fn(),
) -> usize {
    let mut number = 0;
    loop {
        let (sent, refused) = (Cell::new(0), RefCell::new(String::new()));
        let spoil = |request: &mut Request| {
            if sent.replace(sent.get() + 1) == number {
                request.what().clone_into(&mut refused.borrow_mut());
                request.spoil();
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
