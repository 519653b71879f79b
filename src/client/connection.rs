//! Interfaces that a program that uses the client must implement: a connection to a node, a timer, and storage that
//! keeps an artifact until it is submitted.

use super::ClientError;

/// The largest accepted size of a response body, in bytes. A request fails if the body is larger.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// An HTTP connection to a node, to a store of blocks, or to a pinning service.
///
/// If the connection has several nodes of the same chain, it sends every request to the same node until
/// [`fail_over`](Self::fail_over) is called.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Connection {
    /// Sends a request. Returns `Ok` for every response, including those with an error status.
    async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse>;
    /// Returns the number of nodes that this connection can use. If it is 1, there is no other node to switch to.
    fn node_count(&self) -> u32 {
        1
    }
    /// Makes the connection use the next node. Does nothing if there is only one node.
    fn fail_over(&self) {}
    /// Records that the chain has reached this block height. Nodes that are far behind this height are then avoided.
    fn observe_height(&self, _height: u64) {}
}

/// A timer. Browsers and operating systems have different functions for waiting, so the program that uses the client
/// implements the timer.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Timer {
    /// Waits for this many milliseconds.
    async fn sleep(&self, milliseconds: u32);
}

/// Storage for one artifact that was computed but not yet submitted, so that it survives a restart of the program.
/// The default methods save nothing.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait WorkFile {
    /// Returns the bytes that the last call of [`save_work`](Self::save_work) saved, or `None` if they no longer exist.
    /// The bytes may be damaged, so the caller must check that they are a valid artifact.
    async fn load_work(&self) -> Option<Vec<u8>> {
        None
    }
    /// Saves an artifact, encoded as a CAR file, in place of the artifact saved before. Errors are ignored, because
    /// their only effect is that the artifact is computed again after a restart.
    async fn save_work(&self, _bytes: &[u8]) {}
}

/// An HTTP request: a GET, or a POST if it has a body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The path and the query of the URL. The first character is `/`.
    pub path: &'a str,
    /// The content type and the body of a POST request; `None` makes this a GET request.
    pub body: Option<(&'a str, &'a [u8])>,
}

impl<'a> Request<'a> {
    /// Creates a GET request. `path` must start with `/`.
    pub fn get(path: &'a str) -> Self {
        Self { path, body: None }
    }
}

/// The status and the body of an HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// The body, at most [`MAX_RESPONSE_BYTES`] bytes.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the body if the status is 200 to 299. Returns [`ClientError::Refused`] for any other status.
    pub(crate) fn into_body(self) -> Result<Vec<u8>, ClientError> {
        match self.status {
            200..300 => Ok(self.body),
            status => {
                let message = String::from_utf8_lossy(&self.body).chars().take(500).collect();
                Err(ClientError::Refused { status, message })
            }
        }
    }
}

/// Error returned when no complete response arrived, because the connection failed, broke off or timed out. The text
/// consists of the URL and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no response from {0}")]
pub struct NoResponse(pub String);

/// Sends a GET request, or a POST request if `body` is given, and returns the body of the response. Returns an error
/// if there is no response or its status is not 200 to 299.
pub(crate) async fn send<T: Connection>(
    connection: &T,
    path: &str,
    body: Option<(&str, &[u8])>,
) -> Result<Vec<u8>, ClientError> {
    connection.request(Request { path, body }).await?.into_body()
}

/// Downloads a file of the model that the node's network trains. The file's name, `name`, is `config.json` or
/// `model.safetensors`. The caller must check the file against the model's CID.
pub async fn model_file<T: Connection>(connection: &T, name: &str) -> Result<Vec<u8>, ClientError> {
    send(connection, &format!("/r3mes/wgpu/v1/model/{name}"), None).await
}
