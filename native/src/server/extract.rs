//! Extractors that read the parts of a request in the same way as the extractors of axum. If an extractor fails, the
//! response is an error in the format of Cosmos nodes. A request for which there is no route also receives an error in
//! this format.

use super::state::failure;
use axum::{
    Router,
    extract::{FromRequest, FromRequestParts, Json, Path, Query, Request},
    http::{StatusCode, request::Parts},
    response::Response,
    routing::any,
};
use serde::de::DeserializeOwned;

/// The gRPC status code of a request with an invalid argument.
const INVALID_ARGUMENT: u32 = 3;
/// The gRPC status code of a request that the server does not support.
const UNIMPLEMENTED: u32 = 12;
/// A request to a path with one of these prefixes receives an error in the format of a Cosmos node if there is no route
/// for the path.
const PREFIXES: [&str; 3] = ["/cosmos", "/remes", "/r3mes"];

/// The values of the parameters in the path of a request.
pub(super) struct PathOf<T>(pub(super) T);

/// The parameters in the query of a request's URL.
pub(super) struct QueryOf<T>(pub(super) T);

/// The body of a request, in JSON.
pub(super) struct JsonOf<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Path(value) =
            Path::from_request_parts(parts, state).await.map_err(|error| refused(error.status(), error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| refused(error.status(), error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonOf<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let Json(value) =
            Json::from_request(request, state).await.map_err(|error| refused(error.status(), error.body_text()))?;
        Ok(Self(value))
    }
}

/// Returns the response to a request that cannot be parsed. Replaces the status 422 (unprocessable content) with 400
/// (bad request), because Cosmos nodes do not use 422.
fn refused(status: StatusCode, message: String) -> Response {
    let status = if status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::BAD_REQUEST } else { status };
    failure(status, INVALID_ARGUMENT, message)
}

/// The error of a request with an invalid argument. Request handlers convert it to an error response with the operator
/// `?`.
#[derive(Debug)]
pub(super) struct InvalidArgument(String);

impl From<InvalidArgument> for Response {
    fn from(InvalidArgument(message): InvalidArgument) -> Self {
        failure(StatusCode::BAD_REQUEST, INVALID_ARGUMENT, message)
    }
}

/// Returns the error of a request with an invalid argument. `message` states what is wrong, and with which argument.
pub(super) fn invalid(message: impl Into<String>) -> InvalidArgument {
    InvalidArgument(message.into())
}

/// Makes `routes` return the same errors as a Cosmos node: one error for a path that has no route, and one for an HTTP
/// method that a route does not support.
pub(super) fn with_errors<S: Clone + Send + Sync + 'static>(mut routes: Router<S>) -> Router<S> {
    for prefix in PREFIXES {
        routes = routes.route(&format!("{prefix}/{{*path}}"), any(unknown_path));
    }
    routes.method_not_allowed_fallback(unknown_method)
}

async fn unknown_path() -> Response {
    failure(StatusCode::NOT_IMPLEMENTED, UNIMPLEMENTED, "Not Implemented")
}

/// Returns the error for an HTTP method that a route does not support. Its status is 501, as in a Cosmos node, and not
/// 405.
async fn unknown_method() -> Response {
    failure(StatusCode::NOT_IMPLEMENTED, UNIMPLEMENTED, "Method Not Allowed")
}
