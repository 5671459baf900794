//! Standard output in the chosen format. A reader that has gone away (`| head`) is no failure.

use std::io::{self, Write as _};

use serde::Serialize;
use terway_types::{Fault, FaultCode};

use crate::arguments::Format;

/// Where answers go.
pub(crate) struct Screen {
    format: Format,
    out: io::Stdout,
}

impl Screen {
    /// Standard output in this format.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, out: io::stdout() }
    }

    /// Prints a view: as JSON, or as the text that `text` makes of it.
    pub(crate) fn show<V: Serialize>(
        &mut self,
        view: &V,
        text: impl FnOnce(&V) -> String,
    ) -> Result<(), Fault> {
        let printed = match self.format {
            Format::Table => text(view),
            Format::Json => json(view)?,
        };
        self.line(&printed)
    }

    /// Prints a text and ends its last line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Fault> {
        self.verbatim(&format!("{text}\n"))
    }

    /// Prints a text as it is, at once.
    pub(crate) fn verbatim(&mut self, text: &str) -> Result<(), Fault> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Fault::new(FaultCode::Internal, "failed to print").caused_by(&error)),
            Ok(()) => Ok(()),
        }
    }
}

fn json(view: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string_pretty(view)
        .map_err(|error| Fault::new(FaultCode::Internal, "failed to print JSON").caused_by(&error))
}
