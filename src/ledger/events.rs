//! Events as Cosmos chains have them.

use super::Event;
use serde_json::Value;

impl Event {
    /// A type, and attributes in text.
    pub fn attributes(&self) -> (String, Vec<(String, String)>) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = serde_json::to_value(self).unwrap_or_default();
        let attributes = fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "type");
        (text(&fields["type"]), attributes.map(|(name, value)| (name.clone(), text(value))).collect())
    }
}
