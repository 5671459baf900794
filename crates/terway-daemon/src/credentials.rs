//! Which key signs the cloud calls: the cluster's secret if it is mounted, else the operator's file.

use std::fs;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use terway_cloud::{CredentialError, StaticKey};

use crate::json_keys::Problem;
use crate::settings::Settings;

/// Where clusters mount the secret with these two files.
pub const SECRET_DIRECTORY: &str = "/var/alibaba-addon-secret";
const ID_FILE: &str = "access-key-id";
const SECRET_FILE: &str = "access-key-secret";

/// Finds the key. Both files of the secret win over the configuration, as they always did.
pub fn find(settings: &Settings, secret_directory: &Path) -> Result<StaticKey, Problem> {
    let mounted = read(&secret_directory.join(ID_FILE))
        .and_then(|id| Ok(id.zip(read(&secret_directory.join(SECRET_FILE))?)));
    let place = secret_directory.display().to_string();
    let (path, key) = match mounted {
        Ok(Some(key)) => (place, Some(key)),
        Ok(None) => ("access_key".to_owned(), settings.access_key.clone()),
        Err(error) => return Err(Problem::new(place, format_args!("cannot be read: {error}"))),
    };
    let Some((id, secret)) = key else {
        let message = format!(
            "no credentials: give `access_key` and `access_secret`, or mount a secret at {path_hint}",
            path_hint = secret_directory.display()
        );
        return Err(Problem::new(path, message));
    };
    StaticKey::new(id.expose_secret(), secret, None).map_err(|error| {
        let (CredentialError::Empty(part)
        | CredentialError::WhiteSpaceAround(part)
        | CredentialError::Characters(part)) = error;
        let of_secret = path == "access_key" && part.ends_with("secret");
        Problem::new(if of_secret { "access_secret".to_owned() } else { path }, error)
    })
}

/// A file's text without the line end that editors leave; `None` if there is no such file.
fn read(path: &Path) -> io::Result<Option<SecretString>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(SecretString::from(text.trim()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse(text, terway_types::NodeMode::Exclusive).unwrap()
    }

    #[test]
    fn the_mounted_secret_wins() {
        let directory = tempfile::tempdir().unwrap();
        let from_file = settings(r#"{"access_key": "not usable\n", "access_secret": "s"}"#);
        assert!(find(&from_file, directory.path()).is_err());
        fs::write(directory.path().join(ID_FILE), "id\n").unwrap();
        assert!(find(&from_file, directory.path()).is_err(), "half a secret is none");
        fs::write(directory.path().join(SECRET_FILE), "secret\n").unwrap();
        assert!(find(&from_file, directory.path()).is_ok());
    }

    #[test]
    fn the_spoilt_half_is_named() {
        for (config, path) in [
            (r#"{"access_key": " a", "access_secret": "s"}"#, "access_key"),
            (r#"{"access_key": "a", "access_secret": " s"}"#, "access_secret"),
        ] {
            assert_eq!(find(&settings(config), Path::new("/nonexistent")).unwrap_err().path, path);
        }
    }

    #[test]
    fn no_key_at_all_is_said_plainly() {
        let problem = find(&settings("{}"), Path::new("/nonexistent")).unwrap_err().to_string();
        assert_eq!(
            problem,
            "access_key: no credentials: give `access_key` and `access_secret`, or mount a secret at /nonexistent"
        );
    }
}
