//! The page's files, and the model's.

use super::{Face, Shared, failure};
use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{path::Path as File, sync::Arc};
use tower_http::services::ServeDir;

/// What the page may do: its own files, the node that serves it, and WebAssembly.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'";

pub(super) fn routes(page: &File) -> Router<Arc<Face>> {
    let files = Router::new().fallback_service(ServeDir::new(page)).layer(from_fn(protect));
    Router::new().route("/r3mes/wgpu/v1/model/{file}", get(model_file)).fallback_service(files)
}

/// Files are asked for again each time, and sent again only where they changed.
async fn protect(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        let said = match path.as_str() {
            "/" => "the page is not built: run scripts/page, then reload",
            _ => "not found",
        };
        return failure(StatusCode::NOT_FOUND, 5, said);
    }
    let fixed = HeaderValue::from_static;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
        (header::CACHE_CONTROL, fixed("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (HeaderName::from_static("cross-origin-resource-policy"), fixed("cross-origin")),
    ] {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Files of the model that is trained; a miner checks them by the CID of the model's manifest.
async fn model_file(State(face): Shared, Path(name): Path<String>) -> Result<Response, Response> {
    let kind = match name.as_str() {
        "config.json" => "application/json",
        "model.safetensors" => "application/octet-stream",
        _ => return Err(failure(StatusCode::NOT_FOUND, 5, "config.json and model.safetensors are here")),
    };
    let bytes = tokio::fs::read(face.settings.model.join(&name)).await;
    let bytes = bytes.map_err(|error| super::broken(anyhow::Error::new(error).context(name)))?;
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], bytes).into_response())
}
