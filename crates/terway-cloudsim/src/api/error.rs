//! The vendor's error answers: code, HTTP status, body.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::model::Refusal;

/// An error on its way to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: String,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    pub(super) fn missing(name: &str) -> Self {
        Self::new("MissingParameter", format!("the parameter {name} is mandatory for this action"))
    }

    pub(super) fn invalid(name: &str, value: &str) -> Self {
        Self::new("InvalidParameter", format!("the value {value:?} of parameter {name} is not valid"))
    }

    pub(super) fn conflict(one: &str, other: &str) -> Self {
        Self::new("InvalidParameter.Conflict", format!("{one} and {other} exclude each other"))
    }

    /// The vendor's error body with the status of the code.
    pub(super) fn into_response(self, request_id: &str, host: &str) -> Response {
        let body = json!({
            "RequestId": request_id,
            "HostId": host,
            "Recommend": format!("https://api.aliyun.com/troubleshoot?q={}", self.code),
            "Code": self.code,
            "Message": self.message,
        });
        json_response(status_of(&self.code), &body)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

/// The HTTP status that goes with a code, by the vendor's error tables; 400 where nothing else is said.
fn status_of(code: &str) -> StatusCode {
    match code {
        "InternalError" => StatusCode::INTERNAL_SERVER_ERROR,
        "ServiceUnavailable" => StatusCode::SERVICE_UNAVAILABLE,
        "Operation.Conflict" => StatusCode::CONFLICT,
        "EniPerInstanceLimitExceeded" | "MaxEniCountExceeded" | "InvalidVSwitchId.IpNotEnough" => {
            StatusCode::FORBIDDEN
        }
        code if code.ends_with(".NotFound") => StatusCode::NOT_FOUND,
        code if code.starts_with("Forbidden") || code.starts_with("InvalidOperation.") => {
            StatusCode::FORBIDDEN
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A JSON answer.
pub(super) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json;charset=utf-8")];
    (status, content_type, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_vendors_status() {
        for (code, status) in [
            ("InvalidEniId.NotFound", 404),
            ("InvalidAccessKeyId.NotFound", 404),
            ("Forbidden.RAM", 403),
            ("InvalidOperation.InvalidEniState", 403),
            ("Throttling.User", 400),
            ("ServiceUnavailable", 503),
            ("Operation.Conflict", 409),
        ] {
            assert_eq!(status_of(code).as_u16(), status, "{code}");
        }
    }
}
