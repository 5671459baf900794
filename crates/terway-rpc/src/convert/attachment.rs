//! Keys of attachments on the wire, also as the Go plugin sends them: without a network, and without
//! an interface name outside of `AllocIP`.

use terway_types::{AttachmentKey, ContainerId, IfName, NameError, NetworkName};

use crate::wire;

/// The network of requests that name none: the `name` of the conflist both implementations ship.
pub const DEFAULT_NETWORK: &str = "terway";
/// The interface of requests that name none.
pub const DEFAULT_IFNAME: &str = "eth0";

/// The key of a request, with the defaults above for what the Go plugin leaves out.
pub fn attachment_key(network: &str, container: &str, ifname: &str) -> Result<AttachmentKey, NameError> {
    let or = |text: &str, default: &str| if text.is_empty() { default } else { text }.to_owned();
    Ok(AttachmentKey {
        network: NetworkName::new(or(network, DEFAULT_NETWORK))?,
        container: ContainerId::new(container)?,
        ifname: IfName::new(or(ifname, DEFAULT_IFNAME))?,
    })
}

impl From<&AttachmentKey> for wire::Attachment {
    fn from(key: &AttachmentKey) -> Self {
        Self {
            network: key.network.to_string(),
            container_id: key.container.to_string(),
            ifname: key.ifname.to_string(),
        }
    }
}

impl TryFrom<&wire::Attachment> for AttachmentKey {
    type Error = NameError;

    fn try_from(message: &wire::Attachment) -> Result<Self, NameError> {
        Ok(Self {
            network: NetworkName::new(&message.network)?,
            container: ContainerId::new(&message.container_id)?,
            ifname: IfName::new(&message.ifname)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_as_it_went() {
        let key = attachment_key("blue", "c1", "net1").unwrap();
        assert_eq!(AttachmentKey::try_from(&wire::Attachment::from(&key)), Ok(key));
    }

    #[test]
    fn what_the_go_plugin_leaves_out_has_defaults() {
        assert_eq!(attachment_key("", "c1", "").unwrap().to_string(), "terway/c1/eth0");
        assert_eq!(attachment_key("", "", "").unwrap_err().what, "container id");
    }

    #[test]
    fn a_message_of_ours_leaves_nothing_out() {
        let message = wire::Attachment { container_id: "c1".into(), ..Default::default() };
        assert_eq!(AttachmentKey::try_from(&message).unwrap_err().what, "network name");
    }
}
