//! What scripts see: exit codes, and one JSON object a line on stdout. People's words go to stderr.

use std::{fmt, process::ExitCode};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Failure = 1,
    NoGpu = 3,
    Mismatch = 4,
    Refused = 5,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// As the context of an error, an exit decides the code that the error ends with.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Failure => "failed",
            Self::NoGpu => "no usable GPU",
            Self::Mismatch => "not reproducible",
            Self::Refused => "refused by the node",
            Self::Interrupted => "interrupted",
        })
    }
}

impl std::error::Error for Exit {}

/// Prints one object on one line of stdout.
pub(crate) fn line(value: &serde_json::Value) {
    println!("{value}");
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
