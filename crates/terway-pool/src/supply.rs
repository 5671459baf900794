//! Whether, where and under which token new ENIs are asked for: the pause after refusals, vSwitches set aside
//! because they had no address left, and the trouble that those who wait are told about.

use std::collections::BTreeMap;
use std::time::Duration;

use terway_types::{Fault, IntentToken, Timestamp, VSwitchId};

use crate::failure::back_off;
use crate::settings::PoolSettings;

#[derive(Clone, Copy, Debug, Default)]
struct Aside {
    until: Timestamp,
    failures: u32,
}

/// The state of supply.
#[derive(Clone, Debug)]
pub(crate) struct Supply {
    token_stem: String,
    tokens: u64,
    paused_until: Timestamp,
    failures: u32,
    aside: BTreeMap<VSwitchId, Aside>,
    trouble: Option<Fault>,
}

impl Supply {
    pub(crate) fn new(settings: &PoolSettings, now: Timestamp) -> Self {
        Self {
            // Time and generation both: an engine rebuilt within one life of the daemon must not repeat the
            // token of an ENI that is gone, because the cloud would answer with that ENI.
            token_stem: format!("{}-{:x}-{:x}", settings.token_prefix, settings.generation, now.0),
            tokens: 0,
            paused_until: Timestamp(0),
            failures: 0,
            aside: BTreeMap::new(),
            trouble: None,
        }
    }

    /// A token never used before.
    pub(crate) fn mint(&mut self) -> IntentToken {
        self.tokens += 1;
        IntentToken(format!("{}-{:x}", self.token_stem, self.tokens))
    }

    /// Where the next ENI is to be made: the first vSwitch in order of preference that is not set aside.
    /// `None` while supply is closed.
    pub(crate) fn vswitch<'a>(&self, now: Timestamp, settings: &'a PoolSettings) -> Option<&'a VSwitchId> {
        if self.paused_until > now {
            return None;
        }
        settings.vswitches.iter().find(|vswitch| self.aside_until(vswitch) <= now)
    }

    /// When supply opens again, if it is closed.
    pub(crate) fn reopens(&self, now: Timestamp, settings: &PoolSettings) -> Option<Timestamp> {
        let vswitch_free = settings.vswitches.iter().map(|vswitch| self.aside_until(vswitch)).min()?;
        Some(self.paused_until.max(vswitch_free)).filter(|at| *at > now)
    }

    /// Makes no new ENI for a while; `at_least` is the shortest pause. Further refusals during the pause do
    /// not lengthen it: they belong to the same cause.
    pub(crate) fn pause(&mut self, at_least: Duration, now: Timestamp, settings: &PoolSettings) {
        if self.paused_until <= now {
            self.failures = self.failures.saturating_add(1);
        }
        let pause = back_off(self.failures, settings).max(at_least);
        self.paused_until = self.paused_until.max(now + pause);
    }

    /// Makes no ENI in this vSwitch for a while.
    pub(crate) fn set_aside(&mut self, vswitch: &VSwitchId, now: Timestamp, settings: &PoolSettings) {
        let aside = self.aside.entry(vswitch.clone()).or_default();
        if aside.until <= now {
            aside.failures = aside.failures.saturating_add(1);
            aside.until = now + back_off(aside.failures, settings);
        }
    }

    /// An ENI was made in this vSwitch.
    pub(crate) fn made(&mut self, vswitch: &VSwitchId) {
        self.aside.remove(vswitch);
    }

    /// An ENI went the whole way and is ready.
    pub(crate) fn delivered(&mut self) {
        self.failures = 0;
        self.trouble = None;
    }

    /// The settings are new: whatever was wrong may be mended.
    pub(crate) fn reopen(&mut self) {
        self.paused_until = Timestamp(0);
        self.failures = 0;
        self.aside.clear();
    }

    pub(crate) fn troubled(&mut self, fault: Fault) {
        self.trouble = Some(fault);
    }

    /// Why ENIs do not come, if there was a failure since the last one came.
    pub(crate) fn trouble(&self) -> Option<&Fault> {
        self.trouble.as_ref()
    }

    /// The vSwitches in which no ENI is made for the moment, and until when.
    pub(crate) fn set_aside_now(
        &self,
        now: Timestamp,
        settings: &PoolSettings,
    ) -> Vec<(VSwitchId, Timestamp)> {
        let aside = settings.vswitches.iter().map(|vswitch| (vswitch.clone(), self.aside_until(vswitch)));
        aside.filter(|(_, until)| *until > now).collect()
    }

    /// Whether this vSwitch is set aside.
    pub(crate) fn is_aside(&self, vswitch: &VSwitchId, now: Timestamp) -> bool {
        self.aside_until(vswitch) > now
    }

    fn aside_until(&self, vswitch: &VSwitchId) -> Timestamp {
        self.aside.get(vswitch).map(|aside| aside.until).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    fn two_vswitches() -> PoolSettings {
        PoolSettings {
            vswitches: vec!["vsw-a".into(), "vsw-b".into()],
            retry_first: Duration::from_millis(10),
            retry_max: Duration::from_millis(40),
            ..settings()
        }
    }

    #[test]
    fn an_exhausted_vswitch_is_passed_over_for_a_while() {
        let settings = two_vswitches();
        let mut supply = Supply::new(&settings, Timestamp(0));
        let (a, b) = (VSwitchId::from("vsw-a"), VSwitchId::from("vsw-b"));
        supply.set_aside(&a, Timestamp(100), &settings);
        assert_eq!(supply.vswitch(Timestamp(100), &settings), Some(&b));
        assert_eq!(supply.reopens(Timestamp(100), &settings), None);
        supply.set_aside(&b, Timestamp(105), &settings);
        assert_eq!(supply.vswitch(Timestamp(106), &settings), None);
        assert_eq!(supply.reopens(Timestamp(106), &settings), Some(Timestamp(110)));
        assert_eq!(supply.vswitch(Timestamp(110), &settings), Some(&a));
        supply.set_aside(&a, Timestamp(110), &settings);
        assert_eq!(supply.vswitch(Timestamp(129), &settings), Some(&b), "aside for 20 ms now");
        supply.made(&a);
        assert_eq!(supply.vswitch(Timestamp(129), &settings), Some(&a));
    }

    #[test]
    fn pauses_grow_once_per_cause() {
        let settings = two_vswitches();
        let mut supply = Supply::new(&settings, Timestamp(0));
        for _ in 0..5 {
            supply.pause(Duration::ZERO, Timestamp(100), &settings);
        }
        assert_eq!(supply.reopens(Timestamp(100), &settings), Some(Timestamp(110)));
        supply.pause(Duration::ZERO, Timestamp(110), &settings);
        assert_eq!(supply.reopens(Timestamp(110), &settings), Some(Timestamp(130)));
        supply.reopen();
        assert_eq!(supply.reopens(Timestamp(110), &settings), None);
    }

    #[test]
    fn tokens_never_repeat_and_fit_the_cloud() {
        let settings = PoolSettings { generation: u64::MAX, token_prefix: "x".repeat(26), ..settings() };
        let mut supply = Supply::new(&settings, Timestamp(1_800_000_000_000));
        let (first, second) = (supply.mint(), supply.mint());
        assert_ne!(first, second);
        assert_ne!(Supply::new(&settings, Timestamp(1_800_000_000_001)).mint(), first);
        assert!(first.as_str().len() <= 64, "{first}");
    }
}
