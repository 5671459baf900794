//! The parameters of a call, from query and form alike, with the vendor's flattened lists
//! (`Name.1`, `Tag.1.Key`).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::api::error::ApiError;

/// The most tags a call may carry.
const MAX_TAGS: usize = 20;

/// Parameters by name. Empty values count as absent, as the vendor's gateway treats them.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Those that are not empty.
    pub(super) fn of(pairs: &[(String, String)]) -> Self {
        Self(pairs.iter().filter(|(_, value)| !value.is_empty()).cloned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A number, or whatever else has one text.
    pub(super) fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, ApiError> {
        self.get(name).map(|text| text.parse().map_err(|_| ApiError::invalid(name, text))).transpose()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.number(name)
    }

    /// A number from 1 to `most`; 0 where it is not given.
    pub(super) fn count(&self, name: &str, most: u32) -> Result<u32, ApiError> {
        match self.number::<u32>(name)? {
            Some(count) if count == 0 || count > most => Err(ApiError::invalid(name, &count.to_string())),
            count => Ok(count.unwrap_or_default()),
        }
    }

    /// The idempotency token, at most 64 ASCII characters.
    pub(super) fn client_token(&self) -> Result<Option<String>, ApiError> {
        match self.get("ClientToken") {
            Some(token) if token.len() > 64 || !token.is_ascii() => {
                Err(ApiError::invalid("ClientToken", token))
            }
            token => Ok(token.map(str::to_owned)),
        }
    }

    /// `Name.1`, `Name.2`, ... in the order of their numbers.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.indices(name)
            .into_iter()
            .filter_map(|n| self.get(&format!("{name}.{n}")))
            .map(str::to_owned)
            .collect()
    }

    /// `Tag.N.Key` with `Tag.N.Value`, if there is one.
    pub(super) fn tags(&self) -> Result<BTreeMap<String, Option<String>>, ApiError> {
        let mut tags = BTreeMap::new();
        for n in self.indices("Tag") {
            let key = self.required(&format!("Tag.{n}.Key"))?;
            let value = self.get(&format!("Tag.{n}.Value")).map(str::to_owned);
            if key.starts_with("aliyun") || key.starts_with("acs:") || key.chars().count() > 128 {
                return Err(ApiError::new(
                    "InvalidTagKey.Malformed",
                    format!("the tag key {key:?} is not valid"),
                ));
            }
            if tags.insert(key.to_owned(), value).is_some() {
                return Err(ApiError::new("Duplicate.TagKey", format!("the tag key {key:?} is given twice")));
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(ApiError::new(
                "NumberExceed.Tags",
                format!("{} tags, {MAX_TAGS} allowed", tags.len()),
            ));
        }
        Ok(tags)
    }

    /// The numbers N of all `name.N` and `name.N.…`.
    fn indices(&self, name: &str) -> BTreeSet<u32> {
        let number = |key: &String| {
            let rest = key.strip_prefix(name)?.strip_prefix('.')?;
            rest.split('.').next()?.parse().ok()
        };
        self.0.keys().filter_map(number).collect()
    }
}

/// The pairs of a query and, if there is one, of a form body.
pub(super) fn all(query: &str, form: Option<&str>) -> Vec<(String, String)> {
    pairs(query).into_iter().chain(form.map(pairs).unwrap_or_default()).collect()
}

/// The decoded pairs of a query or form, `+` read as a space.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_by_number_not_by_spelling() {
        let pairs: Vec<String> = (1..=11).map(|n| format!("Id.{n}=v{n}")).collect();
        let parameters = Parameters::of(&all(&pairs.join("&"), Some("Id.12=v%2012&Other=1")));
        assert_eq!(parameters.list("Id").len(), 12);
        assert_eq!(parameters.list("Id")[1], "v2");
        assert_eq!(parameters.list("Id")[11], "v 12");
    }

    #[test]
    fn tags_need_keys_and_may_lack_values() {
        let parameters = Parameters::of(&all("Tag.1.Key=a&Tag.1.Value=1&Tag.2.Key=b", None));
        let tags = parameters.tags().unwrap();
        assert_eq!(tags["a"].as_deref(), Some("1"));
        assert_eq!(tags["b"], None);
        let code = |query| Parameters::of(&all(query, None)).tags().unwrap_err().code;
        assert_eq!(code("Tag.1.Value=1"), "MissingParameter");
        assert_eq!(code("Tag.1.Key=a&Tag.2.Key=a"), "Duplicate.TagKey");
    }
}
