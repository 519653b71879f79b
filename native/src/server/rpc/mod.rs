//! The part of CometBFT 0.38's JSON-RPC that wallets and CosmJS use. Calls are sent with `POST /`, alone or as a batch,
//! or over the WebSocket `/websocket`. Wallets also send `GET /status`, to test whether a node responds.
//!
//! See <https://docs.cometbft.com/v0.38/rpc/>. A replica forwards the calls to its CometBFT. A single sequencer (a node
//! that produces blocks without CometBFT) answers them itself. Its chain has no votes and therefore no commits, and its
//! block hashes are not computed in CometBFT's way.

mod error;
mod methods;
mod query;
mod search;
mod subscriptions;
mod websocket;

pub(super) use error::{RpcError, RpcErrorKind};
pub(super) use query::EventQuery;
pub(super) use search::{MAX_PAGE, TxPage, find};

use super::state::{AppState, SharedApp, blocking};
use crate::consensus::CometRpc;
use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::sync::Arc;

/// The maximum number of calls in a batch. This is also the largest batch that CosmJS sends by default.
const MAX_BATCH: usize = 20;
/// The methods that a replica forwards to CometBFT. Methods that wait for an event, such as `broadcast_tx_commit`, and
/// methods that administer CometBFT are not forwarded.
const FORWARDED: [&str; 14] = [
    "health",
    "status",
    "abci_info",
    "abci_query",
    "broadcast_tx_sync",
    "broadcast_tx_async",
    "tx",
    "tx_search",
    "block",
    "block_results",
    "header",
    "commit",
    "validators",
    "consensus_params",
];

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/", post(handle))
        .route("/status", get(status_alone))
        .route("/websocket", get(websocket::connect))
}

/// A JSON-RPC request.
#[derive(Deserialize)]
struct RpcRequest {
    /// The ID, of any type, that the response repeats. A request without an ID is a notification and is not answered.
    #[serde(default, deserialize_with = "some")]
    id: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
}

/// Deserializes a field, and returns `Some` even if its value is `null`. An absent field can therefore be distinguished
/// from a `null`: serde does not call this function for an absent field, which becomes `None`.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

async fn handle(State(app): SharedApp, body: Result<Json<Value>, JsonRejection>) -> Response {
    let body = match body {
        Ok(Json(body)) => body,
        Err(rejection) => {
            let (kind, status) = match &rejection {
                JsonRejection::JsonSyntaxError(_) => (RpcErrorKind::Parse, StatusCode::BAD_REQUEST),
                rejection => (RpcErrorKind::InvalidRequest, rejection.status()),
            };
            let error = RpcError::new(kind, rejection.body_text());
            return (status, Json(error.to_response(&Value::Null))).into_response();
        }
    };
    match blocking(move || Ok(answer_all(&app, body))).await {
        Ok(Some(answer)) => Json(answer).into_response(),
        Ok(None) => StatusCode::OK.into_response(),
        Err(response) => response,
    }
}

async fn status_alone(State(app): SharedApp) -> Result<Json<Value>, Response> {
    let call = json!({ "id": -1, "method": "status" });
    Ok(Json(blocking(move || Ok(answer(&app, call))).await?.unwrap_or_default()))
}

/// Answers a call or a batch of calls. Returns `None` if all calls are notifications (calls without an ID), which get
/// no answer.
fn answer_all(app: &AppState, body: Value) -> Option<Value> {
    let refused = |message: String| RpcError::new(RpcErrorKind::InvalidRequest, message).to_response(&Value::Null);
    match body {
        Value::Array(calls) if calls.is_empty() => {
            Some(refused("the batch is empty: send at least one call".to_owned()))
        }
        Value::Array(calls) if calls.len() > MAX_BATCH => Some(refused(format!(
            "the batch has {} calls, but may have at most {MAX_BATCH}: split it into several batches",
            calls.len()
        ))),
        Value::Array(calls) => {
            let answers: Vec<Value> = calls.into_iter().filter_map(|call| answer(app, call)).collect();
            (!answers.is_empty()).then(|| answers.into())
        }
        call => answer(app, call),
    }
}

/// Answers a call. A call without an ID is a notification, which is neither executed nor answered, as in CometBFT.
fn answer(app: &AppState, request: Value) -> Option<Value> {
    let request = match RpcRequest::deserialize(&request) {
        Ok(request) => request,
        Err(error) => {
            let error =
                RpcError::new(RpcErrorKind::InvalidRequest, format!("the JSON is not a JSON-RPC request: {error}"));
            return Some(error.to_response(&request["id"]));
        }
    };
    let id = request.id?;
    Some(respond(&id, call(app, &request.method, &request.params)))
}

fn respond(id: &Value, result: Result<Value, RpcError>) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => error.to_response(id),
    }
}

/// Executes a JSON-RPC method in this process, or forwards it to CometBFT. Returns its result.
pub(super) fn call(app: &AppState, method: &str, params: &Value) -> Result<Value, RpcError> {
    if let Some(engine) = app.settings.engine.as_ref().filter(|_| FORWARDED.contains(&method)) {
        return forward(engine, method, params);
    }
    if params.as_array().map_or(!params.is_null() && !params.is_object(), |params| !params.is_empty()) {
        return Err(RpcError::invalid("the parameters must be an object that names them"));
    }
    match method {
        "health" => Ok(json!({})),
        "status" => Ok(methods::status(app)),
        "abci_info" => Ok(methods::abci_info(app)),
        "abci_query" => methods::abci_query(app, params),
        "broadcast_tx_sync" | "broadcast_tx_async" => methods::broadcast(app, params),
        "tx" => methods::tx(app, params),
        "tx_search" => search::tx_search(app, params),
        "block" => methods::block(app, params),
        "subscribe" | "unsubscribe" | "unsubscribe_all" => {
            let message = format!("{method} works only over a WebSocket; connect to the path /websocket");
            Err(RpcError::new(RpcErrorKind::UnknownMethod, message))
        }
        _ => Err(RpcError::new(RpcErrorKind::UnknownMethod, format!("method {method} not found"))),
    }
}

/// Forwards a call to CometBFT, and returns CometBFT's result or error.
fn forward(engine: &CometRpc, method: &str, params: &Value) -> Result<Value, RpcError> {
    let response = engine.call(method, params);
    let mut response = response.map_err(|error| RpcError::new(RpcErrorKind::Unavailable, format!("{error:#}")))?;
    if let Some(result) = response.get_mut("result") {
        return Ok(result.take());
    }
    let error = &response["error"];
    let code = error["code"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or_default();
    let message = [&error["data"], &error["message"]].into_iter().find_map(Value::as_str).unwrap_or_default();
    Err(RpcError::of_comet(code, message))
}

/// Reads the parameter `name`, a number that is written as a JSON number or as a string. Returns `None` if the
/// parameter is absent or an empty string.
fn number(params: &Value, name: &str) -> Result<Option<u64>, RpcError> {
    let number = match &params[name] {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    };
    number.map(Some).ok_or_else(|| RpcError::invalid(format!("{name} is not a whole number from 0 to 2^64 - 1")))
}

/// Reads the parameter `name`, a string. Returns an empty string if the parameter is absent.
fn text<'a>(params: &'a Value, name: &str) -> Result<&'a str, RpcError> {
    match &params[name] {
        Value::Null => Ok(""),
        value => value.as_str().ok_or_else(|| RpcError::invalid(format!("{name} is not a text"))),
    }
}

/// Fails if a call asks for Merkle proofs. A node without CometBFT cannot give them, because no validators vote on its
/// blocks.
fn check_no_proof(params: &Value) -> Result<(), RpcError> {
    match &params["prove"] {
        Value::Null | Value::Bool(false) => Ok(()),
        _ => Err(RpcError::invalid("this node has no Merkle proofs: leave out `prove`")),
    }
}

/// Encodes bytes as upper-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXUPPER.encode(bytes)
}

/// Decodes hexadecimal digits of either case. Returns `None` if `digits` has other characters or an odd length.
pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
}
