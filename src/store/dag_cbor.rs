//! Canonical DAG-CBOR: `decode(bytes) = value` only where `encode(value) = bytes`.
//!
//! Every object is `{"body": …, "format": "r3mes/<what>/1"}`, so bytes of one form are never read as another.

use super::{Block, Codec, Fetch, StoreError};
use cid::Cid;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<T> {
    body: T,
    format: String,
}

/// The canonical bytes of `value` as the form `format`.
pub fn encode<T: Serialize>(format: &'static str, value: &T) -> Vec<u8> {
    let envelope = Envelope { body: value, format: format.to_owned() };
    serde_ipld_dagcbor::to_vec(&envelope).expect("our forms hold integers, strings, bytes, lists, maps and CIDs only")
}

/// Reads what [`encode`] wrote, and nothing else.
pub fn decode<T: Serialize + DeserializeOwned>(format: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    if bytes.len() > super::MAX_BLOCK_BYTES {
        return Err(StoreError::TooLarge { bytes: bytes.len() });
    }
    let malformed = |reason: String| StoreError::Malformed { what: format, reason };
    let envelope: Envelope<T> = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if envelope.format != format {
        return Err(malformed(format!("format is {:?}", envelope.format)));
    }
    if encode(format, &envelope.body) != bytes {
        return Err(malformed("another encoding of the same value is the canonical one".to_owned()));
    }
    Ok(envelope.body)
}

/// The form that bytes claim to be of; `None` for other programs' objects.
pub fn format_of(bytes: &[u8]) -> Option<String> {
    let envelope: Envelope<IgnoredAny> = serde_ipld_dagcbor::from_slice(bytes).ok()?;
    Some(envelope.format)
}

/// `value` as a block.
pub fn block<T: Serialize>(format: &'static str, value: &T) -> Result<Block, StoreError> {
    Block::new(Codec::DagCbor, encode(format, value))
}

/// Gets, checks and reads the object named `cid`.
pub fn fetch<T: Serialize + DeserializeOwned>(format: &'static str, cid: &Cid, fetch: Fetch) -> Result<T, StoreError> {
    decode(format, Block::fetch(Codec::DagCbor, cid, fetch)?.bytes())
}
