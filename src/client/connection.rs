//! What a client needs of the program around it: a connection to a node, a timer, and a file for unfinished work.

use super::ClientError;

/// The largest body of a response that is read, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// A connection to a node, a store or a service over HTTP.
///
/// A connection to several nodes of one chain sends every request to one of them until [`fail_over`](Self::fail_over)
/// is called.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Connection {
    /// Sends a request. Any response is `Ok`, whatever its status.
    async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse>;
    /// Returns the number of nodes to choose from.
    fn node_count(&self) -> u32 {
        1
    }
    /// Switches to the next node, if there is more than one.
    fn fail_over(&self) {}
    /// Records that the chain has reached this height, so that nodes far behind it are avoided.
    fn observe_height(&self, _height: u64) {}
}

/// A timer.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Timer {
    /// Waits.
    async fn sleep(&self, milliseconds: u32);
}

/// A place for one unfinished result, so that it survives a restart. By default nothing is saved.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait WorkFile {
    /// Returns the bytes saved last, if they are still there. The caller checks them.
    async fn load_work(&self) -> Option<Vec<u8>> {
        None
    }
    /// Saves bytes, replacing what was saved before. A failure costs a recomputation after a restart, so it is not
    /// returned.
    async fn save_work(&self, _bytes: &[u8]) {}
}

/// An HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Path and query, from the first slash on.
    pub path: &'a str,
    /// Content type and body of a POST; `None` for a GET.
    pub body: Option<(&'a str, &'a [u8])>,
}

impl<'a> Request<'a> {
    /// A GET.
    pub fn get(path: &'a str) -> Self {
        Self { path, body: None }
    }
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, at most [`MAX_RESPONSE_BYTES`].
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

/// Returns a file of the node's model, `config.json` or `model.safetensors`. The caller checks it against the model's
/// CID.
pub async fn model_file<T: Connection>(connection: &T, name: &str) -> Result<Vec<u8>, ClientError> {
    send(connection, &format!("/r3mes/wgpu/v1/model/{name}"), None).await
}
