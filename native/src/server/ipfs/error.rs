//! Errors of the IPFS routes. Clients receive them in the JSON format of Kubo's errors.

use crate::{blocks::StoreFull, database::is_of_database};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use r3mes_wgpu::store::StoreError;
use serde_json::json;
use std::fmt::Display;
use tracing::error;

/// An error of an IPFS route: the HTTP status, and the message for the client.
#[derive(Debug)]
pub(super) struct IpfsError {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl IpfsError {
    pub(super) fn new(status: StatusCode, message: impl Display) -> Self {
        Self { status, message: message.to_string() }
    }

    /// Creates the error for an invalid request, which has the HTTP status 400.
    pub(super) fn bad(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl Display for IpfsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for IpfsError {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Missing(_) => StatusCode::NOT_FOUND,
            // clients try again after this status
            StoreError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

impl From<anyhow::Error> for IpfsError {
    fn from(error: anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return error.clone().into();
        }
        if error.is::<StoreFull>() {
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, error);
        }
        if error.is::<r3mes_wgpu::protocol::ProtocolError>() {
            return Self::bad(format!("{error:#}"));
        }
        error!(error = %format_args!("{error:#}"), "block store failed");
        if is_of_database(&error) {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "the node cannot use its disk now; try again later");
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the block store failed; the node's log has the reason")
    }
}

impl IntoResponse for IpfsError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "Message": self.message, "Code": 0, "Type": "error" }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests that a disk error has the status 503. A miner that knows only one node tries again after the status 503,
    /// but stops with an error after the status 500.
    #[test]
    fn clients_try_again_after_an_error_of_the_disk() {
        let error = anyhow::Error::from(redb::StorageError::PreviousIo).context("storing blocks");
        assert_eq!(IpfsError::from(error).status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(IpfsError::from(anyhow::anyhow!("a fault")).status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
