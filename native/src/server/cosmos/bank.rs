//! The queries of the Cosmos SDK's module `bank`. Locked coins, such as a stake, are not part of an account's balance,
//! so the spendable balance is equal to the balance.

use crate::server::{
    extract::{InvalidArgument, PathOf, QueryOf, invalid},
    pagination::PageRequest,
    state::{AppState, SharedApp, failure, read_address},
};
use axum::{Json, Router, extract::State, http::StatusCode, response::Response, routing::get};
use r3mes_wgpu::tx::{COIN_PURPOSE, DENOM, DISPLAY_DENOM, DISPLAY_DIGITS, SYMBOL};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/cosmos/bank/v1beta1/balances/{address}", get(balances))
        .route("/cosmos/bank/v1beta1/balances/{address}/by_denom", get(balance))
        .route("/cosmos/bank/v1beta1/spendable_balances/{address}", get(balances))
        .route("/cosmos/bank/v1beta1/spendable_balances/{address}/by_denom", get(balance))
        .route("/cosmos/bank/v1beta1/supply", get(supply))
        .route("/cosmos/bank/v1beta1/supply/by_denom", get(supply_of))
        .route("/cosmos/bank/v1beta1/denoms_metadata", get(all_metadata))
        .route("/cosmos/bank/v1beta1/denoms_metadata/{denom}", get(metadata_of))
        .route("/cosmos/bank/v1beta1/params", get(params))
}

async fn balances(
    State(app): SharedApp,
    PathOf(address): PathOf<String>,
    QueryOf(page): QueryOf<PageRequest>,
) -> Result<Json<Value>, Response> {
    let amount = app.ledger().state().account_of(&read_address(&address)?).balance;
    let (balances, pagination) = page.select(coins(amount))?;
    Ok(Json(json!({ "balances": balances, "pagination": pagination })))
}

#[derive(Deserialize)]
struct DenomQuery {
    denom: String,
}

async fn balance(
    State(app): SharedApp,
    PathOf(address): PathOf<String>,
    QueryOf(DenomQuery { denom }): QueryOf<DenomQuery>,
) -> Result<Json<Value>, Response> {
    let amount = app.ledger().state().account_of(&read_address(&address)?).balance;
    Ok(Json(json!({ "balance": coin(&denom, amount)? })))
}

async fn supply(State(app): SharedApp, QueryOf(page): QueryOf<PageRequest>) -> Result<Json<Value>, Response> {
    let (supply, pagination) = page.select(coins(app.ledger().state().supply()))?;
    Ok(Json(json!({ "supply": supply, "pagination": pagination })))
}

async fn supply_of(
    State(app): SharedApp,
    QueryOf(DenomQuery { denom }): QueryOf<DenomQuery>,
) -> Result<Json<Value>, Response> {
    Ok(Json(json!({ "amount": coin(&denom, app.ledger().state().supply())? })))
}

async fn all_metadata(QueryOf(page): QueryOf<PageRequest>) -> Result<Json<Value>, Response> {
    let (metadatas, pagination) = page.select(vec![(DENOM.to_owned(), metadata())])?;
    Ok(Json(json!({ "metadatas": metadatas, "pagination": pagination })))
}

async fn metadata_of(PathOf(denom): PathOf<String>) -> Result<Json<Value>, Response> {
    check(&denom)?;
    match denom == DENOM {
        true => Ok(Json(json!({ "metadata": metadata() }))),
        false => Err(failure(StatusCode::NOT_FOUND, 5, format!("client metadata for denom {denom} not found"))),
    }
}

async fn params() -> Json<Value> {
    Json(json!({ "params": { "send_enabled": [], "default_send_enabled": true } }))
}

/// Returns `amount` micro-units of the network's coin as a list with one pair: the name of the denomination, and the
/// amount with this denomination as JSON. The list is empty if `amount` is 0.
fn coins(amount: u64) -> Vec<(String, Value)> {
    let coin = json!({ "denom": DENOM, "amount": amount.to_string() });
    (amount > 0).then(|| (DENOM.to_owned(), coin)).into_iter().collect()
}

/// Returns the JSON of a coin, which consists of the denomination `denom` and an amount. The amount is `amount`
/// micro-units if `denom` is the denomination of the network's coin, otherwise 0.
fn coin(denom: &str, amount: u64) -> Result<Value, InvalidArgument> {
    check(denom)?;
    let amount = if denom == DENOM { amount } else { 0 };
    Ok(json!({ "denom": denom, "amount": amount.to_string() }))
}

/// Returns an error unless `denom` is a valid name of a denomination (a unit of coins) in the Cosmos SDK.
fn check(denom: &str) -> Result<(), InvalidArgument> {
    let starts_with_letter = denom.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_plain = denom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:._-".contains(&byte));
    match starts_with_letter && is_plain && (3..=128).contains(&denom.len()) {
        true => Ok(()),
        false => Err(invalid(format!("invalid denom: {denom}"))),
    }
}

/// Returns the description of the network's coin, for wallets and block explorers.
fn metadata() -> Value {
    json!({
        "description": COIN_PURPOSE,
        "denom_units": [
            { "denom": DENOM, "exponent": 0, "aliases": [] },
            { "denom": DISPLAY_DENOM, "exponent": DISPLAY_DIGITS, "aliases": [] },
        ],
        "base": DENOM, "display": DISPLAY_DENOM, "name": SYMBOL, "symbol": SYMBOL, "uri": "", "uri_hash": "",
    })
}
