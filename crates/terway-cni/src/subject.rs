//! Whom a call is about: the attachment's key, the pod it serves, and the messages that carry both to the
//! daemon.

use cni_protocol::{Attachment, Context};
use terway_rpc::wire;
use terway_types::{AttachmentKey, ContainerId, Fault, FaultCode, IfName, NameError, NetworkName, PodRef};

/// The keys of `CNI_ARGS` this plugin knows. `IP` is passed over: addresses are the VPC's to give.
const KNOWN_ARGS: [&str; 5] =
    ["K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_UID", "K8S_POD_INFRA_CONTAINER_ID", "IP"];

/// The subject of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The attachment.
    pub(crate) key: AttachmentKey,
    /// The pod; empty under runtimes that have none.
    pub(crate) pod: PodRef,
}

impl Subject {
    pub(crate) fn of(attachment: &Attachment, context: &Context) -> Result<Self, Fault> {
        let key = key(&context.config.name, attachment)?;
        let arg = |name| context.args.get(name);
        let pod = PodRef {
            namespace: arg("K8S_POD_NAMESPACE").unwrap_or_default(),
            name: arg("K8S_POD_NAME").unwrap_or_default(),
            uid: arg("K8S_POD_UID"),
        };
        Ok(Self { key, pod })
    }

    pub(crate) fn allocate_request(&self, netns: &str, context: &Context) -> wire::AllocateRequest {
        wire::AllocateRequest {
            pod_name: self.pod.name.clone(),
            pod_namespace: self.pod.namespace.clone(),
            container_id: self.key.container.to_string(),
            netns: netns.to_owned(),
            ifname: self.key.ifname.to_string(),
            network: self.key.network.to_string(),
            pod_uid: self.pod.uid.clone().unwrap_or_default(),
            traceparent: context.trace.traceparent.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn release_request(&self, reason: &str) -> wire::ReleaseRequest {
        wire::ReleaseRequest {
            pod_name: self.pod.name.clone(),
            pod_namespace: self.pod.namespace.clone(),
            container_id: self.key.container.to_string(),
            reason: reason.to_owned(),
            network: self.key.network.to_string(),
            ifname: self.key.ifname.to_string(),
            ..Default::default()
        }
    }

    /// Something the node's operator should hear about the pod.
    pub(crate) fn warning(&self, reason: &str, message: &str) -> wire::EventRequest {
        wire::EventRequest {
            target: wire::EventTarget::Pod.into(),
            pod_name: self.pod.name.clone(),
            pod_namespace: self.pod.namespace.clone(),
            r#type: wire::EventType::Warning.into(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    pub(crate) fn info_request(&self) -> wire::InfoRequest {
        wire::InfoRequest {
            pod_name: self.pod.name.clone(),
            pod_namespace: self.pod.namespace.clone(),
            container_id: self.key.container.to_string(),
            network: self.key.network.to_string(),
            ifname: self.key.ifname.to_string(),
        }
    }
}

/// Refuses arguments nobody here knows, unless the runtime asked to ignore such.
pub(crate) fn refuse_unknown_args(context: &Context) -> Result<(), Fault> {
    let unknown = context.args.unknown(&KNOWN_ARGS);
    if unknown.is_empty() {
        return Ok(());
    }
    let what = format!("CNI_ARGS holds unknown keys: {}", unknown.join(", "));
    Err(Fault::new(FaultCode::CniEnvironment, what).remedy("remove them, or add IgnoreUnknown=1"))
}

/// The key of an attachment of this network. The protocol's rules for names are ours too; a refusal here
/// would mean that they have drifted apart.
pub(crate) fn key(network: &str, attachment: &Attachment) -> Result<AttachmentKey, Fault> {
    let wrong = |error: NameError| Fault::new(FaultCode::CniEnvironment, error.to_string());
    Ok(AttachmentKey {
        network: NetworkName::new(network).map_err(wrong)?,
        container: ContainerId::new(&attachment.container_id).map_err(wrong)?,
        ifname: IfName::new(&attachment.ifname).map_err(wrong)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::context;

    fn subject(args: &str) -> Subject {
        let attachment = Attachment { container_id: "c0ffee".to_owned(), ifname: "eth0".to_owned() };
        Subject::of(&attachment, &context(&json!({}), args)).unwrap()
    }

    #[test]
    fn a_pod_is_named_by_the_arguments() {
        let args = "K8S_POD_UID=u1;IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=default;X=y";
        let subject = subject(args);
        assert_eq!(subject.key.to_string(), "terway/c0ffee/eth0");
        assert_eq!(subject.pod.to_string(), "default/web");
        let request = subject.allocate_request("/run/netns/a", &context(&json!({}), args));
        assert_eq!((request.pod_uid.as_str(), request.network.as_str()), ("u1", "terway"));
    }

    #[test]
    fn there_need_not_be_a_pod() {
        assert!(subject("").pod.is_empty());
        let podman = subject("IgnoreUnknown=1;K8S_POD_NAME=box");
        assert_eq!((podman.pod.name.as_str(), podman.pod.namespace.as_str()), ("box", ""));
    }

    #[test]
    fn unknown_arguments_are_named_unless_ignored() {
        let fault = refuse_unknown_args(&context(&json!({}), "K8S_POD_NAME=a;COLOUR=red")).unwrap_err();
        assert!(fault.what.contains("COLOUR") && !fault.what.contains("K8S"), "{fault}");
        assert!(refuse_unknown_args(&context(&json!({}), "COLOUR=red;IgnoreUnknown=1")).is_ok());
        assert!(refuse_unknown_args(&context(&json!({}), "")).is_ok());
    }
}
