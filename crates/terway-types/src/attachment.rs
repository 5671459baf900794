//! What is attached to what: the key of an attachment, and the pod it serves.
//!
//! The key is `(network, container id, ifname)` as the CNI specification demands; a pod's name is
//! never part of it, because two sandboxes of one pod may overlap.

use std::fmt;

/// A name that breaks the CNI specification's or the kernel's rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} {rule}")]
pub struct NameError {
    /// Which name, e.g. `container id`.
    pub what: &'static str,
    /// The refused text.
    pub value: String,
    /// The rule it breaks, as the end of a sentence.
    pub rule: &'static str,
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]*`: the alphabet of container ids and network names.
fn check_alphabet(what: &'static str, value: &str) -> Result<(), NameError> {
    let starts_well = value.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
    let goes_on_well = value.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'));
    if starts_well && goes_on_well {
        return Ok(());
    }
    let rule = "must start with a letter or digit and go on with letters, digits, '_', '.' or '-'";
    Err(NameError { what, value: value.to_owned(), rule })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the text against the rule of this name.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A container id of the runtime.
    ContainerId, |text: &str| check_alphabet("container id", text)
}
name! {
    /// The name of a CNI network.
    NetworkName, |text: &str| check_alphabet("network name", text)
}
name! {
    /// A network interface name the kernel accepts: 1 to 15 bytes, not `.` or `..`, no `/`, `:` or white
    /// space (`dev_valid_name` in the kernel, and libcni's own check).
    IfName, check_ifname
}

fn check_ifname(text: &str) -> Result<(), NameError> {
    let wrong = |rule| Err(NameError { what: "interface name", value: text.to_owned(), rule });
    if text.is_empty() || text.len() > 15 {
        return wrong("must have 1 to 15 bytes");
    }
    if text == "." || text == ".." {
        return wrong("must not be '.' or '..'");
    }
    if text.chars().any(|c| c == '/' || c == ':' || c == '\0' || c.is_whitespace()) {
        return wrong("must not contain '/', ':', NUL or white space");
    }
    Ok(())
}

/// Names one attachment of one container to one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentKey {
    /// The CNI network (the conflist's `name`).
    pub network: NetworkName,
    /// The sandbox as the runtime names it.
    pub container: ContainerId,
    /// The interface inside the sandbox.
    pub ifname: IfName,
}

impl fmt::Display for AttachmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.ifname)
    }
}

/// The Kubernetes pod an attachment serves. Empty under runtimes that have no pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`, if the runtime sends it.
    pub uid: Option<String>,
}

impl PodRef {
    /// Whether the runtime named a pod at all.
    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { f.write_str("-") } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for good in ["a", "0abc", "cni-1_x.y"] {
            assert!(ContainerId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "ä"] {
            assert!(ContainerId::new(bad).is_err(), "{bad}");
        }
        for good in ["eth0", "a", "fifteen-bytes-x"] {
            assert!(IfName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "sixteen-bytes-xx", "a/b", "a:b", "a b", "a\tb", "a\0b"] {
            assert!(IfName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_name_is_quoted() {
        let error = IfName::new("a b").unwrap_err().to_string();
        assert_eq!(error, "interface name \"a b\" must not contain '/', ':', NUL or white space");
    }
}
