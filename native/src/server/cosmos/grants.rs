//! HTTP routes for grants, fee allowances and sessions. The routes for grants and allowances have the paths and the
//! JSON of the REST server of a Cosmos SDK 0.50 node. A session permits the key of a mining machine to mine for an
//! account. Signed statements open and close it. A route returns the sequence number that the next such statement must
//! contain.

use crate::{
    clock::unix_seconds,
    server::{
        extract::{PathOf, QueryOf},
        pagination::PageRequest,
        state::{AppState, InvalidAddress, SharedApp, failure, read_address},
    },
};
use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use r3mes_wgpu::{
    ledger::FeeAllowance,
    tx::{DENOM, GrantPair, rfc3339},
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

async fn grants(
    State(app): SharedApp,
    QueryOf(query): QueryOf<GrantQuery>,
    QueryOf(page): QueryOf<PageRequest>,
) -> Result<Json<Value>, Response> {
    let pair = pair(&query.granter, &query.grantee)?;
    let (grants, now) = (app.ledger().state().granted(&pair), unix_seconds());
    let wanted =
        |message: &str| query.msg_type_url.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == message);
    let grants = grants.iter().filter(|(message, expires)| *expires > now && wanted(message));
    let entry = |(message, expires): &(String, u64)| {
        let authorization = json!({ "@type": "/cosmos.authz.v1beta1.GenericAuthorization", "msg": message });
        (message.clone(), json!({ "authorization": authorization, "expiration": rfc3339(*expires) }))
    };
    let (grants, pagination) = page.select(grants.map(entry).collect())?;
    Ok(Json(json!({ "grants": grants, "pagination": pagination })))
}

/// Returns the fee allowance that a granter has given to a grantee. Until an exhausted allowance expires, it is
/// returned with a remaining amount of 0 micro-units.
async fn allowance(
    State(app): SharedApp,
    PathOf((granter, grantee)): PathOf<(String, String)>,
) -> Result<Json<Value>, Response> {
    let pair = pair(&granter, &grantee)?;
    let allowed = app.ledger().state().allowance(&pair).filter(|allowed| allowed.expires > unix_seconds());
    let Some(FeeAllowance { remaining, expires }) = allowed else {
        return Err(failure(StatusCode::NOT_FOUND, 5, "fee-grant not found"));
    };
    let basic = json!({
        "@type": "/cosmos.feegrant.v1beta1.BasicAllowance",
        "spend_limit": [{ "denom": DENOM, "amount": remaining.to_string() }], "expiration": rfc3339(expires),
    });
    let allowed = json!({
        "@type": "/cosmos.feegrant.v1beta1.AllowedMsgAllowance", "allowance": basic,
        "allowed_messages": ["/cosmos.authz.v1beta1.MsgExec"],
    });
    let GrantPair { granter, grantee } = pair;
    Ok(Json(json!({ "allowance": { "granter": granter, "grantee": grantee, "allowance": allowed } })))
}

/// Returns the sequence number that the next statement between this granter and this grantee must contain. A statement
/// is a signed text that opens or closes a session, in which the grantee's key mines for the granter.
async fn session(
    State(app): SharedApp,
    PathOf((granter, grantee)): PathOf<(String, String)>,
) -> Result<Json<Value>, Response> {
    let pair = pair(&granter, &grantee)?;
    let number = app.ledger().state().session_number(&pair);
    Ok(Json(json!({ "number": number.to_string() })))
}

fn pair(granter: &str, grantee: &str) -> Result<GrantPair, InvalidAddress> {
    Ok(GrantPair { granter: read_address(granter)?, grantee: read_address(grantee)? })
}
