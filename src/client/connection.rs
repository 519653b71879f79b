//! What a client needs from the program around it: a connection to a node, a timer, and a file for unfinished work.

use super::ClientError;

/// The largest size of a response's body, in bytes. A larger response is an error.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// A connection to a node, a store or a service over HTTP.
///
/// A connection to several nodes of the same chain sends every request to one of them until
/// [`fail_over`](Self::fail_over) is called.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Connection {
    /// Sends a request. Any response is `Ok`, whatever its status.
    async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse>;
    /// Returns the number of nodes that the connection can fail over between.
    fn node_count(&self) -> u32 {
        1
    }
    /// Switches to the next node, if there is more than one.
    fn fail_over(&self) {}
    /// Records that the chain has reached this height, so that nodes far behind it are avoided.
    fn observe_height(&self, _height: u64) {}
}

/// A way to wait, which browsers and operating systems offer in different forms.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Timer {
    /// Waits for this many milliseconds.
    async fn sleep(&self, milliseconds: u32);
}

/// Storage for one unfinished result, so that it survives a restart. By default nothing is saved.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait WorkFile {
    /// Returns the bytes that were saved last, if they still exist. The caller checks them.
    async fn load_work(&self) -> Option<Vec<u8>> {
        None
    }
    /// Saves bytes, replacing what was saved before. A failure costs a recomputation after a restart, so it is not
    /// returned.
    async fn save_work(&self, _bytes: &[u8]) {}
}

/// An HTTP request: a GET, or a POST if it has a body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Path and query of the URL, starting with the first slash.
    pub path: &'a str,
    /// Content type and body of a POST; `None` for a GET.
    pub body: Option<(&'a str, &'a [u8])>,
}

impl<'a> Request<'a> {
    /// Creates a GET request for a path.
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
    /// Returns the body of a successful response, and an error for any other status.
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

/// Error returned when no response arrived: connecting failed, or the connection broke off or timed out. Contains
/// the URL and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no response from {0}")]
pub struct NoResponse(pub String);

/// Sends a request and returns the body of a successful response.
pub(crate) async fn send<T: Connection>(
    connection: &T,
    path: &str,
    body: Option<(&str, &[u8])>,
) -> Result<Vec<u8>, ClientError> {
    connection.request(Request { path, body }).await?.into_body()
}

/// Returns a file of the node's model. `name` is `config.json` or `model.safetensors`. The caller checks the file
/// against the model's CID.
pub async fn model_file<T: Connection>(connection: &T, name: &str) -> Result<Vec<u8>, ClientError> {
    send(connection, &format!("/r3mes/wgpu/v1/model/{name}"), None).await
}
