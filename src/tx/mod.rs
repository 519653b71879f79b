//! Transactions in the format of the Cosmos SDK: messages, `SIGN_MODE_DIRECT` signatures, keys, addresses.
//!
//! This module turns bytes into values and values into bytes. It has no IO; [`client`](crate::client) sends
//! transactions.

mod address;
mod adr36;
mod commit_reveal;
mod grants;
mod keys;
mod messages;
mod session;
mod signing;
mod submission;
mod table;
#[cfg(test)]
mod tests;
mod transaction;
mod transfer;

pub use address::check_address;
pub use adr36::{sign_bytes as text_sign_bytes, signer as address_of};
pub use grants::{Allowance, GRANTABLE, Grant, GrantPair, rfc3339};
pub use keys::{COIN_TYPE, KeyPath, MAX_MNEMONIC_BYTES, MNEMONIC_WORDS, Mnemonic};
pub use messages::{
    MAX_MESSAGES, Message, MsgAnswerDispute, MsgAnswerDisputeResponse, MsgAppeal, MsgClaimTask, MsgClaimTaskResponse,
    MsgCloseSession, MsgCommitAggregation, MsgCommitAggregationResponse, MsgCommitAttestation, MsgCompleteTask,
    MsgCompleteTaskResponse, MsgMoveDispute, MsgOpenDispute, MsgOpenDisputeResponse, MsgOpenSession, MsgRegisterNode,
    MsgRegisterNodeResponse, MsgRevealAggregation, MsgRevealAttestation, MsgSetPayout, MsgSubmitCPUVerification,
    MsgSubmitGradient, MsgSubmitGradientResponse, MsgSubmitTrapJobResult, MsgUnregisterNode, MsgWithdraw,
    NodeResources,
};
pub use session::Session;
pub use signing::{SessionKey, Unsigned};
pub use transaction::{Fee, MAX_TX_BYTES, Signed, tx_hash};
pub use transfer::Transfer;

/// The human-readable prefix of addresses.
pub const ADDRESS_PREFIX: &str = "remes";
/// Name of the coin's smallest unit, the micro-unit.
pub const DENOM: &str = "uremes";

/// Error codes of failed transactions. Codes below 1000 are those of the Cosmos SDK.
pub mod code {
    /// The transaction is malformed.
    pub const MALFORMED: u32 = 2;
    /// The signer is not the account that must sign the message, or has no grant from that account.
    pub const UNAUTHORIZED: u32 = 4;
    /// The account has fewer coins than the fee, the transfer or the bond.
    pub const INSUFFICIENT_FUNDS: u32 = 5;
    /// The fee is below the node's minimum fee.
    pub const INSUFFICIENT_FEE: u32 = 13;
    /// The mempool is full.
    pub const MEMPOOL_FULL: u32 = 20;
    /// The sequence is not the account's next one.
    pub const WRONG_SEQUENCE: u32 = 32;
    /// The object to which the message refers, such as a challenge or a submission, does not exist.
    pub const NOT_FOUND: u32 = 38;
    /// The chunk slot cannot be claimed now.
    pub const TAKEN: u32 = 1101;
    /// The rules of the network do not permit the message now.
    pub const REJECTED: u32 = 1102;
}

/// Error returned when bytes are not a valid transaction of this chain, or a transaction cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// The bytes or values are not a well-formed transaction, message or path.
    #[error("malformed transaction: {0}")]
    Malformed(String),
    /// The ledger does not know messages of this type URL.
    #[error("unknown message type {0}")]
    UnknownMessage(String),
    /// The signature of this address does not verify.
    #[error("the signature of {0} does not verify")]
    Signature(String),
    /// The signature inside a submission was not made by the key that signed the transaction.
    #[error("the signature inside the submission of {0} does not verify")]
    Submission(String),
    /// The key that signed the transaction is not the key of the message's signer.
    #[error("the message must be signed by {signer}, but the transaction is signed by {found}")]
    Signer {
        /// Address that the message names as its signer.
        signer: String,
        /// Address of the key that signed the transaction.
        found: String,
    },
    /// A message of this type cannot be granted to another account.
    #[error("messages of type {0} cannot be granted: only messages of mining can")]
    Ungrantable(String),
    /// The words are not a BIP39 mnemonic. The error quotes none of them.
    #[error("not a BIP39 mnemonic: {0}")]
    Mnemonic(String),
    /// The bytes are not a secp256k1 key.
    #[error("not a secp256k1 key: a secret key is a 32-byte number from 1 to the group's order minus 1")]
    Key,
    /// The text is not a bech32 address of this chain.
    #[error("{0:?} is not an address of this chain: expected {ADDRESS_PREFIX}1 and 38 more characters")]
    Address(String),
}
