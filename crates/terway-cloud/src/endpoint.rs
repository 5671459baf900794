//! Where a server of a cloud is: scheme and host, as people write them.

use std::fmt;

use reqwest::Url;

use crate::transport::ClientError;

/// A text that names no usable server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {endpoint:?} {rule}")]
pub struct EndpointError {
    /// As given.
    pub endpoint: String,
    /// The rule it breaks, as the end of a sentence.
    pub rule: &'static str,
}

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The region's name is none.
    #[error("region {0:?} is not a name like cn-hangzhou or ap-guangzhou")]
    Region(String),
    /// An endpoint is not usable.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No HTTP client can be made, for want of CA certificates for example.
    #[error("failed to set up the HTTP client")]
    Client(#[source] ClientError),
}

/// Which of the cloud's endpoints to use where none is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointNetwork {
    /// Those reached from inside a VPC; nodes need no way out to the Internet.
    #[default]
    Internal,
    /// Those on the Internet.
    Public,
}

/// One server of the cloud, without path or query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(Url);

impl Endpoint {
    /// An endpoint as people write it. Without a scheme it is HTTPS.
    pub(crate) fn parse(text: &str) -> Result<Self, EndpointError> {
        let wrong = |rule| EndpointError { endpoint: text.to_owned(), rule };
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&full).map_err(|_| wrong("is not a host, host:port or URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("must start with https:// or http://, or have no scheme"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not carry a user name or password"));
        }
        // The signature is over the path "/".
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must be a host only, without path, query or fragment"));
        }
        Ok(Self(url))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The `Host` header: the port only where it is not the scheme's own.
    pub(crate) fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The URL as it is.
    pub(crate) fn url(&self) -> Url {
        self.0.clone()
    }

    /// The URL with this query, which must be percent-encoded already.
    pub(crate) fn with_query(&self, query: &str) -> Url {
        let mut url = self.0.clone();
        url.set_query(Some(query));
        url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.host())
    }
}

/// Whether a text may be the name of a region, which becomes part of a host's name.
pub(crate) fn is_region(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_only_when_said() {
        let shown = |text| Endpoint::parse(text).unwrap().to_string();
        assert_eq!(shown("10.0.0.1:8080"), "https://10.0.0.1:8080");
        assert_eq!(shown("ecs.example"), "https://ecs.example");
        assert_eq!(shown("http://100.100.100.201:80"), "http://100.100.100.201");
        assert_eq!(shown("http://[fd00::1]:81/"), "http://[fd00::1]:81");
        assert_eq!(shown("https://x:443"), "https://x");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let texts = ["", "ftp://x", "http://user@x", "http://x/path", "http://x/?a=b", "http://x/#f", "a b"];
        for text in texts {
            assert!(Endpoint::parse(text).is_err(), "{text:?}");
        }
        let error = Endpoint::parse("http://x/path").unwrap_err().to_string();
        assert_eq!(error, "endpoint \"http://x/path\" must be a host only, without path, query or fragment");
    }
}
