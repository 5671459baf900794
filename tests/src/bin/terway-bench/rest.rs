//! The rest before an ADD of a whole ENI that is compared with others. Most of a NIC's move is a wait for what the kernel has put
//! off until its readers are done, and longer where somebody was at work just before.

use std::thread;
use std::time::Duration;

/// The kernel takes the namespace of the pod before apart, which is many of its waits for readers one after the other.
const REST: Duration = Duration::from_millis(200);
/// Those waits end with ticks of the kernel's clock, and so does what came before a rest: without something on top, of up to
/// a tick of 100 Hz, all ADDs of a run would begin at the same distance from the next one.
const SPREAD_US: usize = 10_000;

/// The same for all that have this number.
pub(crate) fn rest(number: usize) {
    // Steps of the golden ratio fall evenly everywhere.
    let on_top = number * SPREAD_US * 618 / 1000 % SPREAD_US;
    thread::sleep(REST + Duration::from_micros(u64::try_from(on_top).unwrap_or_default()));
}
