//! The HTTP route that serves the files of the model. A file is read from disk in pieces, no faster than the client
//! receives them.

use super::{
    extract::PathOf,
    state::{AppState, SharedApp, failure},
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use std::sync::Arc;
use tower_http::services::ServeFile;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new().route("/r3mes/wgpu/v1/model/{file}", get(file))
}

/// Serves a file of the model, or the range of its bytes for which the request asks. Miners check the files that they
/// receive: the model must have the CID that the network's genesis states.
async fn file(State(app): SharedApp, PathOf(name): PathOf<String>, request: Request) -> Result<Response, Response> {
    if !["config.json", "model.safetensors"].contains(&name.as_str()) {
        let message = "not found; the model files are config.json and model.safetensors";
        return Err(failure(StatusCode::NOT_FOUND, 5, message));
    }
    let served = ServeFile::new(app.settings.model.join(&name)).try_call(request).await;
    let mut response =
        served.map_err(|error| super::state::internal_error(anyhow::Error::new(error).context(name)))?.map(Body::new);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
