//! Transactions as Cosmos chains have them: messages, signatures over `SIGN_MODE_DIRECT` bytes, addresses. Bytes in,
//! bytes out; who asks whom is [`client`]'s affair.

mod adr36;
mod commit_reveal;
mod grants;
mod keys;
mod messages;
mod session;
mod signing;
mod submission;
#[cfg(test)]
mod tests;
mod transaction;
mod transfer;

pub use adr36::{sign_bytes as text_sign_bytes, signer as address_of};
pub use grants::{Allowance, GRANTABLE, Grant, GrantPair, rfc3339};
pub use keys::{COIN_TYPE, KeyPath, MAX_MNEMONIC_BYTES, MNEMONIC_WORDS, Mnemonic};
pub use messages::{
    MAX_MESSAGES, Message, MsgAnswerDispute, MsgAnswerDisputeResponse, MsgAppeal, MsgClaimTask, MsgClaimTaskResponse,
    MsgCloseSession, MsgCommitAggregation, MsgCommitAggregationResponse, MsgCommitAttestation, MsgCompleteTask,
    MsgCompleteTaskResponse, MsgMoveDispute, MsgOpenDispute, MsgOpenDisputeResponse, MsgOpenSession, MsgRegisterNode,
    MsgRegisterNodeResponse, MsgRevealAggregation, MsgSetPayout, MsgSubmitCPUVerification, MsgSubmitGradient,
    MsgSubmitGradientResponse, MsgSubmitRandomVerifierResult, MsgSubmitTrapJobResult, MsgUnregisterNode, MsgWithdraw,
    NodeResources,
};
pub use session::Session;
pub use signing::{SessionKey, Unsigned};
pub use transaction::{Fee, MAX_TX_BYTES, Signed, check_address, tx_hash};
pub use transfer::Transfer;

/// Human-readable part of addresses.
pub const ADDRESS_PREFIX: &str = "remes";
/// The coin's smallest unit.
pub const DENOM: &str = "uremes";

/// Codes of transactions that fail; those below 1000 are the Cosmos SDK's.
pub mod code {
    /// Not of the form.
    pub const MALFORMED: u32 = 2;
    /// Signed by another, or without a grant.
    pub const UNAUTHORIZED: u32 = 4;
    /// A fee or a transfer beyond what is owned.
    pub const INSUFFICIENT_FUNDS: u32 = 5;
    /// Its fee is below the node's.
    pub const INSUFFICIENT_FEE: u32 = 13;
    /// Too many wait.
    pub const MEMPOOL_FULL: u32 = 20;
    /// Not the account's next one.
    pub const WRONG_SEQUENCE: u32 = 32;
    /// What it takes back is not there.
    pub const NOT_FOUND: u32 = 38;
    /// The chunk went to another.
    pub const TAKEN: u32 = 1101;
    /// A gradient that is not accepted.
    pub const REJECTED: u32 = 1102;
}

/// Why bytes are no transaction that this chain takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Not of the form.
    #[error("malformed transaction: {0}")]
    Malformed(String),
    /// A type that no rule is for.
    #[error("unknown message {0}")]
    UnknownMessage(String),
    /// The signature is not over these bytes by this key.
    #[error("the signature of {0} does not verify")]
    Signature(String),
    /// The signature inside a submission is not by the key that signed the transaction.
    #[error("the signature inside the submission of {0} does not verify")]
    Submission(String),
    /// The key that signed is not that of the message's signer.
    #[error("the message is {signer}'s, but {found} signed")]
    Signer {
        /// Whom the message names.
        signer: String,
        /// Who signed.
        found: String,
    },
    /// A message that nobody may send in another's name.
    #[error("{0} can not be granted: of mining's messages alone")]
    Ungrantable(String),
    /// Words that are no mnemonic; none of them is quoted.
    #[error("not a BIP39 mnemonic: {0}")]
    Mnemonic(String),
    /// Not a secp256k1 key.
    #[error("not a secp256k1 key: 32 bytes of a number below the group's order")]
    Key,
    /// Not a bech32 address of this chain.
    #[error("{0} is no address of this chain: {ADDRESS_PREFIX}1 and 38 more letters")]
    Address(String),
}
