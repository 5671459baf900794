//! The key of the operator's file, as far as it can be judged before it is used. Where keys come from besides (a
//! mounted secret, the environment, the node's role) is the cloud client's affair.

use secrecy::{ExposeSecret as _, SecretString};
use terway_cloud::{CredentialError, StaticKey};

use crate::json_keys::Problem;

/// Refuses a key that cannot be one, naming the spoilt half.
pub fn check(id: &SecretString, secret: &SecretString) -> Result<(), Problem> {
    let spoilt = StaticKey::new(id.expose_secret(), secret.clone(), None).map(drop);
    spoilt.map_err(|error| {
        let (CredentialError::Empty(part)
        | CredentialError::WhiteSpaceAround(part)
        | CredentialError::Characters(part)) = error;
        Problem::new(if part.ends_with("secret") { "access_secret" } else { "access_key" }, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spoilt_half_is_named() {
        for (id, secret, path) in
            [(" a", "s", Some("access_key")), ("a", "s\n", Some("access_secret")), ("a", "s", None)]
        {
            let problem = check(&id.into(), &secret.into()).err();
            assert_eq!(problem.as_ref().map(|problem| problem.path.as_str()), path);
        }
    }
}
