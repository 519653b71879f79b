//! The limits of the connections that the node accepts.

use std::time::Duration;

/// The number of open files that the process may need in addition to the connections of its clients: databases, the
/// files of web pages, and the connections on which the process itself sends requests.
const OTHER_FILES: usize = 128;
/// The largest number of open files that the process asks the system to allow.
const MAX_FILES: u64 = 1 << 13;

/// The limits of a server's connections.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct ConnectionLimits {
    /// The maximum number of open connections.
    pub(in crate::server) total: usize,
    /// The maximum number of open connections of each client, except for clients on this machine.
    pub(in crate::server) per_client: usize,
    /// The maximum time until the head of the next request is complete. It is measured from the end of the previous
    /// request, or from the start of the connection.
    pub(in crate::server) head: Duration,
    /// A connection is closed if no byte has been sent or received on it for this time.
    pub(in crate::server) silence: Duration,
    /// The server may close a connection to make room for a new one. If it is answering a request on a connection, it
    /// closes this connection only after it has written nothing on it for this time.
    pub(in crate::server) answer: Duration,
    /// The maximum size, in bytes, of a request's head, and of the buffers for reading and writing.
    pub(in crate::server) buffer: usize,
}

impl ConnectionLimits {
    /// Returns the limits of this process. First raises the number of files that the process may have open, as far as
    /// the system allows, because every connection counts as an open file.
    pub(in crate::server) fn of_this_process() -> Self {
        Self {
            total: raise_file_limit().saturating_sub(OTHER_FILES).clamp(16, 4096),
            per_client: 256,
            head: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            answer: Duration::from_secs(5),
            buffer: 64 << 10,
        }
    }
}

/// Raises the number of files that this process may have open, as far as the system allows, but at most to
/// [`MAX_FILES`]. Returns this number.
#[cfg(unix)]
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let wanted = before.maximum.unwrap_or(MAX_FILES).min(MAX_FILES);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..before });
    let limit = if raised.is_ok() { wanted } else { before.current.unwrap_or(MAX_FILES) };
    limit.min(MAX_FILES) as usize
}

/// Returns [`MAX_FILES`] as the number of files that this process may have open. On systems other than Unix, the
/// actual limit is not known.
#[cfg(not(unix))]
fn raise_file_limit() -> usize {
    MAX_FILES as usize
}
