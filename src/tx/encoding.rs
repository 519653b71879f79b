//! The canonical protobuf encoding. Only this encoding of a transaction is accepted, because otherwise the same
//! transaction would have many hashes: protobuf permits unknown fields, and fields in any order.
//!
//! The canonical encoding is the one that protobuf encoders write and that ADR-027 of the Cosmos SDK describes:
//! <https://docs.cosmos.network/main/build/architecture/adr-027-deterministic-protobuf-serialization>.

use super::TxError;
use cosmrs::proto::cosmos::tx::v1beta1::TxBody;
use prost::{
    Message, Name,
    encoding::{DecodeContext, decode_key, skip_field},
};

/// The field number of `TxBody.non_critical_extension_options`.
const NON_CRITICAL_EXTENSION_OPTIONS: u32 = 2047;

/// Decodes a protobuf message. Fails unless `bytes` is the canonical encoding of the message, without unknown fields.
pub(super) fn decode<M: Message + Name + Default>(bytes: &[u8]) -> Result<M, TxError> {
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

/// Decodes the body of a transaction. Also returns whether the body has unknown fields that are not critical; these are
/// ignored. Fails if the known fields are not in the canonical encoding, or if another field is unknown.
pub(super) fn decode_body(bytes: &[u8]) -> Result<(TxBody, bool), TxError> {
    let known =
        without_non_critical(bytes).map_err(|error| TxError::Malformed(format!("{}: {error}", TxBody::NAME)))?;
    Ok((decode(&known)?, known.len() < bytes.len()))
}

/// Returns the encoded message without the unknown fields that are not critical. Readers may ignore a field of a
/// `TxBody` whose number has the bit with the value 1024, as ADR-020 of the Cosmos SDK states.
fn without_non_critical(bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
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
