//! ENIs of others on this instance. They take places that the pool cannot have, and are never touched.

use std::collections::BTreeMap;
use std::time::Duration;

use terway_types::{EniId, Timestamp};

use crate::event::{Place, SeenEni};

/// The ENIs of others, each with the time of the first look in a row that missed it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreign {
    enis: BTreeMap<EniId, Option<Timestamp>>,
}

impl Foreign {
    /// How many places they take.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.enis.len()).unwrap_or(u32::MAX)
    }

    /// Takes what a look shows; `known` tells whether the books have an ENI. Answers those that are new.
    ///
    /// One that comes counts at once, one that is missed only after two looks apart: a place that is taken after
    /// all would fail calls.
    pub(crate) fn look<'a>(
        &mut self,
        enis: &'a [SeenEni],
        known: impl Fn(&SeenEni) -> bool,
        began: Timestamp,
        consistency: Duration,
    ) -> Vec<&'a SeenEni> {
        let here = |seen: &&SeenEni| !seen.primary && !seen.ours && seen.place == Place::Here && !known(seen);
        let here: BTreeMap<_, _> = enis.iter().filter(here).map(|seen| (&seen.id, seen)).collect();
        self.enis.retain(|id, missed| {
            if here.contains_key(id) {
                *missed = None;
                return true;
            }
            began < *missed.get_or_insert(began) + consistency
        });
        let mut new = Vec::new();
        for (id, seen) in here {
            if self.enis.insert(id.clone(), None).is_none() {
                new.push(seen);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::testing::seen;

    const CONSISTENCY: Duration = Duration::from_millis(10);

    fn foreign(name: &str) -> SeenEni {
        SeenEni { ours: false, ..seen(name, Place::Here) }
    }

    #[test]
    fn they_count_at_once_and_leave_after_two_looks_apart() {
        let mut others = Foreign::default();
        let mut look = |enis: &[SeenEni], began| {
            let new = others.look(enis, |_| false, Timestamp(began), CONSISTENCY).len();
            (new, others.count())
        };
        assert_eq!(look(&[foreign("a"), foreign("b")], 100), (2, 2));
        assert_eq!(look(&[foreign("b")], 110), (0, 2), "missed once");
        assert_eq!(look(&[foreign("b")], 119), (0, 2), "too close");
        assert_eq!(look(&[foreign("a"), foreign("b")], 120), (0, 2), "there again, and no news");
        assert_eq!(look(&[foreign("b")], 130), (0, 2));
        assert_eq!(look(&[foreign("b")], 140), (0, 1));
    }

    #[test]
    fn only_those_that_take_a_place_count() {
        let mut others = Foreign::default();
        let primary = SeenEni { primary: true, ..foreign("p") };
        let away = SeenEni { place: Place::Elsewhere, ..foreign("e") };
        let ours = seen("o", Place::Here);
        let known = foreign("k");
        let enis = [primary, away, ours, known];
        let new = others.look(&enis, |seen| seen.id.as_str() == "eni-k", Timestamp(1), CONSISTENCY);
        assert_eq!(new, Vec::<&SeenEni>::new());
        assert_eq!(others.count(), 0);
    }
}
