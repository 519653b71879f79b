//! Grants, by the paths and in the JSON of a Cosmos SDK 0.50 node's REST server.

use super::{AppState, Shared, failure, now};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use r3mes_wgpu::{
    ledger::FeeAllowance,
    tx::{DENOM, GrantPair, TxError, check_address, rfc3339},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/cosmos/authz/v1beta1/grants", get(grants))
        .route("/cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}", get(allowance))
        .route("/r3mes/wgpu/v1/sessions/{granter}/{grantee}", get(session))
}

#[derive(Deserialize)]
struct GrantQuery {
    granter: String,
    grantee: String,
    msg_type_url: Option<String>,
}

async fn grants(State(face): Shared, Query(asked): Query<GrantQuery>) -> Result<Json<Value>, Response> {
    let pair = pair(asked.granter, asked.grantee).map_err(invalid)?;
    let (grants, now) = (face.ledger().state().granted(&pair), now());
    let wanted =
        |message: &str| asked.msg_type_url.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == message);
    let grants = grants.iter().filter(|(message, expires)| *expires > now && wanted(message));
    let grants: Vec<_> = grants
        .map(|(message, expires)| {
            let authorization = json!({ "@type": "/cosmos.authz.v1beta1.GenericAuthorization", "msg": message });
            json!({ "authorization": authorization, "expiration": rfc3339(*expires) })
        })
        .collect();
    let total = grants.len().to_string();
    Ok(Json(json!({ "grants": grants, "pagination": { "next_key": null, "total": total } })))
}

/// An allowance that is used up is told with 0 left, until it expires.
async fn allowance(
    State(face): Shared,
    Path((granter, grantee)): Path<(String, String)>,
) -> Result<Json<Value>, Response> {
    let pair = pair(granter, grantee).map_err(invalid)?;
    let allowed = face.ledger().state().allowance(&pair).filter(|allowed| allowed.expires > now());
    let Some(FeeAllowance { left, expires }) = allowed else {
        return Err(failure(StatusCode::NOT_FOUND, 5, "fee-grant not found"));
    };
    let basic = json!({
        "@type": "/cosmos.feegrant.v1beta1.BasicAllowance",
        "spend_limit": [{ "denom": DENOM, "amount": left.to_string() }], "expiration": rfc3339(expires),
    });
    let allowed = json!({
        "@type": "/cosmos.feegrant.v1beta1.AllowedMsgAllowance", "allowance": basic,
        "allowed_messages": ["/cosmos.authz.v1beta1.MsgExec"],
    });
    let GrantPair { granter, grantee } = pair;
    Ok(Json(json!({ "allowance": { "granter": granter, "grantee": grantee, "allowance": allowed } })))
}

/// The number that the next statement between the two must have.
async fn session(
    State(face): Shared,
    Path((granter, grantee)): Path<(String, String)>,
) -> Result<Json<Value>, Response> {
    let pair = pair(granter, grantee).map_err(invalid)?;
    let number = face.ledger().state().session_number(&pair);
    Ok(Json(json!({ "number": number.to_string() })))
}

fn pair(granter: String, grantee: String) -> Result<GrantPair, TxError> {
    check_address(&granter)?;
    check_address(&grantee)?;
    Ok(GrantPair { granter, grantee })
}

fn invalid(error: TxError) -> Response {
    failure(StatusCode::BAD_REQUEST, 3, error)
}
