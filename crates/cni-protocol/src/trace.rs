//! The W3C trace context a runtime may hand over (libcni does since 1.3), so that a plugin's work shows
//! up in the runtime's trace. It is advice: whatever is malformed is left out, never refused.

use crate::environment::{Environment, text_of};

/// Where the runtime's trace goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `TRACEPARENT`, if it is well-formed.
    pub traceparent: Option<String>,
    /// `TRACESTATE`.
    pub tracestate: Option<String>,
    /// `BAGGAGE`.
    pub baggage: Option<String>,
}

impl TraceContext {
    pub(crate) fn read(env: &impl Environment) -> Self {
        let traceparent = text_of(env, "TRACEPARENT").filter(|text| is_traceparent(text));
        // Without a parent the others have nothing to refer to.
        let follow = |name| traceparent.as_ref().and(text_of(env, name)).filter(|text| is_header_value(text));
        Self { tracestate: follow("TRACESTATE"), baggage: follow("BAGGAGE"), traceparent }
    }
}

/// `version-trace_id-parent_id-flags` in lower-case hex, ids not zero (W3C Trace Context, 3.2.2).
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex =
        |part: &str, len| part.len() == len && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str, len| is_hex(part, len) && part.bytes().any(|c| c != b'0');
    match parts.as_slice() {
        [version, trace, parent, flags] => {
            is_hex(version, 2)
                && *version != "ff"
                && is_id(trace, 32)
                && is_id(parent, 16)
                && is_hex(flags, 2)
        }
        _ => false,
    }
}

fn is_header_value(text: &str) -> bool {
    text.bytes().all(|c| (b' '..=b'~').contains(&c))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(vars: &[(&str, &str)]) -> TraceContext {
        TraceContext::read(&|name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn a_trace_is_taken_over() {
        let trace = read(&[("TRACEPARENT", PARENT), ("TRACESTATE", "a=b"), ("BAGGAGE", "k=v")]);
        assert_eq!(trace.traceparent.as_deref(), Some(PARENT));
        assert_eq!(trace.tracestate.as_deref(), Some("a=b"));
        assert_eq!(trace.baggage.as_deref(), Some("k=v"));
    }

    #[test]
    fn a_malformed_trace_is_left_out() {
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for text in ["", "dummy", "00-4bf9-00f0-01", zero, &PARENT.to_uppercase(), &PARENT[1..]] {
            let trace = read(&[("TRACEPARENT", text), ("TRACESTATE", "a=b")]);
            assert_eq!(trace, TraceContext::default(), "{text}");
        }
        assert_eq!(read(&[("TRACEPARENT", PARENT), ("BAGGAGE", "a\nb")]).baggage, None);
    }
}
