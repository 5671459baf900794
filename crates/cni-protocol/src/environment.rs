//! The variables of an invocation: looked up through a trait, checked one by one, and all offenders
//! named in one error (SPEC, error code 4).

use std::ffi::OsString;

use crate::error::{CniError, code};

/// Looks variables up by name. Any `Fn(&str) -> Option<OsString>` does, e.g. one over `std::env::var_os`.
pub trait Environment {
    /// The value of a variable, if it is set.
    fn get(&self, name: &str) -> Option<OsString>;
}

impl<F: Fn(&str) -> Option<OsString>> Environment for F {
    fn get(&self, name: &str) -> Option<OsString> {
        self(name)
    }
}

/// A variable as text; empty and undecodable values count as unset.
pub(crate) fn text_of(env: &impl Environment, name: &str) -> Option<String> {
    env.get(name)?.into_string().ok().filter(|text| !text.is_empty())
}

/// A rule for a value: `Err` says which part is broken, as the end of a sentence.
pub(crate) type Rule = fn(&str) -> Result<(), &'static str>;

/// Reads the variables one after the other and remembers every offender.
pub(crate) struct Variables<'a, E> {
    env: &'a E,
    offenders: Vec<String>,
}

impl<'a, E: Environment> Variables<'a, E> {
    pub(crate) fn new(env: &'a E) -> Self {
        Self { env, offenders: Vec::new() }
    }

    /// A variable that must be there and keep the rule. Empty text stands for a broken one.
    pub(crate) fn required(&mut self, name: &str, rule: Rule) -> String {
        let value = self.optional(name, rule);
        if value.is_none() && self.env.get(name).is_none_or(|value| value.is_empty()) {
            self.offenders.push(format!("{name} is not set"));
        }
        value.unwrap_or_default()
    }

    /// A variable that may be unset or empty, but else must keep the rule.
    pub(crate) fn optional(&mut self, name: &str, rule: Rule) -> Option<String> {
        let value = self.env.get(name).filter(|value| !value.is_empty())?;
        let Ok(text) = value.into_string() else {
            self.offenders.push(format!("{name} is not valid UTF-8"));
            return None;
        };
        match rule(&text) {
            Ok(()) => Some(text),
            Err(broken) => {
                self.offenders.push(format!("{name} {text:?} {broken}"));
                None
            }
        }
    }

    /// Notes an offender found by other means.
    pub(crate) fn offend(&mut self, text: String) {
        self.offenders.push(text);
    }

    /// Nothing, or one error that names every offender.
    pub(crate) fn finish(self) -> Result<(), CniError> {
        if self.offenders.is_empty() {
            return Ok(());
        }
        let msg = format!("environment variables are missing or invalid: {}", self.offenders.join("; "));
        Err(CniError::new(code::INVALID_ENVIRONMENT, msg))
    }
}

/// The alphabet of container ids and network names: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub(crate) fn name(text: &str) -> Result<(), &'static str> {
    let starts_well = text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if starts_well && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-')) {
        Ok(())
    } else {
        Err("must start with a letter or digit and go on with letters, digits, '_', '.' or '-'")
    }
}

/// libcni's and the kernel's rule for interface names.
pub(crate) fn interface_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 15 {
        Err("must have 1 to 15 bytes")
    } else if text == "." || text == ".." {
        Err("must not be '.' or '..'")
    } else if text.chars().any(|c| matches!(c, '/' | ':' | '\0') || c.is_whitespace()) {
        Err("must not contain '/', ':', NUL or white space")
    } else {
        Ok(())
    }
}

/// Text the kernel can be handed: no NUL.
pub(crate) fn text(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') { Err("must not contain NUL") } else { Ok(()) }
}
