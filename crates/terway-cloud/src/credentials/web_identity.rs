//! A temporary key in exchange for the token of the pod's service account: an action of the cloud's STS, which needs no
//! signature. What the clouds have in common; the rest is a [`Claim`].

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;

use super::chain::{Fetched, Link, LinkError};
use super::files::{Environment, token, variable};
use crate::answer::No;
use crate::endpoint::Endpoint;
use crate::exchange::Stamps;
use crate::transport::{ask, excerpt};

const ANSWER_LIMIT: usize = 1 << 20;
/// The longest vendor message that is passed on.
const MESSAGE_LIMIT: usize = 300;

/// Whose role is wanted, as a cloud's clusters tell their pods by the environment.
pub(crate) trait Claim: Sized + Send {
    /// What people call the place.
    const PLACE: &'static str;
    /// The action of STS.
    const ACTION: &'static str;

    /// Reads the variables that tell.
    fn read(variable: &dyn Fn(&str) -> Result<String, LinkError>) -> Result<Self, LinkError>;
    /// The role.
    fn role(&self) -> &str;
    /// Where the pod's token is.
    fn token_file(&self) -> &Path;
    /// The action with this token.
    fn request(&self, token: &str, http: &Client, sts: &Endpoint, stamps: Stamps) -> RequestBuilder;
    /// What an answer says.
    fn answer(status: StatusCode, body: &[u8]) -> Said;
}

/// What STS says.
pub(crate) enum Said {
    /// A key, or what is to be one.
    Key(Result<Fetched, LinkError>),
    /// No.
    No(No),
    /// Nothing in the API's words.
    Nothing,
}

/// The web identity that the environment names.
pub(crate) struct WebIdentity<C> {
    environment: Environment,
    endpoint: Endpoint,
    http: Client,
    stamps: Stamps,
    claim: PhantomData<fn() -> C>,
}

impl<C> WebIdentity<C> {
    pub(crate) fn new(environment: Environment, endpoint: Endpoint, http: Client) -> Self {
        Self { environment, endpoint, http, stamps: Stamps::default(), claim: PhantomData }
    }
}

impl<C> fmt::Debug for WebIdentity<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: Claim> Link for WebIdentity<C> {
    fn name(&self) -> String {
        C::PLACE.to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let claim = C::read(&|name| variable(&self.environment, name))?;
        let token = token(claim.token_file())?;
        let request = claim.request(token.expose_secret(), &self.http, &self.endpoint, self.stamps);
        let place = |what: String| LinkError::Failed(format!("{}: {what}", self.endpoint));
        let (status, body) = ask(request, ANSWER_LIMIT).await.map_err(place)?;
        match C::answer(status, &body) {
            Said::Key(key) => key,
            Said::No(No { code, message, request_id }) => {
                let request = request_id.map(|id| format!(" [request {id}]")).unwrap_or_default();
                let message = message.replace(token.expose_secret(), "[redacted]");
                let message = excerpt(message.as_bytes(), MESSAGE_LIMIT);
                let (action, role) = (C::ACTION, claim.role());
                Err(place(format!("{action} of {role} refused: {code}: {message}{request}")))
            }
            Said::Nothing => Err(place(format!("HTTP status {status} without an answer of the API"))),
        }
    }
}
