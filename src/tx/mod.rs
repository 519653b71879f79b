//! Transactions in the format of the Cosmos SDK (signed in the modes `SIGN_MODE_DIRECT` and
//! `SIGN_MODE_LEGACY_AMINO_JSON`), the messages in them, the keys that sign transactions, and the addresses of these
//! keys.
//!
//! This module encodes and decodes transactions. It performs no input or output; the module [`client`](crate::client)
//! sends transactions.

mod address;
mod adr36;
mod amino;
mod commit_reveal;
mod encoding;
mod grants;
mod keys;
mod messages;
mod minimum_fee;
mod session;
mod signing;
mod submission;
mod table;
#[cfg(test)]
mod tests;
mod transaction;
mod transfer;

pub use address::{canonical_address, consensus_address};
pub use adr36::{sign_bytes as text_sign_bytes, signer as address_of};
pub use grants::{Allowance, GRANTABLE, Grant, GrantPair, rfc3339};
pub use keys::{COIN_TYPE, KeyPath, MAX_MNEMONIC_BYTES, MNEMONIC_WORDS, Mnemonic};
pub use messages::{
    MAX_MESSAGES, Message, MsgAnswerDispute, MsgAnswerDisputeResponse, MsgAppeal, MsgClaimTask, MsgClaimTaskResponse,
    MsgCloseSession, MsgCommitAggregation, MsgCommitAggregationResponse, MsgCommitAttestation, MsgCompleteTask,
    MsgCompleteTaskResponse, MsgMoveDispute, MsgOpenDispute, MsgOpenDisputeResponse, MsgOpenSession, MsgRegisterNode,
    MsgRegisterNodeResponse, MsgRevealAggregation, MsgRevealAttestation, MsgRevealBeacon, MsgSetConsensusKey,
    MsgSetPayout, MsgSubmitCPUVerification, MsgSubmitGradient, MsgSubmitGradientResponse, MsgSubmitTrapJobResult,
    MsgUnregisterNode, MsgWithdraw, NodeResources,
};
pub use minimum_fee::{MinimumFee, TRANSFER_GAS};
pub use session::Session;
pub use signing::{SessionKey, Unsigned};
#[cfg(test)]
pub(crate) use transaction::signature_checks;
pub use transaction::{DecodedTx, Fee, MAX_MEMO_BYTES, MAX_SIGNATURES, MAX_TX_BYTES, Signed, tx_hash};
pub use transfer::Transfer;

/// The prefix with which every bech32 address of this chain begins.
pub const ADDRESS_PREFIX: &str = "remes";
/// The name of the coin's smallest unit, the micro-unit. One R3MES is a million micro-units.
pub const DENOM: &str = "uremes";
/// The name of the unit in which wallets show amounts. It is a million micro-units.
pub const DISPLAY_DENOM: &str = "remes";
/// The number of digits after the decimal point of amounts in the unit [`DISPLAY_DENOM`]: a micro-unit is 0.000001 of
/// this unit.
pub const DISPLAY_DIGITS: u32 = 6;
/// The symbol of the coin, which wallets show.
pub const SYMBOL: &str = "R3MES";
/// What the coin is for, in words for wallets and explorers.
pub const COIN_PURPOSE: &str = "The coin in which fees and rewards are paid";

/// The codes that state why a transaction failed. Codes below 1000 have the same meaning as in the Cosmos SDK.
pub mod code {
    /// The transaction, or a value in one of its messages, is malformed or has an unknown field. Also used if bytes
    /// that the signature does not cover are not in the canonical encoding.
    pub const MALFORMED: u32 = 2;
    /// A signature is wrong, or the signer may not send the message. For example, another account must sign the
    /// message, or the signer lacks the required grant or role (such as the role of a validator). Also used if the
    /// transaction asks for a fee allowance or a fee waiver, but contains a message of a type to which the allowance or
    /// the waiver does not apply.
    pub const UNAUTHORIZED: u32 = 4;
    /// An account has too few coins for the fee, the transfer, the bond or the stake, or a fee allowance does not cover
    /// the fee.
    pub const INSUFFICIENT_FUNDS: u32 = 5;
    /// The memo is longer than [`MAX_MEMO_BYTES`](super::MAX_MEMO_BYTES).
    pub const MEMO_TOO_LONG: u32 = 12;
    /// The fee is lower than the minimum that the node requires.
    pub const INSUFFICIENT_FEE: u32 = 13;
    /// The transaction contains more than [`MAX_SIGNATURES`](super::MAX_SIGNATURES) signatures.
    pub const TOO_MANY_SIGNATURES: u32 = 14;
    /// The mempool is full, or the limit on waived fees in this block is reached. The same transaction may succeed
    /// later.
    pub const MEMPOOL_FULL: u32 = 20;
    /// The transaction is larger than [`MAX_TX_BYTES`](super::MAX_TX_BYTES).
    pub const TOO_LARGE: u32 = 21;
    /// The height of the block exceeds the timeout height, the last block height at which the transaction is valid.
    pub const TIMEOUT_HEIGHT: u32 = 30;
    /// The transaction has extension options. This chain supports none, and must refuse such a transaction instead of
    /// ignoring the options.
    pub const EXTENSION_OPTIONS: u32 = 31;
    /// The transaction does not state the current sequence of the account. Each transaction of an account increases the
    /// account's sequence by 1.
    pub const WRONG_SEQUENCE: u32 = 32;
    /// The object to which the message refers, such as a challenge or a submission, does not exist.
    pub const NOT_FOUND: u32 = 38;
    /// The miner cannot claim the chunk now, for example because the chunk is claimed already.
    pub const TAKEN: u32 = 1101;
    /// The rules of the network do not permit the message in the current state of the ledger.
    pub const REJECTED: u32 = 1102;

    /// Returns the codespace of a code, which states who has defined the code: `sdk` for the codes of the Cosmos SDK,
    /// `remes` for those of this chain. Returns an empty text for the code 0, which stands for success.
    pub fn codespace(code: u32) -> &'static str {
        match code {
            0 => "",
            1..1000 => "sdk",
            1000.. => "remes",
        }
    }
}

/// Error returned when a transaction, or a part of one such as a message, a key or an address, is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// The bytes or values do not form a transaction, a message or the derivation path of a key. The field states the
    /// reason.
    #[error("malformed transaction: {reason}", reason = .0)]
    Malformed(String),
    /// The transaction has more than [`MAX_TX_BYTES`] bytes. The field is its size in bytes.
    #[error("the transaction has {0} bytes, but may have at most {MAX_TX_BYTES}")]
    TooLarge(usize),
    /// The memo of the transaction has more than [`MAX_MEMO_BYTES`] bytes. The field is its length in bytes.
    #[error("the memo has {0} bytes, but may have at most {MAX_MEMO_BYTES}")]
    MemoTooLong(usize),
    /// The transaction has extension options.
    #[error("the transaction has extension options, and this chain supports none")]
    ExtensionOptions,
    /// The transaction cannot be signed in the mode `SIGN_MODE_LEGACY_AMINO_JSON`. The field states the reason.
    #[error("the transaction cannot be signed as amino JSON: {reason}", reason = .0)]
    Amino(String),
    /// The transaction contains more than [`MAX_SIGNATURES`] signatures. The field is their number.
    #[error("the transaction contains {0} signatures, but may contain at most {MAX_SIGNATURES}")]
    TooManySignatures(usize),
    /// The transaction contains a message that the ledger does not execute. The field is the type URL of the message.
    #[error("unknown message type {0}")]
    UnknownMessage(String),
    /// A signature is wrong. The field is the address of the account whose key should have made the signature.
    #[error("the signature of the account {0} is wrong")]
    Signature(String),
    /// The signature inside a submission was not made by the key that signed the transaction. The field is the address
    /// of the miner.
    #[error("the signature inside the submission of miner {0} is invalid")]
    Submission(String),
    /// The account that must sign the message is not the one that signed the transaction.
    #[error("the message must be signed by {signer}, but the transaction is signed by {found}")]
    Signer {
        /// The address of the account that must sign the message.
        signer: String,
        /// The address of the account that signed the transaction.
        found: String,
    },
    /// A message of this type cannot be sent in the name of another account. The field is the type URL of the message.
    #[error("the right to send {0} cannot be granted to another account: only the right to send mining messages can")]
    Ungrantable(String),
    /// The words are not a BIP39 mnemonic. The field states the reason, without quoting a word.
    #[error("the words are not a BIP39 mnemonic: {reason}", reason = .0)]
    Mnemonic(String),
    /// The bytes are neither a secret key nor a public key of the curve secp256k1.
    #[error("not a secp256k1 key: a secret key is a 32-byte integer from 1 to the order of the curve minus 1")]
    Key,
    /// The text is not a bech32 address of this chain. The field is the text, cut to 64 characters.
    #[error(
        "{0:?} is not an address of this chain: expected {ADDRESS_PREFIX}1 followed by 38 characters, all in lower case or all in upper case"
    )]
    Address(String),
}
