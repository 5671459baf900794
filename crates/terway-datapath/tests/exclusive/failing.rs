//! ADDs that fail, at each step and with each request: all is as before.

use terway_datapath::{ApplyError, Step, apply, apply_spoiled};
use terway_types::Bandwidth;

use crate::refused;
use crate::world::{Pod, World, similar};

/// A pod limited both ways, so that it has every sort of object.
fn limited(mut pod: Pod) -> Pod {
    let limit = Some(Bandwidth { bytes_per_second: 1_250_000, burst_bytes: None });
    (pod.plan.ingress, pod.plan.egress) = (limit, limit);
    pod
}

/// Somebody stops the ADD before each step.
pub(crate) fn at_each_step(world: &World, pod: Pod) {
    let pod = limited(pod);
    let layout = world.layout(&pod);
    let before = (world.record(), pod.record());
    for stop in Step::ALL {
        let stopping = |step| if step == stop { Err("as asked".to_owned()) } else { Ok(()) };
        let error = apply(&layout, &world.context(&pod, Some(&stopping))).unwrap_err();
        let ApplyError::Step { step, undo: None, .. } = error else { panic!("{stop:?}: {error:?}") };
        assert_eq!(step, stop);
        similar(&before.0, &world.record());
        similar(&before.1, &pod.record());
    }
    apply(&layout, &world.context(&pod, None)).unwrap();
}

/// The kernel refuses each request once, after what is done before each ADD; `hear` is told of each request. Says how many
/// there are.
pub(crate) fn at_each_request(world: &World, pod: Pod, before_each: impl Fn(), hear: impl Fn(&str)) -> usize {
    let pod = limited(pod);
    let layout = world.layout(&pod);
    let before = (world.record(), pod.record());
    refused::each(
        |spoil| {
            before_each();
            apply_spoiled(&layout, &world.context(&pod, None), &|asked| {
                hear(&asked.what());
                spoil(asked);
            })
        },
        || {
            similar(&before.0, &world.record());
            similar(&before.1, &pod.record());
        },
    )
}
