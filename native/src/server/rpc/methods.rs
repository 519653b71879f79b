//! The JSON-RPC methods that a node without CometBFT (a single sequencer) answers itself.

use super::{RpcError, RpcErrorKind, check_no_proof, hex, number, text, unhex};
use crate::{
    clock::unix_seconds,
    node::{BlockRecord, FoundTx},
    server::{events, state::AppState},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::tx::{MAX_TX_BYTES, code::codespace, rfc3339, tx_hash};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The CometBFT version that a node without CometBFT reports in its status. Clients conclude from this version how to
/// call the node.
const VERSION: &str = "0.38.17";
/// The size of a transaction's hash in bytes.
const HASH_BYTES: usize = 32;

pub(super) fn status(app: &AppState) -> Value {
    let ledger = app.ledger();
    let head = ledger.state().head();
    let genesis = hex(&ledger.genesis().hash());
    json!({
        "node_info": {
            "protocol_version": { "p2p": "8", "block": "11", "app": "1" },
            "id": genesis[..40].to_lowercase(), "listen_addr": app.settings.listen.to_string(),
            "network": ledger.genesis().chain_id, "version": VERSION, "channels": "", "moniker": "r3mes-wgpu",
            "other": { "tx_index": "on", "rpc_address": format!("tcp://{}", app.settings.listen) },
        },
        "sync_info": {
            "latest_block_hash": hex(&head.hash), "latest_app_hash": hex(&ledger.root()),
            "latest_block_height": head.height.to_string(), "latest_block_time": rfc3339(head.time),
            "earliest_block_hash": genesis, "earliest_app_hash": genesis, "earliest_block_height": "1",
            "earliest_block_time": rfc3339(head.time), "catching_up": false,
        },
        "validator_info": {
            "address": genesis[..40], "voting_power": "1",
            // the sequencer signs no blocks, but CosmJS requires a key here
            "pub_key": { "type": "tendermint/PubKeyEd25519", "value": BASE64.encode(ledger.genesis().hash()) },
        },
    })
}

pub(super) fn abci_info(app: &AppState) -> Value {
    let ledger = app.ledger();
    json!({ "response": {
        "data": "r3mes-wgpu", "version": env!("CARGO_PKG_VERSION"), "app_version": "1",
        "last_block_height": ledger.state().head().height.to_string(),
        "last_block_app_hash": BASE64.encode(ledger.root()),
    } })
}

pub(super) fn abci_query(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let path = text(params, "path")?;
    let data = unhex(text(params, "data")?).ok_or_else(|| RpcError::invalid("data is not hexadecimal"))?;
    let ledger = app.ledger();
    let (code, log, value) = match ledger.query(path, &data, app.node.min_fee()) {
        Ok(value) => (0, String::new(), value),
        Err(refusal) => (refusal.code, refusal.log, Vec::new()),
    };
    // clients would treat a response with height 0 as a missing response
    let height = ledger.state().head().height.max(1);
    Ok(json!({ "response": {
        "code": code, "log": log, "info": "", "index": "0", "key": null, "value": BASE64.encode(value),
        "proofOps": null, "height": height.to_string(), "codespace": codespace(code),
    } }))
}

pub(super) fn broadcast(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let text = params["tx"].as_str().filter(|text| text.len() <= 2 * MAX_TX_BYTES);
    let tx = text
        .and_then(|text| BASE64.decode(text).ok())
        .ok_or_else(|| RpcError::invalid("tx is missing, not base64, or too large"))?;
    let hash = tx_hash(&tx);
    let ran = app.node.transaction(&hash)?.is_some_and(|found| found.outcome.code == 0);
    let refusal = if ran { None } else { app.node.admit(tx, unix_seconds()).err() };
    let (code, log) = refusal.map_or((0, String::new()), |refusal| (refusal.code, refusal.log));
    Ok(json!({ "code": code, "data": "", "log": log, "codespace": codespace(code), "hash": hash }))
}

/// Returns the transaction whose hash, in base64, is the parameter `hash`.
pub(super) fn tx(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    check_no_proof(params)?;
    let hash = BASE64.decode(text(params, "hash")?).ok().filter(|hash| hash.len() == HASH_BYTES);
    let hash = hex(&hash.ok_or_else(|| RpcError::invalid("hash is not 32 bytes in base64"))?);
    let missing = || RpcError::new(RpcErrorKind::Missing, format!("tx ({hash}) not found"));
    Ok(tx_json(&app.node.transaction(&hash)?.ok_or_else(missing)?))
}

/// Returns a transaction with its result, in the JSON form of the JSON-RPC methods `tx` and `tx_search`.
pub(super) fn tx_json(found: &FoundTx) -> Value {
    let FoundTx { height, index, tx, outcome, .. } = found;
    json!({
        "hash": outcome.hash, "height": height.to_string(), "index": index,
        "tx_result": events::tx_result(outcome, tx), "tx": BASE64.encode(tx),
    })
}

pub(super) fn block(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    let last = app.ledger().state().head().height;
    let height = number(params, "height")?.unwrap_or(last);
    let missing = || {
        RpcError::new(RpcErrorKind::Missing, format!("no block at height {height}; the last block has height {last}"))
    };
    let BlockRecord { block, .. } = app.node.block(height)?.ok_or_else(missing)?;
    let before = match height {
        0 | 1 => None,
        _ => app.node.block(height - 1)?,
    };
    let (last_hash, app_hash) = match before {
        Some(before) => (before.block.hash, before.root),
        None => (app.node.genesis().hash(), [0; 32]),
    };
    let data: Vec<u8> = block.txs.iter().flat_map(|tx| Sha256::digest(&tx.0)).collect();
    let part = json!({ "total": 1, "hash": hex(&block.hash) });
    let empty = hex(&Sha256::digest([]));
    Ok(json!({
        "block_id": { "hash": hex(&block.hash), "parts": part },
        "block": {
            "header": {
                "version": { "block": "11", "app": "1" }, "chain_id": app.node.genesis().chain_id,
                "height": height.to_string(), "time": rfc3339(block.time),
                "last_block_id": { "hash": hex(&last_hash), "parts": { "total": 1, "hash": hex(&last_hash) } },
                "last_commit_hash": empty, "data_hash": hex(&Sha256::digest(&data)), "validators_hash": empty,
                "next_validators_hash": empty, "consensus_hash": empty, "app_hash": hex(&app_hash),
                "last_results_hash": empty, "evidence_hash": empty, "proposer_address": hex(&last_hash)[..40],
            },
            "data": { "txs": block.txs.iter().map(|tx| BASE64.encode(&tx.0)).collect::<Vec<_>>() },
            "evidence": { "evidence": [] },
            "last_commit": {
                "height": (height - 1).to_string(), "round": 0,
                "block_id": { "hash": hex(&last_hash), "parts": { "total": 1, "hash": hex(&last_hash) } },
                "signatures": [],
            },
        },
    }))
}
