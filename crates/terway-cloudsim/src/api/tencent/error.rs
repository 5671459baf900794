//! The vendor's error codes for what the cloud refuses, and the body that carries them inside HTTP 200.

use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::model::{Refusal, Status};

/// An error in this vendor's words, on its way to the caller.
#[derive(Debug)]
pub(super) struct Refused(pub(super) ApiError);

impl Refused {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self(ApiError::new(code, message))
    }

    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", what)
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::new(code(&refusal), refusal.to_string())
    }
}

/// The code of a refusal (error lists of the VPC actions, version 2017-03-12).
fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoEni(_) | Refusal::NoInstance(_) | Refusal::NoVSwitch(_) | Refusal::NoSecurityGroup(_) => {
            "ResourceNotFound"
        }
        Refusal::EniState { .. } | Refusal::PrimaryEni(_) => "UnsupportedOperation.InvalidState",
        Refusal::NotAttachedThere { .. } | Refusal::NotAssigned { .. } => {
            "UnsupportedOperation.AttachmentNotFound"
        }
        Refusal::EniPerInstance { .. }
        | Refusal::Ipv4PerEni { .. }
        | Refusal::Ipv6PerEni { .. }
        | Refusal::AddressQuota(_) => "LimitExceeded",
        Refusal::EniQuota(_) => "LimitExceeded.NetworkInterfaceLimitExceeded",
        Refusal::SubnetExhausted { .. } => "ResourceInsufficient.Subnet",
        Refusal::NoIpv6(_) | Refusal::EniType { .. } => "UnsupportedOperation",
        Refusal::VpcMismatch { .. } | Refusal::GroupVpc { .. } => "UnsupportedOperation.VpcMismatch",
        Refusal::InstanceState(_) => "UnsupportedOperation.InvalidInstanceState",
        Refusal::ZoneMismatch { .. } => "UnsupportedOperation.ZoneMismatch",
        Refusal::PrimaryAddress(_) => "InvalidParameterValue",
        Refusal::AddressTaken(_) => "ResourceInUse.Address",
        Refusal::Busy(_) => "UnsupportedOperation.MutexOperationTaskRunning",
        Refusal::NoTrunks(_) => "UnsupportedOperation.UnsupportedInstanceFamily",
        Refusal::TokenReused(_) => "UnsupportedOperation.IdempotentParameterMismatch",
    }
}

/// An ENI that is attached already is refused with a code of its own.
pub(super) fn of_attach(refusal: Refusal) -> Refused {
    match &refusal {
        Refusal::EniState { status: Status::Attaching | Status::InUse, .. } => {
            Refused::new("UnsupportedOperation.AttachmentAlreadyExists", refusal.to_string())
        }
        _ => refusal.into(),
    }
}

/// An ENI that is attached is in use.
pub(super) fn of_delete(refusal: Refusal) -> Refused {
    match &refusal {
        Refusal::EniState { status: Status::Attaching | Status::InUse | Status::Detaching, .. } => {
            Refused::new("ResourceInUse", refusal.to_string())
        }
        _ => refusal.into(),
    }
}

/// The body of an answer.
pub(super) fn body(outcome: Result<Value, ApiError>, request_id: &str) -> Value {
    let mut response = match outcome {
        Ok(answer) => answer,
        Err(error) => json!({ "Error": { "Code": error.code, "Message": error.message } }),
    };
    response["RequestId"] = json!(request_id);
    json!({ "Response": response })
}
