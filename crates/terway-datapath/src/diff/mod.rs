//! Compares a layout with what is there. Pure: whoever asks whether an attachment is as it should be asks here.
//!
//! What others add beside ours is theirs and no drift (later plugins of a chain may do so), unless it takes the
//! place of ours, as a second default route of the same or a better metric does.

mod fields;

use std::fmt;

use terway_types::{Fault, FaultCode};

use crate::describe::{Layout, NamespaceLayout, Object};
use crate::observe::{NamespaceState, Observed};
pub use fields::Difference;

/// In which of the two namespaces something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The node's.
    Host,
    /// The pod's.
    Pod,
}

/// One object that is not as the layout wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Where.
    pub place: Place,
    /// The object as it should be.
    pub object: Object,
    /// What is wrong with it.
    pub deviation: Deviation,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// It is not there.
    Missing,
    /// It is there, but not as it should be; never empty.
    Altered(Vec<Difference>),
    /// It is there, but something else is used in its place.
    Overridden {
        /// The other object.
        by: String,
    },
}

/// Everything that is not as the layout wants it. What cannot exist because its link is missing is not named again.
pub fn diff(layout: &Layout, observed: &Observed) -> Vec<Drift> {
    let places = [(Place::Pod, &layout.pod, &observed.pod), (Place::Host, &layout.host, &observed.host)];
    places.into_iter().flat_map(|(place, wanted, found)| namespace(place, wanted, found)).collect()
}

/// The same for the node's namespace only.
pub fn diff_host(layout: &Layout, observed: &NamespaceState) -> Vec<Drift> {
    namespace(Place::Host, &layout.host, observed)
}

/// The failure as a person meets it; none without drift.
pub fn fault(layout: &Layout, drifts: &[Drift]) -> Option<Fault> {
    let all: Vec<_> = drifts.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| {
        let what = format!("attachment {} is not as it was made: {}", layout.key, all.join("; "));
        Fault::new(FaultCode::Drift, what)
    })
}

fn namespace(place: Place, wanted: &NamespaceLayout, found: &NamespaceState) -> Vec<Drift> {
    let is_missing = |name: &str| !found.links.iter().any(|link| link.name == name);
    let mut drifts = Vec::new();
    for object in wanted.objects() {
        let is_itself_a_link = matches!(object, Object::Link(_) | Object::SharedNic(_) | Object::Loopback(_));
        let hangs_on_nothing = object.link().is_some_and(|name| wanted.names(name) && is_missing(name));
        if hangs_on_nothing && !is_itself_a_link {
            continue;
        }
        if let Some(deviation) = fields::deviation(&object, wanted, found) {
            drifts.push(Drift { place, object, deviation });
        }
    }
    drifts
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Pod => "pod",
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.object.name())?;
        match &self.deviation {
            Deviation::Missing => f.write_str(" is missing"),
            Deviation::Overridden { by } => write!(f, " is overridden by {by}"),
            Deviation::Altered(differences) => {
                f.write_str(" has ")?;
                for (place, difference) in differences.iter().enumerate() {
                    write!(f, "{}{difference}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
