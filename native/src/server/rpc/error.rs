//! The errors that the methods of the JSON-RPC return.

use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json};
use tracing::error;

/// A JSON-RPC error: its kind, its code and its message.
#[derive(Debug)]
pub(in crate::server) struct RpcError {
    kind: RpcErrorKind,
    code: i32,
    pub(in crate::server) message: String,
}

/// The kinds of reasons for which a call of a JSON-RPC method fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum RpcErrorKind {
    /// The request is not JSON.
    Parse,
    /// The JSON is not a JSON-RPC request.
    InvalidRequest,
    UnknownMethod,
    InvalidParams,
    /// The block, transaction or other item that the call asks for does not exist.
    Missing,
    /// The node itself failed, for example when it read the ledger.
    Internal,
    /// CometBFT did not respond.
    Unavailable,
}

impl RpcErrorKind {
    /// Returns the JSON-RPC error code of this kind of error.
    fn code(self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::UnknownMethod => -32601,
            Self::InvalidParams => -32602,
            Self::Missing | Self::Internal | Self::Unavailable => -32603,
        }
    }
}

impl RpcError {
    pub(in crate::server) fn new(kind: RpcErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: kind.code(), message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(RpcErrorKind::InvalidParams, message)
    }

    /// Converts an error that CometBFT has returned.
    pub(super) fn of_comet(code: i32, message: &str) -> Self {
        let kinds = [RpcErrorKind::InvalidRequest, RpcErrorKind::UnknownMethod, RpcErrorKind::InvalidParams];
        let kind = kinds.into_iter().find(|kind| kind.code() == code).unwrap_or(RpcErrorKind::Missing);
        Self { kind, code, message: message.to_owned() }
    }

    /// Returns the JSON-RPC response that reports this error to the call with the ID `id`.
    pub(super) fn to_response(&self, id: &Value) -> Value {
        let Self { code, message, .. } = self;
        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message, "data": message } })
    }

    /// Returns this error as the response to a REST request, for routes that call a JSON-RPC method to answer the
    /// request.
    pub(in crate::server) fn to_rest(&self) -> Response {
        let (status, code) = match self.kind {
            RpcErrorKind::Parse | RpcErrorKind::InvalidRequest | RpcErrorKind::InvalidParams => {
                (StatusCode::BAD_REQUEST, 3)
            }
            RpcErrorKind::UnknownMethod => (StatusCode::NOT_IMPLEMENTED, 12),
            RpcErrorKind::Missing => (StatusCode::NOT_FOUND, 5),
            RpcErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, 13),
            RpcErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, 14),
        };
        crate::server::state::failure(status, code, &self.message)
    }
}

impl From<anyhow::Error> for RpcError {
    fn from(error: anyhow::Error) -> Self {
        error!(error = %format_args!("{error:#}"), "request failed");
        Self::new(RpcErrorKind::Internal, "the ledger could not be read; the node's log has the reason")
    }
}
