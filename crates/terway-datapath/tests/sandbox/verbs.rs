//! What the worlds of these tests say alike when they call ADD and CHECK.

use std::time::{Duration, Instant};

use terway_datapath::kernel::{Netns, NicRule};
use terway_datapath::{AttachmentContext, Layout};

/// What an ADD goes by that nobody looks over the shoulder, and that waits so long for a NIC.
pub(crate) fn context<'a>(
    host: &'a Netns,
    pod: &'a Netns,
    rule: &'a NicRule,
    patience: Duration,
) -> AttachmentContext<'a> {
    let deadline = Instant::now() + patience;
    AttachmentContext { host, pod, rule, nic_index: None, deadline, before_step: None }
}

/// CHECK: the drifts as text.
pub(crate) fn check(layout: &Layout, host: &Netns, pod: &Netns) -> Vec<String> {
    let observed = terway_datapath::observe(layout, host, pod).unwrap();
    terway_datapath::diff(layout, &observed).iter().map(ToString::to_string).collect()
}
