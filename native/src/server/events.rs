//! Events of transactions in the JSON of Cosmos nodes.

use r3mes_wgpu::ledger::Event;
use serde_json::{Value, json};

/// Returns an event with its attributes.
pub(super) fn event_json(event: &Event) -> Value {
    let (name, attributes) = event.attributes();
    let attribute = |(key, value): &(String, String)| json!({ "key": key, "value": value, "index": true });
    json!({ "type": name, "attributes": attributes.iter().map(attribute).collect::<Vec<_>>() })
}
