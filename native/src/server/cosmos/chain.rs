//! HTTP routes that return data about accounts, blocks and the node itself.

use crate::{
    clock::unix_seconds,
    server::{
        extract::{InvalidArgument, PathOf, invalid},
        rpc,
        state::{AppState, SharedApp, blocking, read_address},
    },
};
use axum::{Json, Router, extract::State, response::Response, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    client::JobInfo,
    tx::{DENOM, MAX_MEMO_BYTES, MAX_SIGNATURES, consensus_address},
};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/cosmos/auth/v1beta1/accounts/{address}", get(account))
        .route("/cosmos/auth/v1beta1/params", get(auth_params))
        .route("/cosmos/base/node/v1beta1/config", get(node_config))
        .route("/cosmos/base/tendermint/v1beta1/node_info", get(node_info))
        .route("/cosmos/base/tendermint/v1beta1/syncing", get(syncing))
        .route("/cosmos/base/tendermint/v1beta1/blocks/{height}", get(block))
        .route("/cosmos/base/tendermint/v1beta1/validatorsets/{height}", get(validator_set))
        .route("/r3mes/wgpu/v1/job", get(job))
}

/// Returns the sequence number of the account with this address. If the address is valid, but was never used, returns
/// an account with the sequence number 0. The account number is 0 for all accounts.
async fn account(State(app): SharedApp, PathOf(address): PathOf<String>) -> Result<Json<Value>, Response> {
    let address = read_address(&address)?;
    let sequence = app.ledger().state().account_of(&address).sequence;
    Ok(Json(json!({ "account": {
        "@type": "/cosmos.auth.v1beta1.BaseAccount", "address": address, "pub_key": null, "account_number": "0",
        "sequence": sequence.to_string(),
    } })))
}

/// Returns the parameters of the SDK's module `auth`: the limits of transactions, and gas costs. This chain does not
/// count gas, so the gas costs are the defaults of the SDK.
async fn auth_params() -> Json<Value> {
    Json(json!({ "params": {
        "max_memo_characters": MAX_MEMO_BYTES.to_string(), "tx_sig_limit": MAX_SIGNATURES.to_string(),
        "tx_size_cost_per_byte": "10", "sig_verify_cost_ed25519": "590", "sig_verify_cost_secp256k1": "1000",
    } }))
}

/// Returns the node's gas price. A fee is sufficient if it is at least this price times the gas that a simulation
/// reports.
async fn node_config(State(app): SharedApp) -> Json<Value> {
    let price = app.ledger().state().fees(app.node.min_fee()).gas_price();
    Json(json!({
        "minimum_gas_price": format!("{price}{DENOM}"), "pruning_keep_recent": "0", "pruning_interval": "0",
        "halt_height": "0",
    }))
}

/// Calls a method of the node's JSON-RPC and returns the result. REST routes use this function, and then convert the
/// result to the JSON of the REST API.
async fn call_rpc(app: Arc<AppState>, method: &'static str, params: Value) -> Result<Value, Response> {
    let result = blocking(move || Ok(rpc::call(&app, method, &params))).await?;
    result.map_err(|error| error.to_rest())
}

async fn node_info(State(app): SharedApp) -> Result<Json<Value>, Response> {
    let mut node = call_rpc(app, "status", Value::Null).await?["node_info"].take();
    if let Some(id) = node.as_object_mut().and_then(|node| node.remove("id")) {
        node["default_node_id"] = id;
    }
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(json!({
        "default_node_info": node,
        "application_version": { "name": "r3mes", "app_name": "r3mes-wgpu", "version": version },
    })))
}

async fn syncing(State(app): SharedApp) -> Result<Json<Value>, Response> {
    let status = call_rpc(app, "status", Value::Null).await?;
    Ok(Json(json!({ "syncing": status["sync_info"]["catching_up"] })))
}

/// Returns the block at a height. If the height is `latest`, returns the last block.
async fn block(State(app): SharedApp, PathOf(height): PathOf<String>) -> Result<Json<Value>, Response> {
    let height = read_height(&app, &height)?;
    let mut block = call_rpc(app, "block", json!({ "height": height.to_string() })).await?;
    to_base64(&mut block);
    Ok(Json(block))
}

/// Parses the height of a block, which may be `latest`. Fails if there is no such block yet.
fn read_height(app: &AppState, text: &str) -> Result<u64, InvalidArgument> {
    let last = app.ledger().state().head().height;
    if text == "latest" {
        return Ok(last);
    }
    match text.parse() {
        Err(error) => Err(invalid(format!("type mismatch, parameter: height, error: {error}: {text:?}"))),
        Ok(0) => Err(invalid("height must be greater than 0, but got 0")),
        Ok(height) if height > last => Err(invalid(format!(
            "requested block height is bigger then the chain length: the last block has height {last}"
        ))),
        Ok(height) => Ok(height),
    }
}

/// Returns the validators that sign the block at a height. The list is empty if a single sequencer produces the blocks.
async fn validator_set(State(app): SharedApp, PathOf(height): PathOf<String>) -> Result<Json<Value>, Response> {
    let height = read_height(&app, &height)?;
    let mut set = match app.settings.engine {
        Some(_) => call_rpc(app, "validators", json!({ "height": height.to_string(), "per_page": "100" })).await?,
        None => json!({ "block_height": height.to_string(), "validators": [], "total": "0" }),
    };
    for validator in set["validators"].as_array_mut().into_iter().flatten() {
        let address = validator["address"].as_str().and_then(rpc::unhex).and_then(|hash| consensus_address(&hash));
        validator["address"] = address.into();
        validator["pub_key"] =
            json!({ "@type": "/cosmos.crypto.ed25519.PubKey", "key": validator["pub_key"]["value"] });
    }
    Ok(Json(json!({
        "block_height": set["block_height"], "validators": set["validators"],
        "pagination": { "next_key": null, "total": set["total"] },
    })))
}

/// Converts the hexadecimal hashes and addresses of the JSON-RPC to base64, which the REST API uses.
fn to_base64(json: &mut Value) {
    match json {
        Value::Array(all) => all.iter_mut().for_each(to_base64),
        Value::Object(fields) => {
            if let Some(parts) = fields.remove("parts") {
                fields.insert("part_set_header".to_owned(), parts);
            }
            for (name, field) in fields {
                let hexadecimal = name == "hash" || name.ends_with("_hash") || name.ends_with("_address");
                match field.as_str().filter(|_| hexadecimal).and_then(rpc::unhex) {
                    Some(bytes) => *field = json!(BASE64.encode(bytes)),
                    None => to_base64(field),
                }
            }
        }
        _ => {}
    }
}

async fn job(State(app): SharedApp) -> Json<JobInfo> {
    Json(JobInfo::of(&app.ledger(), unix_seconds()))
}
