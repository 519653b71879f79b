//! Decodes the protobuf messages of a transaction. Like the Cosmos SDK, this module refuses unknown fields. The
//! decoders that the library prost generates skip unknown fields silently, so this module searches for them itself.
//!
//! A protobuf message has many encodings: fields may be in any order, and fields with default values may be written or
//! omitted. The bytes that the signature of a transaction covers may be in any of these encodings. All other bytes must
//! be in the **canonical** encoding; otherwise anybody could give a signed transaction another hash. The canonical
//! encoding is the one that protobuf encoders write and that ADR-027 of the Cosmos SDK describes:
//! <https://docs.cosmos.network/main/build/architecture/adr-027-deterministic-protobuf-serialization>.

use super::TxError;
use cosmrs::proto::cosmos::tx::v1beta1::TxBody;
use prost::{
    DecodeError, Message, Name,
    encoding::{DecodeContext, WireType, bytes, decode_key, decode_varint, encode_key, skip_field},
};
use std::collections::{BTreeMap, btree_map::Entry};

/// The field number of `TxBody.non_critical_extension_options`.
const NON_CRITICAL_EXTENSION_OPTIONS: u32 = 2047;
/// The largest depth to which protobuf messages are nested in a valid transaction: an `AuthInfo` contains a
/// `SignerInfo`, which contains a `ModeInfo`, which contains a `ModeInfo.Single`. In messages that are nested more
/// deeply, all fields count as unknown, because a search for unknown fields in deeply nested messages would take long.
const MAX_DEPTH: usize = 3;

/// Decodes a protobuf message from any of its encodings. Fails if the message, or a message nested in it, has an
/// unknown field. The content of an `Any` does not count as nested: the caller decodes this content separately.
pub(super) fn decode<M: Message + Name + Default>(bytes: &[u8]) -> Result<M, TxError> {
    let malformed = |error: DecodeError| TxError::Malformed(format!("{}: {error}", M::NAME));
    let message = M::decode(bytes).map_err(malformed)?;
    // the canonical encoding has no unknown fields, so the search would find none
    if message.encode_to_vec() == bytes {
        return Ok(message);
    }
    match unknown_field::<M>(bytes, &mut Vec::new(), &mut KnownFields::default()).map_err(malformed)? {
        None => Ok(message),
        Some(number) => {
            Err(TxError::Malformed(format!("the message {} has an unknown field with the number {number}", M::NAME)))
        }
    }
}

/// Decodes a protobuf message. Fails unless `bytes` is the canonical encoding of the message, without unknown fields.
pub(super) fn decode_canonical<M: Message + Name + Default>(bytes: &[u8]) -> Result<M, TxError> {
    let message = M::decode(bytes).map_err(|error| TxError::Malformed(format!("{}: {error}", M::NAME)))?;
    match message.encode_to_vec() == bytes {
        true => Ok(message),
        false => Err(TxError::Malformed(format!(
            "{} is not in the canonical encoding: each field must be known, be in the order of the field numbers, and be \
             omitted if it has its default value",
            M::NAME
        ))),
    }
}

/// Decodes the body of a transaction. Unknown fields that are not critical are ignored; the returned flag is true if
/// the body has such fields. Fails if the body has a critical unknown field.
pub(super) fn decode_body(bytes: &[u8]) -> Result<(TxBody, bool), TxError> {
    let known =
        without_non_critical(bytes).map_err(|error| TxError::Malformed(format!("{}: {error}", TxBody::NAME)))?;
    Ok((decode(&known)?, known.len() < bytes.len()))
}

/// Returns an encoded `TxBody` without its unknown fields that are not critical. A field is not critical if bit 10
/// (value 1024) of its field number is set; ADR-020 of the Cosmos SDK permits decoders to ignore such fields.
fn without_non_critical(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (mut known, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while !rest.is_empty() {
        let field = rest;
        let (number, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        if number & 1024 == 0 || number == NON_CRITICAL_EXTENSION_OPTIONS {
            known.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    Ok(known)
}

/// The known fields of a message type that a search for unknown fields has found so far. The map's keys are the field
/// numbers. If a field contains messages, its entry holds the known fields of these messages; otherwise the entry is
/// `None`.
#[derive(Default)]
struct KnownFields(BTreeMap<u32, Option<KnownFields>>);

/// Returns the number of the first unknown field of the encoded message `bytes`, or `None` if all fields are known. If
/// `path` is empty, `bytes` is a whole message of the type `M`. Otherwise, `bytes` is a message nested in a message of
/// the type `M`, and `path` contains the field numbers that lead to the nested message, from the outermost message
/// inward. The outermost message must be decodable.
fn unknown_field<M: Message + Default>(
    bytes: &[u8],
    path: &mut Vec<u32>,
    known: &mut KnownFields,
) -> Result<Option<u32>, DecodeError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let mut content = rest;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        let inside = match known.0.entry(number) {
            Entry::Occupied(field) => field.into_mut(),
            Entry::Vacant(_) if path.len() > MAX_DEPTH || !is_known::<M>(path, number) => return Ok(Some(number)),
            Entry::Vacant(field) => {
                let has_messages = wire_type == WireType::LengthDelimited && has_messages::<M>(path, number);
                field.insert(has_messages.then(KnownFields::default))
            }
        };
        if let Some(inside) = inside {
            let length = decode_varint(&mut content)? as usize;
            path.push(number);
            if let Some(unknown) = unknown_field::<M>(&content[..length], path, inside)? {
                return Ok(Some(unknown));
            }
            path.pop();
        }
    }
    Ok(None)
}

/// Returns whether the type of a nested message has a field with this number. `path` contains the field numbers that
/// lead from a message of the type `M` to the nested message. To find out, this function encodes the field as an empty
/// group (an old protobuf wire type) and decodes the result. If the field is unknown, the decoder skips the group. If
/// the field is known, the decoder fails, because no message in a transaction has a field that is a group.
fn is_known<M: Message + Default>(path: &[u32], number: u32) -> bool {
    let mut group = Vec::new();
    encode_key(number, WireType::StartGroup, &mut group);
    encode_key(number, WireType::EndGroup, &mut group);
    M::decode(&*nested(path, group)).is_err()
}

/// Returns whether a known field contains messages rather than strings, bytes or packed integers, which have the same
/// wire type. To find out, this function decodes a message in which the field's content is one zero byte. The decoder
/// fails only if the field contains messages, because no field of a message has the number 0.
fn has_messages<M: Message + Default>(path: &[u32], number: u32) -> bool {
    let mut field = Vec::new();
    bytes::encode(number, &vec![0], &mut field);
    M::decode(&*nested(path, field)).is_err()
}

/// Wraps the encoded field `field` in one message for each field number in `path`, and returns the outermost message,
/// encoded. `path` lists the field numbers from the outermost message inward.
fn nested(path: &[u32], field: Vec<u8>) -> Vec<u8> {
    path.iter().rev().fold(field, |content, number| {
        let mut outer = Vec::new();
        bytes::encode(*number, &content, &mut outer);
        outer
    })
}
