//! Builds the transactions and statements that open and close a session, which wallets sign. The page only passes them
//! on.

use r3mes_wgpu::tx::{
    Fee, GrantPair, Message, MsgCloseSession, MsgOpenSession, Session, SessionKey, Unsigned, address_of,
};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** The bytes that a signature covers, as `signDirect` takes them. */
export interface Unsigned { bodyBytes: Uint8Array; authInfoBytes: Uint8Array }
/** The account's next transaction: its compressed public key, sequence number, and fee in micro-units. */
export interface Account { pubKey: Uint8Array; sequence: number; fee: number }
/** A session to grant: its cap in micro-units, its end in seconds since 1970, and whether it replaces an allowance. */
export interface Granted extends Account { grantee: string; cap: number; expires: number; renews: boolean }
/** The grants to revoke: type URLs of messages, and whether there is an allowance. */
export interface Revoked extends Account { grantee: string; messages: string[]; allowance: boolean }
/** A statement by the owner of the key `pubKey`: the `number`th one between owner and grantee. */
export interface OpeningSession { chainId: string; pubKey: Uint8Array; grantee: string; cap: number; expires: number; number: number }
export interface ClosingSession { chainId: string; pubKey: Uint8Array; grantee: string; number: number }
/** The session's next transaction, which carries a statement with its signature of 64 bytes. */
export interface Carried { secret: Uint8Array; signature: Uint8Array; sequence: number; fee: number }
"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    #[serde(with = "serde_bytes")]
    pub_key: Vec<u8>,
    sequence: u64,
    fee: u64,
}

impl Account {
    fn pair(&self, grantee: &str) -> Result<GrantPair, JsError> {
        Ok(GrantPair { granter: address_of(&self.pub_key)?, grantee: grantee.to_owned() })
    }

    fn unsigned(&self, messages: &[Message]) -> Result<JsValue, JsError> {
        let fee = Fee { amount: self.fee, granter: None };
        let Unsigned { body_bytes, auth_info_bytes } = Unsigned::new(&self.pub_key, self.sequence, &fee, messages)?;
        Ok(serde_wasm_bindgen::to_value(&UnsignedBytes { body_bytes, auth_info_bytes })?)
    }
}

/// The interface `Unsigned` of the TypeScript above.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnsignedBytes {
    #[serde(with = "serde_bytes")]
    body_bytes: Vec<u8>,
    #[serde(with = "serde_bytes")]
    auth_info_bytes: Vec<u8>,
}

/// The interface `Granted` of the TypeScript above, without the account.
#[derive(Deserialize)]
struct GrantRequest {
    grantee: String,
    cap: u64,
    expires: u64,
    renews: bool,
}

/// The interface `Revoked` of the TypeScript above, without the account.
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

/// The interface `Carried` of the TypeScript above.
#[derive(Deserialize)]
struct SessionTx {
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
    sequence: u64,
    fee: u64,
}

impl SessionTx {
    /// Signs a transaction with the session key. The granter, who signed the statement in the message, pays the fee.
    fn sign(&self, chain_id: &str, granter: String, message: Message) -> Result<Vec<u8>, JsError> {
        let fee = Fee { amount: self.fee, granter: Some(granter).filter(|_| self.fee > 0) };
        Ok(key(&self.secret)?.sign(chain_id, self.sequence, &fee, &[message])?)
    }
}

impl From<OpeningSession> for MsgOpenSession {
    fn from(OpeningSession { pub_key, grantee, cap, expires, number, .. }: OpeningSession) -> Self {
        Self { grantee, pub_key, expiration: expires, cap, number, signature: Vec::new() }
    }
}

/// Returns the address that belongs to a session's secret key.
#[wasm_bindgen(js_name = sessionAddress)]
pub fn session_address(secret: &[u8]) -> Result<String, JsError> {
    Ok(key(secret)?.address().to_owned())
}

/// Returns the address that belongs to a compressed secp256k1 public key on this chain.
#[wasm_bindgen(js_name = addressOf)]
pub fn address(public_key: &[u8]) -> Result<String, JsError> {
    Ok(address_of(public_key)?)
}

/// Converts `Granted` to `Unsigned`: the account's transaction that grants a session.
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

/// Converts `Revoked` to `Unsigned`: the account's transaction that revokes the grants.
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

/// Returns the signed transaction, given the bytes that the wallet signed and the signature of 64 bytes.
#[wasm_bindgen]
pub fn assemble(body_bytes: Vec<u8>, auth_info_bytes: Vec<u8>, signature: Vec<u8>) -> Result<Vec<u8>, JsError> {
    Ok(Unsigned { body_bytes, auth_info_bytes }.assemble(signature)?)
}

/// Returns the text of an `OpeningSession` statement, which the wallet signs with `signArbitrary`.
#[wasm_bindgen(js_name = openingStatement)]
pub fn opening_statement(opening: JsValue) -> Result<String, JsError> {
    let opening: OpeningSession = serde_wasm_bindgen::from_value(opening)?;
    let chain_id = opening.chain_id.clone();
    let opening = MsgOpenSession::from(opening);
    opening.session()?;
    Ok(opening.statement(&chain_id))
}

/// Returns the session's signed transaction that contains an `OpeningSession` statement with its signature.
#[wasm_bindgen(js_name = openSession)]
pub fn open_session(opening: JsValue, carried: JsValue) -> Result<Vec<u8>, JsError> {
    let opening: OpeningSession = serde_wasm_bindgen::from_value(opening)?;
    let carried: SessionTx = serde_wasm_bindgen::from_value(carried)?;
    let (chain_id, granter) = (opening.chain_id.clone(), address_of(&opening.pub_key)?);
    let message = MsgOpenSession { signature: carried.signature.clone(), ..opening.into() };
    carried.sign(&chain_id, granter, Message::OpenSession(Box::new(message)))
}

/// Returns the text of a `ClosingSession` statement, which the wallet signs with `signArbitrary`.
#[wasm_bindgen(js_name = closingStatement)]
pub fn closing_statement(closing: JsValue) -> Result<String, JsError> {
    let closing: ClosingSession = serde_wasm_bindgen::from_value(closing)?;
    let chain_id = closing.chain_id.clone();
    Ok(closed(closing, String::new(), Vec::new()).statement(&chain_id))
}

/// Returns the session's signed transaction that contains a `ClosingSession` statement with its signature.
#[wasm_bindgen(js_name = closeSession)]
pub fn close_session(closing: JsValue, carried: JsValue) -> Result<Vec<u8>, JsError> {
    let closing: ClosingSession = serde_wasm_bindgen::from_value(closing)?;
    let carried: SessionTx = serde_wasm_bindgen::from_value(carried)?;
    let (chain_id, granter) = (closing.chain_id.clone(), address_of(&closing.pub_key)?);
    let sender = session_address(&carried.secret)?;
    let message = closed(closing, sender, carried.signature.clone());
    carried.sign(&chain_id, granter, Message::CloseSession(Box::new(message)))
}

fn closed(
    ClosingSession { pub_key, grantee, number, .. }: ClosingSession,
    sender: String,
    signature: Vec<u8>,
) -> MsgCloseSession {
    MsgCloseSession { sender, grantee, pub_key, number, signature }
}

fn key(secret: &[u8]) -> Result<SessionKey, JsError> {
    let secret = secret.try_into().map_err(|_| JsError::new("a secret is 32 bytes"))?;
    Ok(SessionKey::new(secret)?)
}
