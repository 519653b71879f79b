//! Converts the events that transactions emit to the JSON format of Cosmos nodes.

use r3mes_wgpu::ledger::Event;
use serde_json::{Value, json};

/// Returns an event, with its type and its attributes, as JSON.
pub(super) fn event_json(event: &Event) -> Value {
    let (name, attributes) = event.attributes();
    let attribute = |(key, value): &(String, String)| json!({ "key": key, "value": value, "index": true });
    json!({ "type": name, "attributes": attributes.iter().map(attribute).collect::<Vec<_>>() })
}
