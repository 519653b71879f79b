//! The sign mode `SIGN_MODE_LEGACY_AMINO_JSON`, in which a wallet signs a transaction as JSON instead of protobuf.
//! Ledger hardware wallets sign only in this mode.
//!
//! The JSON is the `StdSignDoc` of the Cosmos SDK: its keys are sorted, it contains no spaces, fields with default
//! values are omitted, 64-bit integers are strings, and bytes are in base64. CosmJS and the SDK's package
//! `x/tx/signing/aminojson` produce the same bytes.
//!
//! The transaction itself is encoded in protobuf, and the signature does not cover this encoding. Therefore, two
//! different encodings must never have the same JSON; otherwise anybody could give a signed transaction another hash.
//! This holds because only the canonical encoding is accepted in this sign mode, and because everything in it appears
//! in the JSON.

use super::{
    Message, TxError,
    encoding::{decode_body, decode_canonical},
    transaction::ACCOUNT_NUMBER,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::proto::{
    Timestamp,
    cosmos::{
        base::v1beta1::Coin,
        tx::v1beta1::{AuthInfo, Fee, TxBody},
    },
};
use serde_json::{Map, Value};

/// The largest length, in bytes, of an amino name that a Ledger hardware wallet can show. The amino name identifies the
/// type of a message in amino JSON, the JSON that wallets sign instead of protobuf.
pub(super) const MAX_NAME_BYTES: usize = 39;

/// A message type, or the type of a field in a message, whose values can be written in amino JSON, the JSON that
/// wallets sign instead of protobuf.
pub(super) trait Amino {
    /// Returns this value in amino JSON. Returns `None` if the value is the default value of its type, because amino
    /// JSON omits fields with default values.
    fn to_amino(&self) -> Option<Value>;
}

impl Amino for u64 {
    fn to_amino(&self) -> Option<Value> {
        (*self != 0).then(|| self.to_string().into())
    }
}

impl Amino for u32 {
    fn to_amino(&self) -> Option<Value> {
        (*self != 0).then(|| (*self).into())
    }
}

impl Amino for i32 {
    fn to_amino(&self) -> Option<Value> {
        (*self != 0).then(|| (*self).into())
    }
}

impl Amino for bool {
    fn to_amino(&self) -> Option<Value> {
        self.then_some(Value::Bool(true))
    }
}

impl Amino for String {
    fn to_amino(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.as_str().into())
    }
}

impl Amino for Vec<u8> {
    fn to_amino(&self) -> Option<Value> {
        (!self.is_empty()).then(|| BASE64.encode(self).into())
    }
}

impl Amino for Vec<u64> {
    fn to_amino(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.iter().map(u64::to_string).collect())
    }
}

impl Amino for Vec<i32> {
    fn to_amino(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.iter().copied().collect())
    }
}

impl Amino for Vec<String> {
    fn to_amino(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.iter().map(String::as_str).collect())
    }
}

/// Amino JSON contains empty lists of coins, although it omits empty lists of anything else.
impl Amino for Vec<Coin> {
    fn to_amino(&self) -> Option<Value> {
        let coin = |Coin { denom, amount }: &Coin| {
            object([("amount", Some(amount.as_str().into())), ("denom", Some(denom.as_str().into()))])
        };
        Some(self.iter().map(coin).collect())
    }
}

impl<T: Amino> Amino for Option<T> {
    fn to_amino(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_amino)
    }
}

/// A time is written in the format of RFC 3339, in UTC. The fraction of a second is written without trailing zeros.
impl Amino for Timestamp {
    fn to_amino(&self) -> Option<Value> {
        let nanos = u32::try_from(self.nanos).ok()?;
        let time = cosmrs::tendermint::Time::from_unix_timestamp(self.seconds, nanos).ok()?;
        Some(time.to_rfc3339().into())
    }
}

/// Returns a JSON object of those fields whose value is not `None`. The keys of the object are sorted.
pub(super) fn object<const FIELDS: usize>(mut fields: [(&str, Option<Value>); FIELDS]) -> Value {
    // depending on its features, `Map` sorts its keys or keeps them in the order of insertion
    fields.sort_unstable_by_key(|(name, _)| *name);
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

/// Returns a JSON object with two fields: `type` is the given name, and `value` is the given value. This is the form of
/// a message in amino JSON.
pub(super) fn typed(name: &str, value: Value) -> Value {
    object([("type", Some(name.into())), ("value", Some(value))])
}

/// Returns the document that a wallet signs, the `StdSignDoc` of a transaction. Fails unless the body, the signer
/// information and all messages are in the canonical encoding.
pub(super) fn sign_doc(body: &[u8], auth_info: &[u8], chain_id: &str) -> Result<Value, TxError> {
    let refused = |what: &str| TxError::Amino(what.to_owned());
    let (read, has_unknown_fields) = decode_body(body)?;
    if has_unknown_fields || !read.extension_options.is_empty() || !read.non_critical_extension_options.is_empty() {
        return Err(refused("the transaction must not have extension options or unknown fields"));
    }
    let (body, auth_info): (TxBody, AuthInfo) = (decode_canonical(body)?, decode_canonical(auth_info)?);
    let [info] = &auth_info.signer_infos[..] else { return Err(refused("the transaction must have one signer")) };
    let Some(Fee { amount, gas_limit, payer, granter }) = &auth_info.fee else {
        return Err(refused("the transaction must state a fee"));
    };
    let fee = object([
        ("amount", amount.to_amino()),
        ("gas", Some(gas_limit.to_string().into())),
        ("granter", granter.to_amino()),
        ("payer", payer.to_amino()),
    ]);
    let messages = body.messages.iter().map(Message::amino).collect::<Result<Vec<_>, _>>()?;
    Ok(object([
        ("account_number", Some(ACCOUNT_NUMBER.to_string().into())),
        ("chain_id", Some(chain_id.into())),
        ("fee", Some(fee)),
        ("memo", Some(body.memo.into())),
        ("msgs", Some(messages.into())),
        ("sequence", Some(info.sequence.to_string().into())),
        ("timeout_height", body.timeout_height.to_amino()),
    ]))
}

/// Returns the bytes that a wallet signs, given the document that [`sign_doc`] returns. The characters `&`, `<` and `>`
/// are written as escape sequences such as `\u0026`, because the Cosmos SDK uses Go's JSON encoder, which does the
/// same.
pub(super) fn sign_bytes(document: &Value) -> Vec<u8> {
    let json = document.to_string();
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e").into_bytes()
}
