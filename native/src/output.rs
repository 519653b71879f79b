//! The interface for scripts: exit codes, and results on stdout. With `--json`, each result is one JSON object on one
//! line. Messages for people go to stderr.

use std::{
    fmt,
    io::{ErrorKind, Write, stderr, stdout},
    process::{ExitCode, exit},
};

/// The exit codes of the program.
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

/// Describes the exit code in one phrase. A function can add an `Exit` as context to an `anyhow` error that it returns.
/// The program then prints this phrase as a part of the error, and exits with this code.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "success",
            Self::Failure => "failed",
            Self::NoGpu => "no usable GPU",
            Self::Mismatch => "result not reproduced",
            Self::Refused => "refused by the node",
            Self::Interrupted => "interrupted",
        })
    }
}

impl std::error::Error for Exit {}

/// Prints one line on stdout. If the reader has closed the pipe (as in `r3mes-wgpu … | head -1`), the process exits
/// with code 0. The exit loses no data, because everything that the program has acknowledged is already on disk.
pub(crate) fn line(text: impl fmt::Display) {
    piece(&format!("{text}\n"));
}

/// Prints `text` on stdout without a newline, and flushes stdout. If the reader has closed the pipe, the process exits
/// with code 0.
pub(crate) fn piece(text: &str) {
    let mut out = stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(Exit::Ok as i32),
        Err(error) => {
            note!("r3mes-wgpu: writing to stdout: {error}");
            exit(Exit::Failure as i32)
        }
    }
}

/// Formats its arguments and prints them as one line on stdout.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints one line for people on stderr. Does nothing if stderr cannot be written, for example because its reader has
/// ended or the disk is full.
pub(crate) fn note_line(text: impl fmt::Display) {
    let _ = writeln!(stderr(), "{text}");
}

/// Formats its arguments and prints them as one line on stderr.
macro_rules! note {
    ($($text:tt)*) => { $crate::output::note_line(format_args!($($text)*)) };
}
pub(crate) use note;

/// Returns bytes as a string of lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
