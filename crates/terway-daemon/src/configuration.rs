//! The operator's file: read, checked, and compared with what is in force. What cannot change while the daemon
//! runs is kept as it is and named.

use std::fs;
use std::io;
use std::path::PathBuf;

use terway_types::NodeMode;

use crate::config::ConfigError;
use crate::settings::Settings;

/// The file and the text that was read last.
#[derive(Clone)]
pub struct Configuration {
    /// Where it is.
    pub path: PathBuf,
    text: String,
}

impl std::fmt::Debug for Configuration {
    // The text holds credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configuration").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Configuration {
    /// Reads the file.
    pub fn read(path: PathBuf) -> io::Result<Self> {
        let text = fs::read_to_string(&path)?;
        Ok(Self { path, text })
    }

    /// Reads the file again; `None` if it says the same.
    pub fn changed(&self) -> io::Result<Option<Self>> {
        let now = Self::read(self.path.clone())?;
        Ok((now.text != self.text).then_some(now))
    }

    /// What it says, for a node of this mode.
    pub fn settings(&self, mode: NodeMode) -> Result<Settings, ConfigError> {
        Settings::parse(&self.text, mode)
    }
}

/// New settings with what cannot change taken from the old ones; the keys that differ in that.
pub fn keep_fixed(old: &Settings, mut new: Settings) -> (Settings, Vec<&'static str>) {
    let mut fixed = Vec::new();
    let key = |settings: &Settings| {
        use secrecy::ExposeSecret as _;
        let (id, secret) = settings.access_key.as_ref()?;
        Some((id.expose_secret().to_owned(), secret.expose_secret().to_owned()))
    };
    macro_rules! keep {
        ($($name:literal: $($field:ident).+;)*) => {
            $(if old.$($field).+ != new.$($field).+ {
                fixed.push($name);
                new.$($field).+ = old.$($field).+.clone();
            })*
        };
    }
    keep! {
        "ip_stack": ipv6;
        "service_cidr": service_cidrs;
        "eni_tags": eni_tags;
        "eni_tag_filter": eni_tag_filter;
        "rate_limit": rate_limit;
        "enable_erdma": erdma;
    }
    if old.sizes.prefixes.is_some() != new.sizes.prefixes.is_some() {
        fixed.push("enable_ip_prefix");
        new.sizes.prefixes = old.sizes.prefixes;
    }
    if key(old) != key(&new) {
        fixed.push("access_key");
        new.access_key.clone_from(&old.access_key);
    }
    (new, fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse(text, NodeMode::Shared).unwrap()
    }

    #[test]
    fn what_cannot_change_is_kept_and_named() {
        let old = settings(r#"{"access_key": "a", "access_secret": "b", "max_pool_size": 1}"#);
        let new = settings(
            r#"{"access_key": "a", "access_secret": "c", "max_pool_size": 2, "ip_stack": "dual", "enable_ip_prefix": true,
                "service_cidr": "172.21.0.0/20", "eni_tags": {"a": "b"}, "rate_limit": {"X": 1}, "enable_erdma": true}"#,
        );
        let (kept, fixed) = keep_fixed(&old, new);
        assert_eq!(
            fixed,
            [
                "ip_stack",
                "service_cidr",
                "eni_tags",
                "rate_limit",
                "enable_erdma",
                "enable_ip_prefix",
                "access_key"
            ]
        );
        assert!(!kept.ipv6 && !kept.erdma && kept.service_cidrs.is_empty() && kept.sizes.prefixes.is_none());
        assert_eq!(kept.sizes.max_idle, 2);
        assert_eq!(keep_fixed(&old, old.clone()).1, [""; 0]);
    }
}
