//! The ENIs that can be given at once, by class: any of them can be taken or put back in constant time, so that a
//! random one can be chosen.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::EniNo;
use crate::classes::ClassNo;

/// The idle ENIs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Idle {
    classes: Vec<Vec<EniNo>>,
    /// Those classes that have one: there may be many that have none.
    occupied: BTreeSet<ClassNo>,
    positions: BTreeMap<EniNo, usize>,
}

impl Idle {
    pub(crate) fn of(&self, class: ClassNo) -> &[EniNo] {
        self.classes.get(class.index()).map_or(&[], Vec::as_slice)
    }

    /// The classes that have an idle ENI.
    pub(crate) fn classes(&self) -> impl Iterator<Item = ClassNo> + '_ {
        self.occupied.iter().copied()
    }

    pub(crate) fn insert(&mut self, class: ClassNo, eni: EniNo) {
        if self.classes.len() <= class.index() {
            self.classes.resize_with(class.index() + 1, Vec::new);
        }
        self.occupied.insert(class);
        let row = &mut self.classes[class.index()];
        self.positions.insert(eni, row.len());
        row.push(eni);
    }

    pub(crate) fn remove(&mut self, class: ClassNo, eni: EniNo) {
        let Some(position) = self.positions.remove(&eni) else { return };
        let row = &mut self.classes[class.index()];
        row.swap_remove(position);
        if let Some(moved) = row.get(position) {
            self.positions.insert(*moved, position);
        } else if row.is_empty() {
            self.occupied.remove(&class);
        }
    }

    #[cfg(test)]
    pub(crate) fn sorted(&self) -> Vec<Vec<EniNo>> {
        let mut all = self.classes.clone();
        for row in &mut all {
            row.sort_unstable();
        }
        all.truncate(all.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1));
        let some = (0..).zip(&self.classes).filter(|(_, row)| !row.is_empty()).map(|(index, _)| index);
        assert!(some.eq(self.occupied.iter().map(|class| class.index())));
        for row in &self.classes {
            assert!(row.iter().enumerate().all(|(at, eni)| self.positions.get(eni) == Some(&at)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::Classes;

    #[test]
    fn any_can_leave_and_the_others_are_still_known() {
        let (mut idle, mut classes) = (Idle::default(), Classes::default());
        let (a, b) = (classes.intern(&"a".into(), &[]), classes.intern(&"b".into(), &[]));
        (0..5).for_each(|n| idle.insert(if n < 3 { a } else { b }, EniNo(n)));
        idle.remove(a, EniNo(0));
        idle.remove(a, EniNo(0));
        idle.remove(b, EniNo(4));
        assert_eq!(idle.sorted(), [vec![EniNo(1), EniNo(2)], vec![EniNo(3)]]);
        idle.remove(a, EniNo(2));
        idle.remove(a, EniNo(1));
        assert_eq!(idle.of(a), []);
    }
}
