//! Requests about filters.

use super::{ADD, Request};
use crate::kernel::filter::{Filter, InstalledFilter};
use crate::kernel::transport::Frame;

const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;

impl Request {
    /// Adds a filter behind those of its priority. The link needs clsact. The kernel does not mind two that are
    /// alike.
    pub fn add_filter(index: u32, filter: &Filter) -> Self {
        let what = format!("add a filter for {} at {} of link #{index}", filter.matches, filter.hook);
        Self::raw(what, Frame::acked(RTM_NEWTFILTER, ADD, &filter.encode(index)))
    }

    /// Deletes one filter.
    pub fn delete_filter(index: u32, installed: &InstalledFilter) -> Self {
        let InstalledFilter { handle, filter } = installed;
        let what = format!("delete the filter for {} at {} of link #{index}", filter.matches, filter.hook);
        Self::raw(what, Frame::acked(RTM_DELTFILTER, 0, &filter.encode_name(index, *handle)))
    }
}
