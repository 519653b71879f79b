//! Converts the events and the results of transactions to the JSON format of Cosmos nodes.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    ledger::{CosmosEvent, TxOutcome},
    tx::code::codespace,
};
use serde_json::{Value, json};

/// Returns an event, with its type and its attributes, as JSON.
pub(super) fn event_json(CosmosEvent { kind, attributes }: CosmosEvent) -> Value {
    let attribute = |(key, value): (String, String)| json!({ "key": key, "value": value, "index": true });
    json!({ "type": kind, "attributes": attributes.into_iter().map(attribute).collect::<Vec<_>>() })
}

/// Returns the events of the transaction `tx`, whose outcome is `outcome`, as JSON.
pub(super) fn events_json(outcome: &TxOutcome, tx: &[u8]) -> Vec<Value> {
    outcome.cosmos_events(tx).into_iter().map(event_json).collect()
}

/// Returns the result of the transaction `tx` as JSON, with the same fields as in CometBFT. `outcome` is the
/// transaction's outcome.
pub(super) fn tx_result(outcome: &TxOutcome, tx: &[u8]) -> Value {
    json!({
        "code": outcome.code, "data": BASE64.encode(outcome.data()), "log": outcome.log, "info": "",
        "gas_wanted": "0", "gas_used": "0", "events": events_json(outcome, tx),
        "codespace": codespace(outcome.code),
    })
}
