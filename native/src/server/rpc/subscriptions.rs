//! The subscriptions of a client to events, and the messages that report the events of a block to the subscribed
//! clients.

use super::{EventQuery, RpcError, RpcErrorKind, call, query::EventAttributes, respond, text};
use crate::{
    node::{AddedBlock, attributes},
    server::{
        events::{event_json, tx_result},
        state::AppState,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::ledger::CosmosEvent;
use serde_json::{Value, json};

/// The maximum number of subscriptions of one connection, as in CometBFT.
const MAX_SUBSCRIPTIONS: usize = 5;

/// The subscriptions of a connection.
#[derive(Clone, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

#[derive(Clone)]
struct Subscription {
    /// The ID of the call that subscribed. The messages with the events have the same ID.
    id: Value,
    text: String,
    query: EventQuery,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Executes the JSON-RPC method `subscribe`, which adds a subscription.
    pub(super) fn add(&mut self, id: &Value, params: &Value) -> Result<(), RpcError> {
        let text = text(params, "query")?.to_owned();
        let query = text.parse().map_err(|error: String| RpcError::invalid(format!("invalid query: {error}")))?;
        if self.0.iter().any(|other| other.text == text) {
            return Err(RpcError::invalid("already subscribed to this query"));
        }
        if self.0.len() >= MAX_SUBSCRIPTIONS {
            return Err(RpcError::invalid(format!(
                "the connection already has {MAX_SUBSCRIPTIONS} subscriptions: unsubscribe from one of them first"
            )));
        }
        self.0.push(Subscription { id: id.clone(), text, query });
        Ok(())
    }

    /// Executes the JSON-RPC method `unsubscribe`, which removes the subscription with the given query.
    pub(super) fn remove(&mut self, _: &Value, params: &Value) -> Result<(), RpcError> {
        let text = text(params, "query")?;
        let at = self.0.iter().position(|subscription| subscription.text == text);
        let at = at.ok_or_else(|| RpcError::new(RpcErrorKind::Missing, "subscription not found"))?;
        self.0.remove(at);
        Ok(())
    }

    /// Executes the JSON-RPC method `unsubscribe_all`, which removes all subscriptions of the connection.
    pub(super) fn clear(&mut self, _: &Value, _: &Value) -> Result<(), RpcError> {
        self.0.clear();
        Ok(())
    }
}

/// Returns the messages that report the events of a newly added block to their subscribers.
pub(super) fn events_of(
    app: &AppState,
    added: &AddedBlock,
    Subscriptions(subscriptions): &Subscriptions,
) -> Result<Vec<Value>, RpcError> {
    let AddedBlock { block, applied } = added;
    let mut messages = Vec::new();
    let mut report = |name: &str, mut event: EventAttributes, value: &dyn Fn() -> Result<Value, RpcError>| {
        event.insert("tm.event".to_owned(), vec![name.to_owned()]);
        let mut subscribers = subscriptions.iter().filter(|subscriber| subscriber.query.matches(&event)).peekable();
        if subscribers.peek().is_none() {
            return Ok::<_, RpcError>(());
        }
        let data = json!({ "type": format!("tendermint/event/{name}"), "value": value()? });
        messages.extend(subscribers.map(|Subscription { id, text, .. }| {
            respond(id, Ok(json!({ "query": text, "data": data, "events": event })))
        }));
        Ok(())
    };

    let height = block.height.to_string();
    let read = || call(app, "block", &json!({ "height": height }));
    let events = || applied.events.iter().map(CosmosEvent::from);
    let outcomes = || applied.outcomes.iter().zip(&block.txs);
    report("NewBlock", grouped(attributes(events().collect())), &|| {
        let mut value = read()?;
        let root = app.node.block(block.height)?.map(|record| BASE64.encode(record.root));
        value["result_finalize_block"] = json!({
            "events": events().map(event_json).collect::<Vec<_>>(), "validator_updates": [], "app_hash": root,
            "tx_results": outcomes().map(|(outcome, tx)| tx_result(outcome, &tx.0)).collect::<Vec<_>>(),
        });
        Ok(value)
    })?;
    report("NewBlockHeader", EventAttributes::new(), &|| Ok(json!({ "header": read()?["block"]["header"].take() })))?;
    for (index, (outcome, tx)) in outcomes().enumerate() {
        let own = [("tx.hash", &outcome.hash), ("tx.height", &height)];
        let own = own.map(|(key, value)| (key.to_owned(), value.clone()));
        report("Tx", grouped(attributes(outcome.cosmos_events(&tx.0)).chain(own)), &|| {
            Ok(json!({ "TxResult": {
                "height": height, "index": index, "tx": BASE64.encode(&tx.0), "result": tx_result(outcome, &tx.0),
            } }))
        })?;
    }
    Ok(messages)
}

/// Groups pairs of a key and a value by their keys. Returns a map from each key to all of its values.
fn grouped(pairs: impl Iterator<Item = (String, String)>) -> EventAttributes {
    pairs.fold(EventAttributes::new(), |mut all, (key, value)| {
        all.entry(key).or_default().push(value);
        all
    })
}
