//! Canonical DAG-CBOR: `decode` accepts bytes only if `encode(decode(bytes)) = bytes`.
//!
//! Every object is `{"body": …, "format": "r3mes/<what>/1"}`, so that an object of one format is never decoded as
//! another.

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

/// Returns the canonical bytes of `value` in the format `format`.
pub fn encode<T: Serialize>(format: &'static str, value: &T) -> Vec<u8> {
    let envelope = Envelope { body: value, format: format.to_owned() };
    serde_ipld_dagcbor::to_vec(&envelope)
        .expect("all formats consist of integers, strings, bytes, lists, maps and CIDs")
}

/// Decodes bytes that [`encode`] returned for the same format. Any other bytes are an error.
pub fn decode<T: Serialize + DeserializeOwned>(format: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    if bytes.len() > super::MAX_BLOCK_BYTES {
        return Err(StoreError::TooLarge { bytes: bytes.len() });
    }
    let malformed = |reason: String| StoreError::Malformed { what: format, reason };
    let envelope: Envelope<T> = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if envelope.format != format {
        return Err(malformed(format!("its format is {:?}", envelope.format)));
    }
    if encode(format, &envelope.body) != bytes {
        return Err(malformed("this is not the canonical encoding of its value".to_owned()));
    }
    Ok(envelope.body)
}

/// Returns the format that an encoded object states, or `None` for objects of other programs.
pub fn format_of(bytes: &[u8]) -> Option<String> {
    let envelope: Envelope<IgnoredAny> = serde_ipld_dagcbor::from_slice(bytes).ok()?;
    Some(envelope.format)
}

/// Returns `value` as a block.
pub fn block<T: Serialize>(format: &'static str, value: &T) -> Result<Block, StoreError> {
    Block::new(Codec::DagCbor, encode(format, value))
}

/// Fetches, checks and decodes the object `cid`.
pub fn fetch<T: Serialize + DeserializeOwned>(format: &'static str, cid: &Cid, fetch: Fetch) -> Result<T, StoreError> {
    decode(format, Block::fetch(Codec::DagCbor, cid, fetch)?.bytes())
}
