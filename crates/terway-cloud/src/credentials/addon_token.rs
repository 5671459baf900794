//! The encrypted token file that managed clusters mount for their add-ons: each part of a temporary key is the
//! base64 of an initialisation vector and the AES-CBC cipher text, and the AES key lies beside them.

use std::path::PathBuf;

use aes::cipher::{Array, BlockCipherDecrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::AccessKey;
use super::chain::{Fetched, Link, LinkError};
use super::files::{REREAD, read};

/// Where managed clusters mount it.
pub const ADDON_TOKEN_FILE: &str = "/var/addon/token-config";

const BLOCK: usize = 16;

/// The token file at some path.
#[derive(Clone, Debug)]
pub struct AddonToken {
    /// Its path; usually [`ADDON_TOKEN_FILE`].
    pub path: PathBuf,
}

#[derive(Deserialize)]
struct TokenFile {
    #[serde(rename = "access.key.id", default)]
    id: String,
    #[serde(rename = "access.key.secret", default)]
    secret: String,
    #[serde(rename = "security.token", default)]
    token: String,
    #[serde(default)]
    expiration: String,
    #[serde(default)]
    keyring: String,
    error: Option<Refusal>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Refusal {
    role_name: String,
    code: String,
    message: String,
}

#[async_trait]
impl Link for AddonToken {
    fn name(&self) -> String {
        format!("the add-on token file {}", self.path.display())
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let Some(text) = read(&self.path)? else {
            return Err(LinkError::Absent("no such file".to_owned()));
        };
        decode(text.expose_secret())
    }
}

fn decode(text: &str) -> Result<Fetched, LinkError> {
    // The parser's message would quote the text.
    let file: TokenFile = serde_json::from_str(text).map_err(|error| {
        LinkError::Broken(format!("no JSON at line {} column {}", error.line(), error.column()))
    })?;
    if let Some(Refusal { role_name, code, message }) = file.error.filter(|error| !error.code.is_empty()) {
        return Err(LinkError::Failed(format!("no token for role {role_name}: {code}: {message}")));
    }
    let part = |name: &str, text: &str| {
        decrypt(file.keyring.as_bytes(), text)
            .map(SecretString::from)
            .ok_or_else(|| LinkError::Broken(format!("{name} cannot be decrypted with the keyring")))
    };
    let id = part("access.key.id", &file.id)?;
    let secret = part("access.key.secret", &file.secret)?;
    let token = part("security.token", &file.token)?;
    let key = AccessKey::new(id.expose_secret(), secret, Some(token))
        .map_err(|error| LinkError::Broken(error.to_string()))?;
    let expires: Timestamp = file
        .expiration
        .parse()
        .map_err(|_| LinkError::Broken(format!("expiration {:?} is no time", file.expiration)))?;
    Ok(Fetched { key, expires: Some(expires), recheck: Some(REREAD) })
}

/// The plain text, unless key, vector, length, padding or characters are wrong.
fn decrypt(key: &[u8], text: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let (vector, cipher_text) = bytes.split_at_checked(BLOCK)?;
    if cipher_text.is_empty() || cipher_text.len() % BLOCK != 0 {
        return None;
    }
    let plain = match key.len() {
        16 => cbc(&Aes128::new_from_slice(key).ok()?, vector, cipher_text)?,
        24 => cbc(&Aes192::new_from_slice(key).ok()?, vector, cipher_text)?,
        32 => cbc(&Aes256::new_from_slice(key).ok()?, vector, cipher_text)?,
        _ => return None,
    };
    String::from_utf8(unpad(&plain)?.to_vec()).ok()
}

/// Cipher block chaining: each block is decrypted and combined with the cipher text before it.
fn cbc<C>(cipher: &C, vector: &[u8], cipher_text: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherDecrypt,
{
    let mut plain = Vec::with_capacity(cipher_text.len());
    let mut before = vector;
    for block in cipher_text.chunks_exact(BLOCK) {
        let mut bytes = Array::try_from(block).ok()?;
        cipher.decrypt_block(&mut bytes);
        plain.extend(bytes.iter().zip(before).map(|(byte, mask)| byte ^ mask));
        before = block;
    }
    Some(plain)
}

/// Takes off the padding of PKCS #7: n bytes of value n.
fn unpad(plain: &[u8]) -> Option<&[u8]> {
    let count = usize::from(*plain.last()?);
    let (text, padding) = plain.split_at_checked(plain.len().checked_sub(count)?)?;
    ((1..=BLOCK).contains(&count) && padding.iter().all(|byte| usize::from(*byte) == count)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl enc -aes-128-cbc`; the vector is 00 01 .. 0f.
    const KEYRING: &str = "0123456789abcdef";
    const ID: &str = "AAECAwQFBgcICQoLDA0OD8ObxHRV3z3oXfsKZQAXJWo=";
    const SECRET: &str =
        "AAECAwQFBgcICQoLDA0OD6N28bjyjAZ11fwqsmsEOpfENtkCHbd34B9e27qIstlTQPpspAYy/P1M90r9uG9x6g==";
    const TOKEN: &str = "AAECAwQFBgcICQoLDA0OD1Ed2SNMtCnexZrctS/Dm4dgrA/4YADEYFpti2XX2OeV";

    fn file(id: &str, expiration: &str) -> String {
        format!(
            r#"{{"access.key.id":"{id}","access.key.secret":"{SECRET}","security.token":"{TOKEN}",
            "expiration":"{expiration}","keyring":"{KEYRING}"}}"#
        )
    }

    #[test]
    fn a_token_file_is_decrypted() {
        let fetched = decode(&file(ID, "2026-11-21T09:00:00Z")).unwrap();
        assert_eq!(fetched.key.id(), "STS.NUtest");
        assert_eq!(fetched.key.secret(), "a-secret-of-several-blocks-length");
        assert_eq!(fetched.key.token(), Some("CAISexactly16byt"));
        assert_eq!(fetched.expires, "2026-11-21T09:00:00Z".parse().ok());
        assert_eq!(fetched.recheck, Some(REREAD));
    }

    #[test]
    fn longer_keys_serve_as_well() {
        assert_eq!(
            decrypt(b"0123456789abcdef01234567", "AAECAwQFBgcICQoLDA0ODwYn3Fv8Sh7/PzpLizokkis=").as_deref(),
            Some("hello")
        );
        assert_eq!(
            decrypt(b"0123456789abcdef0123456789abcdef", "AAECAwQFBgcICQoLDA0ODzGDUpebmFelfbTh+UUl7Qw=")
                .as_deref(),
            Some("hello")
        );
    }

    #[test]
    fn what_is_wrong_is_named_without_quoting_it() {
        let error = |text: &str| decode(text).unwrap_err().to_string();
        assert_eq!(error("{nonsense"), "no JSON at line 1 column 2");
        let twisted = file(&ID.replace(&ID[4..8], "AAAA"), "2026-11-21T09:00:00Z");
        assert_ne!(
            decode(&twisted).map(|fetched| fetched.key.id().to_owned()).ok().as_deref(),
            Some("STS.NUtest")
        );
        assert_eq!(error(&file("AAAA", "x")), "access.key.id cannot be decrypted with the keyring");
        assert_eq!(error(&file(ID, "soon")), "expiration \"soon\" is no time");
        let refused = r#"{"error":{"roleName":"R","code":"EntityNotExist.Role","message":"no role"}}"#;
        assert_eq!(error(refused), "no token for role R: EntityNotExist.Role: no role");
    }

    #[tokio::test]
    async fn no_file_is_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        let link = AddonToken { path: directory.path().join("token-config") };
        assert!(matches!(link.fetch().await.unwrap_err(), LinkError::Absent(_)));
        std::fs::write(&link.path, file(ID, "2026-11-21T09:00:00Z")).unwrap();
        assert_eq!(link.fetch().await.unwrap().key.id(), "STS.NUtest");
    }
}
