//! An error as Kubo puts it.

use crate::node::blocks::Full;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use r3mes_wgpu::store::StoreError;
use serde_json::json;
use std::fmt::Display;

/// Why a request is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Display) -> Self {
        Self { status, message: message.to_string() }
    }

    /// The request is at fault.
    pub(super) fn bad(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Missing(_) => StatusCode::NOT_FOUND,
            StoreError::Unavailable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return error.clone().into();
        }
        if error.is::<Full>() {
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, error);
        }
        if error.is::<r3mes_wgpu::protocol::WorkError>() {
            return Self::bad(format!("{error:#}"));
        }
        eprintln!("node: the block store: {error:#}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the block store could not be read; the node's log says why")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "Message": self.message, "Code": 0, "Type": "error" }))).into_response()
    }
}
