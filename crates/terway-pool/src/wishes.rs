//! What attachments ask of an ENI, resolved against the settings: the vSwitches it may be of, in order, its
//! security groups, and with them its classes. Interned: many attachments share few wishes.

use std::collections::BTreeMap;

use terway_types::{SecurityGroupId, VSwitchId};

use crate::classes::{ClassNo, Classes};
use crate::settings::PoolSettings;

/// Names a wish within one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WishNo(u32);

/// The wish of those who have none: vSwitches and groups of the settings. The pool's stock is made for it.
pub(crate) const DEFAULT: WishNo = WishNo(0);

/// As it was said; empty lists mean those of the settings.
type Said = (Vec<VSwitchId>, Vec<SecurityGroupId>);

/// A wish against the present settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// Each possible vSwitch with the class of an ENI in it, in the order given.
    pub(crate) places: Vec<(VSwitchId, ClassNo)>,
    pub(crate) groups: Vec<SecurityGroupId>,
}

impl Wish {
    /// Whether an ENI of this class fulfils it.
    pub(crate) fn accepts(&self, class: ClassNo) -> bool {
        self.places.iter().any(|(_, possible)| *possible == class)
    }

    pub(crate) fn classes(&self) -> impl Iterator<Item = ClassNo> + '_ {
        self.places.iter().map(|(_, class)| *class)
    }

    /// Where it wants an ENI to be.
    pub(crate) fn in_vswitch(&self, vswitch: &VSwitchId) -> Option<ClassNo> {
        self.places.iter().find(|(possible, _)| possible == vswitch).map(|(_, class)| *class)
    }
}

/// Every wish met so far.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    said: Vec<Said>,
    resolved: Vec<Wish>,
    numbers: BTreeMap<Said, WishNo>,
    /// By the (sorted) groups they want: only wishes that want the same ones compete for an ENI.
    by_groups: BTreeMap<Vec<SecurityGroupId>, Vec<WishNo>>,
}

impl Wishes {
    pub(crate) fn new(settings: &PoolSettings, classes: &mut Classes) -> Self {
        let (said, resolved) = (Vec::new(), Vec::new());
        let mut wishes = Self { said, resolved, numbers: BTreeMap::new(), by_groups: BTreeMap::new() };
        wishes.intern(&[], &[], settings, classes);
        wishes
    }

    pub(crate) fn intern(
        &mut self,
        vswitches: &[VSwitchId],
        groups: &[SecurityGroupId],
        settings: &PoolSettings,
        classes: &mut Classes,
    ) -> WishNo {
        if vswitches.is_empty() && groups.is_empty() && !self.said.is_empty() {
            return DEFAULT;
        }
        let said = (vswitches.to_vec(), groups.to_vec());
        if let Some(number) = self.numbers.get(&said) {
            return *number;
        }
        let number = WishNo(u32::try_from(self.said.len()).unwrap_or(u32::MAX));
        let wish = resolve(&said, settings, classes);
        self.by_groups.entry(sorted(&wish.groups)).or_default().push(number);
        self.resolved.push(wish);
        self.said.push(said.clone());
        self.numbers.insert(said, number);
        number
    }

    /// Those that want these groups, given as a class has them.
    pub(crate) fn with_groups(&self, groups: &[SecurityGroupId]) -> &[WishNo] {
        self.by_groups.get(groups).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn get(&self, number: WishNo) -> &Wish {
        &self.resolved[number.0 as usize]
    }

    /// The settings are new.
    pub(crate) fn resettle(&mut self, settings: &PoolSettings, classes: &mut Classes) {
        self.resolved = self.said.iter().map(|said| resolve(said, settings, classes)).collect();
        self.by_groups.clear();
        for (number, wish) in (0..).map(WishNo).zip(&self.resolved) {
            self.by_groups.entry(sorted(&wish.groups)).or_default().push(number);
        }
    }
}

fn resolve((vswitches, groups): &Said, settings: &PoolSettings, classes: &mut Classes) -> Wish {
    let vswitches = if vswitches.is_empty() { &settings.vswitches } else { vswitches };
    let groups = if groups.is_empty() { &settings.security_groups } else { groups };
    let places = vswitches.iter().map(|vswitch| (vswitch.clone(), classes.intern(vswitch, groups)));
    Wish { places: places.collect(), groups: groups.clone() }
}

/// As a class has them.
fn sorted(groups: &[SecurityGroupId]) -> Vec<SecurityGroupId> {
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn what_is_left_open_follows_the_settings() {
        let (mut settings, mut classes) = (settings(), Classes::default());
        let mut wishes = Wishes::new(&settings, &mut classes);
        let special = wishes.intern(&[], &["sg-9".into()], &settings, &mut classes);
        assert_ne!(special, DEFAULT);
        assert_eq!(wishes.intern(&[], &[], &settings, &mut classes), DEFAULT);
        assert_eq!(wishes.intern(&[], &["sg-9".into()], &settings, &mut classes), special);
        settings.vswitches = vec!["vsw-b".into()];
        wishes.resettle(&settings, &mut classes);
        let class = classes.intern(&"vsw-b".into(), &["sg-9".into()]);
        assert!(wishes.get(special).accepts(class) && !wishes.get(DEFAULT).accepts(class));
        assert_eq!(wishes.get(special).in_vswitch(&"vsw-b".into()), Some(class));
        assert_eq!(wishes.get(special).in_vswitch(&"vsw-a".into()), None);
        settings.security_groups = vec!["sg-9".into()];
        assert_eq!(wishes.with_groups(&["sg-9".into()]), [special]);
        wishes.resettle(&settings, &mut classes);
        assert_eq!(wishes.with_groups(&["sg-9".into()]), [DEFAULT, special]);
    }
}
