//! Identifiers of cloud objects. They are opaque texts that the cloud hands out; the newtypes keep an
//! ENI's id from being taken for a vSwitch's.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub String);

        impl $name {
            /// The id as the cloud spells it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

id! {
    /// An elastic network interface, e.g. `eni-bp1abc...`.
    EniId
}
id! {
    /// A subnet of a VPC (vSwitch, subnet), e.g. `vsw-bp1abc...`.
    VSwitchId
}
id! {
    /// A security group, e.g. `sg-bp1abc...`.
    SecurityGroupId
}
id! {
    /// A virtual machine: the node, e.g. `i-bp1abc...`.
    InstanceId
}
id! {
    /// An availability zone, e.g. `cn-hangzhou-h`.
    ZoneId
}
id! {
    /// A claim of the control plane on an ENI of its own, e.g. the uid of a `PodENI`.
    ClaimId
}
id! {
    /// Names one intent to own one ENI, from before the cloud knows it until after it is gone. It is the
    /// idempotency token of the create call (at most 64 ASCII characters) and a tag of the ENI.
    IntentToken
}
