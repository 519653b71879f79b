//! What scripts see: exit codes, and one JSON object a line on stdout. People's words go to stderr.

use std::{
    fmt,
    io::{ErrorKind, Write, stdout},
    process::{ExitCode, exit},
};

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

/// Prints one line on stdout. Where nobody reads any more (`r3mes-wgpu … | head -1`), the program ends quietly; what
/// was acknowledged is on disk by then.
pub(crate) fn line(text: impl fmt::Display) {
    piece(&format!("{text}\n"));
}

/// As [`line`], without its end, and seen at once.
pub(crate) fn piece(text: &str) {
    let mut out = stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(Exit::Ok as i32),
        Err(error) => {
            eprintln!("r3mes-wgpu: writing to stdout: {error}");
            exit(Exit::Failure as i32)
        }
    }
}

/// [`line`] of a format.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
