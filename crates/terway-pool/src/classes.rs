//! Which ENIs can stand in for each other: those of one vSwitch with the same security groups. Such classes are
//! interned, so that decisions compare small numbers.

use std::collections::BTreeMap;

use terway_types::{SecurityGroupId, VSwitchId};

/// Names a class within one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassNo(u32);

impl ClassNo {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) vswitch: VSwitchId,
    /// Sorted: the order has no meaning.
    pub(crate) groups: Vec<SecurityGroupId>,
}

/// Every class met so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    list: Vec<Class>,
    numbers: BTreeMap<Class, ClassNo>,
}

impl Classes {
    pub(crate) fn intern(&mut self, vswitch: &VSwitchId, groups: &[SecurityGroupId]) -> ClassNo {
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        let class = Class { vswitch: vswitch.clone(), groups };
        if let Some(number) = self.numbers.get(&class) {
            return *number;
        }
        let number = ClassNo(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        self.list.push(class.clone());
        self.numbers.insert(class, number);
        number
    }

    pub(crate) fn get(&self, number: ClassNo) -> &Class {
        &self.list[number.index()]
    }

    #[cfg(test)]
    pub(crate) fn numbers(&self) -> impl DoubleEndedIterator<Item = ClassNo> + use<> {
        (0..u32::try_from(self.list.len()).unwrap_or(u32::MAX)).map(ClassNo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_groups_makes_no_class() {
        let mut classes = Classes::default();
        let (a, one, two) = ("vsw-a".into(), SecurityGroupId::from("sg-1"), SecurityGroupId::from("sg-2"));
        let first = classes.intern(&a, &[one.clone(), two.clone()]);
        assert_eq!(classes.intern(&a, &[two.clone(), one.clone()]), first);
        assert_ne!(classes.intern(&a, &[two]), first);
        assert_ne!(classes.intern(&"vsw-b".into(), std::slice::from_ref(&one)), first);
        assert_eq!((classes.numbers().count(), classes.get(first).groups.len()), (3, 2));
    }
}
