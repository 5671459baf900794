//! What kind of node this is, as far as its ENIs go: Lingjun nodes have rules of their own, and most of them an API of
//! their own for their ENIs.

use std::sync::Arc;

use terway_cloud::{Cloud, CloudResult, EniDescription, EniFilter, EniSource, InstanceIdentity, fault};
use terway_types::Fault;

/// What the names of Lingjun instance types start with.
const LINGJUN: &str = "efg";
/// The cloud that has them.
const VENDOR: &str = "aliyun";
/// Tags of the ENI by which the elastic compute service serves a Lingjun node whose own NIC it does not know.
const LINKED: [(&str, &str); 2] = [("leni_primary", "true"), ("acs:ecs:support_eni", "true")];

/// The client of the API that a node's ENIs come from, and the node's kind, which the elastic compute service is asked
/// for. `labelled` is what the node's label says, `connect` makes a client.
pub async fn reach(
    identity: &InstanceIdentity,
    labelled: bool,
    connect: impl Fn(EniSource) -> Result<Arc<dyn Cloud>, Fault>,
) -> Result<(Arc<dyn Cloud>, NodeKind), Fault> {
    let ordinary = connect(EniSource::Compute)?;
    let kind = NodeKind::of(identity, labelled, &*ordinary).await.map_err(|failure| fault(&failure))?;
    let cloud = match kind.source {
        EniSource::Compute => ordinary,
        source @ EniSource::Eflo => connect(source)?,
    };
    Ok((cloud, kind))
}

/// The kind of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeKind {
    /// Whether it is one of the vendor's Lingjun nodes, by its label or its type.
    pub lingjun: bool,
    /// Where its ENIs come from.
    pub source: EniSource,
}

impl NodeKind {
    /// Finds out. Whether a Lingjun node has its ENIs from the elastic compute service shows in what that lists for
    /// it: the node's own NIC, or an ENI that is tagged to stand for it. `ordinary` is the client of that service,
    /// `labelled` what the node's label says.
    async fn of(identity: &InstanceIdentity, labelled: bool, ordinary: &dyn Cloud) -> CloudResult<Self> {
        let lingjun =
            ordinary.provider() == VENDOR && (labelled || identity.instance_type.starts_with(LINGJUN));
        if !lingjun {
            return Ok(Self { lingjun: labelled, source: EniSource::Compute });
        }
        let here = EniFilter { instance: Some(identity.id.clone()), ..EniFilter::default() };
        let linked = ordinary.describe_enis(&here).await?.iter().any(stands_for_the_node);
        Ok(Self { lingjun, source: if linked { EniSource::Compute } else { EniSource::Eflo } })
    }
}

fn stands_for_the_node(eni: &EniDescription) -> bool {
    let tagged = |(key, value): &(&str, &str)| eni.tags.get(*key).is_some_and(|text| text == value);
    eni.primary() || LINKED.iter().all(tagged)
}
