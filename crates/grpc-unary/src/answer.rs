//! The answer to one call, as its frames arrive: headers, messages, trailers with the status.

use crate::hpack::Field;
use crate::status::{OK, Status, UNAVAILABLE, UNKNOWN, base64_decoded, percent_decoded};
use crate::{CallError, Take};

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The longest message; what other clients take unless told otherwise.
const LONGEST: usize = 4 << 20;

/// What has arrived so far.
#[derive(Debug)]
pub(crate) struct Answer {
    take: Take,
    body: Vec<u8>,
    /// HTTP's status, once the headers are there.
    http: Option<Vec<u8>>,
    /// gRPC's, once the trailers are there.
    status: Option<Status>,
}

impl Answer {
    pub(crate) fn new(take: Take) -> Self {
        Self { take, body: Vec::new(), http: None, status: None }
    }

    /// Takes headers or trailers: the status may be in either.
    pub(crate) fn headers(&mut self, fields: &[Field]) {
        let value = |wanted: &[u8]| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        if let Some(status) = value(b":status") {
            self.http = Some(status.clone());
        }
        if let Some(code) = value(b"grpc-status") {
            self.status = Some(Status {
                code: std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN),
                message: value(b"grpc-message").map(|text| percent_decoded(text)).unwrap_or_default(),
                details: value(b"grpc-status-details-bin")
                    .and_then(|text| base64_decoded(text))
                    .unwrap_or_default(),
            });
        }
    }

    /// Takes a part of the body.
    pub(crate) fn data(&mut self, part: &[u8]) -> Result<(), CallError> {
        self.body.extend(part);
        match self.length() {
            Some(_) if self.body.first() != Some(&0) => {
                Err(CallError::Protocol("a compressed message, which nobody asked for"))
            }
            Some(length) if length > LONGEST => Err(CallError::Protocol("a message of more than 4 MiB")),
            _ => Ok(()),
        }
    }

    /// The answer if it is complete without the end of the stream: the first of many messages.
    pub(crate) fn early(&mut self) -> Option<Vec<u8>> {
        let complete = self.take == Take::First && self.body.len() >= PREFIX + self.length()?;
        if complete { self.message() } else { None }
    }

    /// The answer at the end of the stream.
    pub(crate) fn end(mut self) -> Result<Vec<u8>, CallError> {
        match self.status.take() {
            Some(status) if status.code == OK => {
                self.message().ok_or(CallError::Protocol("an answer that is not one message"))
            }
            Some(status) => Err(CallError::Refused(status)),
            None => Err(CallError::Refused(self.without_status())),
        }
    }

    /// Not a gRPC server, or something in front of it.
    fn without_status(&self) -> Status {
        let http = self.http.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let code = if matches!(&*http, "429" | "502" | "503" | "504") { UNAVAILABLE } else { UNKNOWN };
        Status {
            code,
            message: format!("an answer without gRPC status, HTTP status {http}"),
            details: Vec::new(),
        }
    }

    fn length(&self) -> Option<usize> {
        let (_, length) = self.body.first_chunk::<PREFIX>()?.split_first()?;
        length.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize)
    }

    fn message(&mut self) -> Option<Vec<u8>> {
        let length = self.length()?;
        let whole = self.take == Take::First || self.body.len() == PREFIX + length;
        let mut message = std::mem::take(&mut self.body);
        message.drain(..PREFIX);
        message.truncate(length);
        (whole && message.len() == length).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&str, &str)]) -> Vec<Field> {
        all.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn refusal(answer: Answer) -> Status {
        match answer.end() {
            Err(CallError::Refused(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_in_parts_and_its_trailers() {
        let mut answer = Answer::new(Take::Only);
        answer.headers(&fields(&[(":status", "200")]));
        for part in [&[0, 0, 0][..], &[0, 3, b'a'], b"bc"] {
            answer.data(part).unwrap();
            assert_eq!(answer.early(), None, "the status is not there yet");
        }
        answer.headers(&fields(&[("grpc-status", "0")]));
        assert_eq!(answer.end().unwrap(), b"abc");
    }

    #[test]
    fn the_first_of_many_messages_needs_no_trailers() {
        let mut answer = Answer::new(Take::First);
        answer.data(&[0, 0, 0, 0, 1]).unwrap();
        assert_eq!(answer.early(), None);
        answer.data(&[b'a', 0, 0]).unwrap();
        assert_eq!(answer.early().unwrap(), b"a");
    }

    #[test]
    fn a_refusal_says_all_it_was_told() {
        let mut answer = Answer::new(Take::Only);
        answer.headers(&fields(&[
            (":status", "200"),
            ("grpc-status", "8"),
            ("grpc-message", "7 of%207"),
            ("grpc-status-details-bin", "AQI"),
        ]));
        assert_eq!(refusal(answer), Status { code: 8, message: "7 of 7".into(), details: vec![1, 2] });
    }

    #[test]
    fn an_answer_of_something_else_names_its_http_status() {
        for (http, code) in [("503", UNAVAILABLE), ("404", UNKNOWN)] {
            let mut answer = Answer::new(Take::Only);
            answer.headers(&fields(&[(":status", http)]));
            let status = refusal(answer);
            assert_eq!(status.code, code);
            assert!(status.message.contains(http), "{status:?}");
        }
    }

    #[test]
    fn what_is_no_single_plain_message_is_refused() {
        let ok = fields(&[("grpc-status", "0")]);
        for body in [&b""[..], &[0, 0, 0, 0, 2, 1], &[0, 0, 0, 0, 0, 9]] {
            let mut answer = Answer::new(Take::Only);
            answer.data(body).unwrap();
            answer.headers(&ok);
            assert!(matches!(answer.end(), Err(CallError::Protocol(_))), "{body:?}");
        }
        let mut answer = Answer::new(Take::Only);
        assert!(matches!(answer.data(&[1, 0, 0, 0, 0]), Err(CallError::Protocol(_))), "compressed");
        let mut answer = Answer::new(Take::Only);
        assert!(matches!(answer.data(&[0, 0xff, 0, 0, 0]), Err(CallError::Protocol(_))), "16 MiB and more");
    }
}
