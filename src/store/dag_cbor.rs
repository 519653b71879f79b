//! Canonical DAG-CBOR, a binary format in which each value has exactly one encoding. [`decode`] accepts bytes only if
//! `encode(decode(bytes)) = bytes`.
//!
//! Every encoded object is a map `{"body": …, "format": "r3mes/NAME/1"}`. The format states the kind of the object, so
//! that an object of one kind is never decoded as another kind.

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

/// Encodes `value` as an object of the format `format`, for example `r3mes/task/1`.
pub fn encode<T: Serialize>(format: &'static str, value: &T) -> Vec<u8> {
    let envelope = Envelope { body: value, format: format.to_owned() };
    serde_ipld_dagcbor::to_vec(&envelope)
        .expect("all formats consist of integers, strings, bytes, lists, maps and CIDs")
}

/// Decodes an object. Fails unless `bytes` are exactly the bytes that [`encode`] returns for `format` and the decoded
/// value.
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
        return Err(malformed("the bytes are not the canonical encoding of their value".to_owned()));
    }
    Ok(envelope.body)
}

/// Returns the format that an encoded object states. Returns `None` if the bytes are not a map of `body` and `format`,
/// for example because another program encoded them.
pub fn format_of(bytes: &[u8]) -> Option<String> {
    let envelope: Envelope<IgnoredAny> = serde_ipld_dagcbor::from_slice(bytes).ok()?;
    Some(envelope.format)
}

/// Encodes `value` as an object of the format `format`, and returns the encoding as a block. Fails if the encoding has
/// more than 1 MiB.
pub fn block<T: Serialize>(format: &'static str, value: &T) -> Result<Block, StoreError> {
    Block::new(Codec::DagCbor, encode(format, value))
}

/// Fetches the block with the CID `cid`, checks its bytes against the CID, and decodes it as an object of the format
/// `format`.
pub fn fetch<T: Serialize + DeserializeOwned>(format: &'static str, cid: &Cid, fetch: Fetch) -> Result<T, StoreError> {
    decode(format, Block::fetch(Codec::DagCbor, cid, fetch)?.bytes())
}
