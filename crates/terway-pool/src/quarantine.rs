//! When a released ENI may be given again: after its rest, and only with its netdev at home. The rest lets
//! connections and neighbour entries of the old pod die; a netdev that is still in a dead pod's namespace
//! could be neither moved nor trusted.

use terway_types::Timestamp;

use crate::settings::PoolSettings;

/// How a quarantine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Not over; ask again then.
    Until(Timestamp),
    /// Over: the ENI may be given again.
    Over,
    /// The netdev has not come home in time. The ENI stays until it does.
    Strayed,
}

/// How the quarantine of an ENI stands that rests until `until`. `home` tells whether its netdev is in the
/// host's namespace, `awaited` since when it has been waited for.
pub(crate) fn rest(
    until: Timestamp,
    home: bool,
    awaited: Timestamp,
    now: Timestamp,
    settings: &PoolSettings,
) -> Rest {
    if home {
        return if now >= until { Rest::Over } else { Rest::Until(until) };
    }
    let patience = awaited + settings.home_timeout;
    if now >= patience { Rest::Strayed } else { Rest::Until(patience) }
}

/// Until when something rests on that is still mentioned by connections or neighbours; it rests since `since`.
/// The rule of ENIs and of single addresses alike.
pub(crate) fn extended(
    until: Timestamp,
    since: Timestamp,
    now: Timestamp,
    settings: &PoolSettings,
) -> Timestamp {
    until.max((now + settings.quarantine).min(since + settings.quarantine_max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;
    use std::time::Duration;

    #[test]
    fn it_takes_both_time_and_home() {
        let settings = PoolSettings { home_timeout: Duration::from_millis(50), ..settings() };
        let (until, awaited) = (Timestamp(20), Timestamp(10));
        let at = |home, now| rest(until, home, awaited, Timestamp(now), &settings);
        assert_eq!(at(true, 19), Rest::Until(until));
        assert_eq!(at(true, 20), Rest::Over);
        assert_eq!(at(false, 20), Rest::Until(Timestamp(60)));
        assert_eq!(at(false, 60), Rest::Strayed);
        assert_eq!(at(true, 60), Rest::Over);
    }

    #[test]
    fn mentions_make_it_longer_up_to_the_bound_and_never_shorter() {
        let settings = PoolSettings {
            quarantine: Duration::from_millis(30),
            quarantine_max: Duration::from_millis(100),
            ..settings()
        };
        let at = |until, now| extended(Timestamp(until), Timestamp(1000), Timestamp(now), &settings).0;
        assert_eq!((at(1030, 1020), at(1050, 1060), at(1090, 1090)), (1050, 1090, 1100));
        assert_eq!(at(1500, 1010), 1500);
    }

    #[test]
    fn no_rest_wanted_is_over_at_once_when_home() {
        assert_eq!(rest(Timestamp(5), true, Timestamp(5), Timestamp(5), &settings()), Rest::Over);
    }
}
