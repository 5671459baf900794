//! The vendor's RPC gateway: one URL, the action in a header or parameter, signed; answers and errors in the
//! vendor's shape.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::Value;

use super::parameters::{self, Parameters};
use super::signature::{self, Incoming};
use super::{actions, eflo};
use crate::api::door::{self, Answer, Dialect};
use crate::api::error::json_response;
use crate::api::line::Caller;
use crate::api::{speaker, temper};
use crate::calls::Knock;
use crate::live::Live;

/// The vendor's words (public error codes of the RPC gateway).
const DIALECT: Dialect =
    Dialect { throttled: "Throttling.User", denied: "Forbidden.RAM", made: "/NetworkInterfaceId" };

/// What EFLO says instead: an answer to a creation names the ENI deeper inside.
const EFLO_DIALECT: Dialect = Dialect { made: "/Content/ElasticNetworkInterfaceId", ..DIALECT };

/// Answers one call.
pub(super) async fn answer(
    State(live): State<Arc<Live>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = uri.query().unwrap_or_default();
    let call = Call::read(query, &headers, &body);
    let request = Incoming {
        method: method.as_str(),
        path: uri.path(),
        query,
        headers: &headers,
        body: &body,
        pairs: &call.pairs,
    };
    let knock = live.with(|world, _| call.knock(&headers, speaker::name(world, caller.ip())));
    let is_eflo = call.version == actions::EFLO;
    let passed = door::pass(
        &live,
        &caller,
        if is_eflo { EFLO_DIALECT } else { DIALECT },
        knock,
        |records, now| {
            let credentials = &records.world.config().credentials;
            signature::verify(request, credentials, &mut records.nonces, now)
        },
        |world, errand| actions::carry_out(world, &call, errand),
    );
    let Some(Answer { request_id, outcome, garble }) = passed.await else { return Response::default() };
    let mut response = match outcome {
        Ok(mut answer) => {
            answer["RequestId"] = Value::String(request_id);
            json_response(StatusCode::OK, &answer)
        }
        Err(error) if is_eflo && eflo::is_number(&error.code) => {
            json_response(StatusCode::OK, &eflo::refused(&error, &request_id))
        }
        Err(error) => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            error.into_response(&request_id, host)
        }
    };
    door::stamp(&mut response, live.now());
    temper::garble(response, garble).await
}

/// A call as the caller put it.
pub(super) struct Call {
    pub(super) action: String,
    pub(super) version: String,
    pub(super) parameters: Parameters,
    /// The parameters as they came, empty ones too.
    pub(super) pairs: Vec<(String, String)>,
}

impl Call {
    fn read(query: &str, headers: &HeaderMap, body: &Bytes) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_form =
            text("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form = is_form.then(|| String::from_utf8_lossy(body));
        let pairs = parameters::all(query, form.as_deref());
        let parameters = Parameters::of(&pairs);
        let common = |header: &str, parameter: &str| {
            text(header).or_else(|| parameters.get(parameter)).unwrap_or_default().to_owned()
        };
        let (action, version) = (common("x-acs-action", "Action"), common("x-acs-version", "Version"));
        Self { action, version, parameters, pairs }
    }

    /// What the call says of itself.
    fn knock(&self, headers: &HeaderMap, source: String) -> Knock {
        let named = [
            "NetworkInterfaceId",
            "ElasticNetworkInterfaceId",
            "InstanceId",
            "NodeId",
            "TrunkNetworkInstanceId",
            "VSwitchId",
        ];
        let one = named.iter().filter_map(|name| self.parameters.get(name).map(str::to_owned));
        let many = self.parameters.list("NetworkInterfaceId");
        Knock {
            action: self.action.clone(),
            source,
            key: signature::key_id(headers, &self.pairs),
            client_token: self.parameters.get("ClientToken").map(str::to_owned),
            objects: one.chain(many).collect(),
        }
    }
}
