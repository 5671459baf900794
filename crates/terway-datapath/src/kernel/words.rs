//! What a request does, put into words when somebody asks: hundreds are done for each that is spoken of.

use std::fmt;
use std::sync::Arc;

/// The end of "failed to ...".
#[derive(Clone)]
pub struct Words(Arc<dyn Fn() -> String + Send + Sync>);

impl Words {
    /// Words around an object that says itself what it is.
    pub(crate) fn about<T>(before: &'static str, object: &T) -> Self
    where
        T: fmt::Display + Clone + Send + Sync + 'static,
    {
        let object = object.clone();
        Self::from(move || format!("{before} {object}"))
    }
}

impl<F: Fn() -> String + Send + Sync + 'static> From<F> for Words {
    fn from(words: F) -> Self {
        Self(Arc::new(words))
    }
}

impl From<String> for Words {
    fn from(words: String) -> Self {
        Self::from(move || words.clone())
    }
}

impl From<&str> for Words {
    fn from(words: &str) -> Self {
        Self::from(words.to_owned())
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.0)())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
