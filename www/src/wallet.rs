//! Builds the transactions and statements that open and close a session. A wallet signs them; the page only passes them
//! on.

use r3mes_wgpu::tx::{
    Fee, GrantPair, Message, MinimumFee, MsgCloseSession, MsgOpenSession, Session, SessionKey, TxError, Unsigned,
    address_of, canonical_address,
};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** An unsigned transaction: the two parts that the signature covers, as a wallet's `signDirect` expects them. */
export interface Unsigned { bodyBytes: Uint8Array; authInfoBytes: Uint8Array }
/**
 * An unsigned transaction that the wallet signs as JSON, for its method `signAmino`. `document` is the JSON of the
 * object that the wallet signs, of the type `StdSignDoc`.
 */
export interface AminoUnsigned extends Unsigned { document: string }
/** The chain's minimum fee in micro-units: for a transaction, plus an amount for each of its bytes and each row that it may add. */
export interface MinimumFee { floor: number; perByte: number; perRow: number }
/** What the account's next transaction needs: its compressed public key, its sequence number, and the minimum fee. */
export interface Account { pubKey: Uint8Array; sequence: number; fee: MinimumFee }
/**
 * A session to grant: the largest total of fees in micro-units, the end in seconds since 1970, and whether the session
 * replaces an existing fee allowance.
 */
export interface Granted extends Account { grantee: string; cap: number; expires: number; renews: boolean }
/** The grants to revoke: the type URLs of the granted messages, and whether there is a fee allowance to revoke. */
export interface Revoked extends Account { grantee: string; messages: string[]; allowance: boolean }
/**
 * A statement by the owner of `pubKey` that opens a session. `number` is how many times the owner has opened or revoked
 * a session of this grantee so far.
 */
export interface OpeningSession { chainId: string; pubKey: Uint8Array; grantee: string; cap: number; expires: number; number: number }
/** A statement by the owner of `pubKey` that closes a session. `number` has the same meaning as in `OpeningSession`. */
export interface ClosingSession { chainId: string; pubKey: Uint8Array; grantee: string; number: number }
/** What the session key needs in order to send a statement. `signature` is the wallet's signature, of 64 bytes. */
export interface Carried { secret: Uint8Array; signature: Uint8Array; sequence: number; fee: MinimumFee }
"#;

/// The chain's minimum fee: the Rust form of the TypeScript interface `MinimumFee`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    floor: u64,
    per_byte: u64,
    per_row: u64,
}

impl Prices {
    /// Returns the minimum fee, in micro-units, of a transaction with these messages and this sequence number. The fee
    /// depends on the size of the transaction. `with_fee` returns the bytes of the transaction with the given fee.
    fn fee(
        self,
        sequence: u64,
        messages: &[Message],
        with_fee: impl Fn(u64) -> Result<Vec<u8>, TxError>,
    ) -> Result<u64, TxError> {
        let Self { floor, per_byte, per_row } = self;
        // `u64::MAX` has at least as many digits as the final amount, so the transaction does not become larger
        let bytes = with_fee(u64::MAX)?.len();
        Ok(MinimumFee { floor, per_byte, per_row }.of(bytes, messages, sequence == 0))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    #[serde(with = "serde_bytes")]
    pub_key: Vec<u8>,
    sequence: u64,
    fee: Prices,
}

impl Account {
    fn pair(&self, grantee: &str) -> Result<GrantPair, JsError> {
        Ok(GrantPair::read(&address_of(&self.pub_key)?, grantee)?)
    }

    fn unsigned(&self, messages: &[Message]) -> Result<JsValue, JsError> {
        let unsigned = |amount| Unsigned::new(&self.pub_key, self.sequence, &Fee { amount, granter: None }, messages);
        let amount = self.fee.fee(self.sequence, messages, |amount| unsigned(amount)?.assemble(vec![0; 64]))?;
        let Unsigned { body_bytes, auth_info_bytes } = unsigned(amount)?;
        Ok(serde_wasm_bindgen::to_value(&UnsignedBytes { body_bytes, auth_info_bytes })?)
    }
}

/// An unsigned transaction: the Rust form of the TypeScript interface `Unsigned`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnsignedBytes {
    #[serde(with = "serde_bytes")]
    body_bytes: Vec<u8>,
    #[serde(with = "serde_bytes")]
    auth_info_bytes: Vec<u8>,
}

/// An unsigned transaction that the wallet signs as JSON: the Rust form of the TypeScript interface `AminoUnsigned`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AminoUnsigned {
    #[serde(with = "serde_bytes")]
    body_bytes: Vec<u8>,
    #[serde(with = "serde_bytes")]
    auth_info_bytes: Vec<u8>,
    document: String,
}

/// A session to grant: the fields of the TypeScript interface `Granted` that it does not inherit from `Account`.
#[derive(Deserialize)]
struct GrantRequest {
    grantee: String,
    cap: u64,
    expires: u64,
    renews: bool,
}

/// The grants to revoke: the fields of the TypeScript interface `Revoked` that it does not inherit from `Account`.
#[derive(Deserialize)]
struct RevokeRequest {
    grantee: String,
    messages: Vec<String>,
    allowance: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpeningSession {
    chain_id: String,
    #[serde(with = "serde_bytes")]
    pub_key: Vec<u8>,
    grantee: String,
    cap: u64,
    expires: u64,
    number: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClosingSession {
    chain_id: String,
    #[serde(with = "serde_bytes")]
    pub_key: Vec<u8>,
    grantee: String,
    number: u64,
}

/// The data needed to send a statement in a transaction of the session key, such as the secret of the key and the
/// wallet's signature of the statement: the Rust form of the TypeScript interface `Carried`.
#[derive(Deserialize)]
struct SessionTx {
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
    sequence: u64,
    fee: Prices,
}

impl SessionTx {
    /// Returns a transaction that contains `message` and is signed with the session key. The message contains a signed
    /// statement. The account that has signed the statement, `granter`, pays the fee.
    fn sign(&self, chain_id: &str, granter: String, message: Message) -> Result<Vec<u8>, JsError> {
        let (key, messages) = (key(&self.secret)?, [message]);
        let sign = |amount| {
            let granter = Some(granter.clone()).filter(|_| amount > 0);
            key.sign(chain_id, self.sequence, &Fee { amount, granter }, &messages)
        };
        Ok(sign(self.fee.fee(self.sequence, &messages, sign)?)?)
    }
}

/// Returns the address of a session key, given its secret of 32 bytes.
#[wasm_bindgen(js_name = sessionAddress)]
pub fn session_address(secret: &[u8]) -> Result<String, JsError> {
    Ok(key(secret)?.address().to_owned())
}

/// Returns the address that a compressed secp256k1 public key has on this chain.
#[wasm_bindgen(js_name = addressOf)]
pub fn address(public_key: &[u8]) -> Result<String, JsError> {
    Ok(address_of(public_key)?)
}

/// Returns the unsigned transaction (`Unsigned`) with which an account grants a session. `options` is an object of the
/// type `Granted`.
#[wasm_bindgen(js_name = sessionGrant)]
pub fn session_grant(options: JsValue) -> Result<JsValue, JsError> {
    let account: Account = serde_wasm_bindgen::from_value(options.clone())?;
    let GrantRequest { grantee, cap, expires, renews } = serde_wasm_bindgen::from_value(options)?;
    let session = Session { pair: account.pair(&grantee)?, cap, expires };
    let mut messages = session.grant();
    if renews {
        messages.insert(0, Message::RevokeAllowance(session.pair));
    }
    account.unsigned(&messages)
}

/// Returns the unsigned transaction (`Unsigned`) with which an account revokes its grants to a session key. `options`
/// is an object of the type `Revoked`.
#[wasm_bindgen(js_name = sessionRevoke)]
pub fn session_revoke(options: JsValue) -> Result<JsValue, JsError> {
    let account: Account = serde_wasm_bindgen::from_value(options.clone())?;
    let RevokeRequest { grantee, messages, allowance } = serde_wasm_bindgen::from_value(options)?;
    let pair = account.pair(&grantee)?;
    let mut messages: Vec<_> = messages.into_iter().map(|message| Message::Revoke(pair.clone(), message)).collect();
    if allowance {
        messages.push(Message::RevokeAllowance(pair));
    }
    account.unsigned(&messages)
}

/// Returns a signed transaction, ready to be broadcast. `body_bytes` and `auth_info_bytes` are what the wallet has
/// signed; `signature` has 64 bytes.
#[wasm_bindgen]
pub fn assemble(body_bytes: Vec<u8>, auth_info_bytes: Vec<u8>, signature: Vec<u8>) -> Result<Vec<u8>, JsError> {
    Ok(Unsigned { body_bytes, auth_info_bytes }.assemble(signature)?)
}

/// Converts an unsigned transaction, given as the fields of an `Unsigned` object, to the form for a wallet that signs
/// JSON (`AminoUnsigned`), such as a wallet whose key is on a Ledger device.
#[wasm_bindgen(js_name = inAmino)]
pub fn in_amino(body_bytes: Vec<u8>, auth_info_bytes: Vec<u8>, chain_id: &str) -> Result<JsValue, JsError> {
    let unsigned = Unsigned { body_bytes, auth_info_bytes }.in_amino()?;
    let document = unsigned.amino_document(chain_id)?;
    let Unsigned { body_bytes, auth_info_bytes } = unsigned;
    Ok(serde_wasm_bindgen::to_value(&AminoUnsigned { body_bytes, auth_info_bytes, document })?)
}

/// Returns a signed transaction, ready to be broadcast. `body_bytes` and `auth_info_bytes` are those that `inAmino`
/// returned; `signed` is the JSON of the object that the wallet has signed, and `signature` has 64 bytes. Fails if the
/// wallet has signed anything other than the document that `inAmino` returned.
#[wasm_bindgen(js_name = assembleAmino)]
pub fn assemble_amino(
    body_bytes: Vec<u8>,
    auth_info_bytes: Vec<u8>,
    chain_id: &str,
    signed: &str,
    signature: Vec<u8>,
) -> Result<Vec<u8>, JsError> {
    Ok(Unsigned { body_bytes, auth_info_bytes }.assemble_amino(chain_id, signed, signature)?)
}

/// Returns the text of a statement that opens a session, for the wallet to sign with `signArbitrary`. `opening` is an
/// `OpeningSession` object.
#[wasm_bindgen(js_name = openingStatement)]
pub fn opening_statement(opening: JsValue) -> Result<String, JsError> {
    let opening: OpeningSession = serde_wasm_bindgen::from_value(opening)?;
    let chain_id = opening.chain_id.clone();
    Ok(opened(opening, Vec::new())?.statement(&chain_id))
}

/// Returns a transaction that opens a session and is signed with the session key. The transaction contains the
/// statement `opening` and the wallet's signature of this statement. The signature is a field of `carried`, a `Carried`
/// object.
#[wasm_bindgen(js_name = openSession)]
pub fn open_session(opening: JsValue, carried: JsValue) -> Result<Vec<u8>, JsError> {
    let opening: OpeningSession = serde_wasm_bindgen::from_value(opening)?;
    let carried: SessionTx = serde_wasm_bindgen::from_value(carried)?;
    let (chain_id, granter) = (opening.chain_id.clone(), address_of(&opening.pub_key)?);
    let message = opened(opening, carried.signature.clone())?;
    carried.sign(&chain_id, granter, Message::OpenSession(Box::new(message)))
}

/// Returns the text of a statement that closes a session, for the wallet to sign with `signArbitrary`. `closing` is a
/// `ClosingSession` object.
#[wasm_bindgen(js_name = closingStatement)]
pub fn closing_statement(closing: JsValue) -> Result<String, JsError> {
    let closing: ClosingSession = serde_wasm_bindgen::from_value(closing)?;
    let chain_id = closing.chain_id.clone();
    Ok(closed(closing, String::new(), Vec::new())?.statement(&chain_id))
}

/// Returns a transaction that closes a session and is signed with the session key. The transaction contains the
/// statement `closing` and the wallet's signature of this statement. The signature is a field of `carried`, a `Carried`
/// object.
#[wasm_bindgen(js_name = closeSession)]
pub fn close_session(closing: JsValue, carried: JsValue) -> Result<Vec<u8>, JsError> {
    let closing: ClosingSession = serde_wasm_bindgen::from_value(closing)?;
    let carried: SessionTx = serde_wasm_bindgen::from_value(carried)?;
    let (chain_id, granter) = (closing.chain_id.clone(), address_of(&closing.pub_key)?);
    let sender = session_address(&carried.secret)?;
    let message = closed(closing, sender, carried.signature.clone())?;
    carried.sign(&chain_id, granter, Message::CloseSession(Box::new(message)))
}

fn opened(opening: OpeningSession, signature: Vec<u8>) -> Result<MsgOpenSession, JsError> {
    let OpeningSession { pub_key, grantee, cap, expires, number, .. } = opening;
    let grantee = canonical_address(&grantee)?;
    let message = MsgOpenSession { grantee, pub_key, expiration: expires, cap, number, signature };
    message.session()?;
    Ok(message)
}

fn closed(closing: ClosingSession, sender: String, signature: Vec<u8>) -> Result<MsgCloseSession, JsError> {
    let ClosingSession { pub_key, grantee, number, .. } = closing;
    Ok(MsgCloseSession { sender, grantee: canonical_address(&grantee)?, pub_key, number, signature })
}

fn key(secret: &[u8]) -> Result<SessionKey, JsError> {
    let secret = secret.try_into().map_err(|_| JsError::new("the secret must have 32 bytes"))?;
    Ok(SessionKey::new(secret)?)
}
