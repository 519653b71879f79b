//! Transactions as Cosmos chains have them: messages, signatures over `SIGN_MODE_DIRECT` bytes, addresses. Bytes in,
//! bytes out; who asks whom is [`client`]'s affair.

pub mod client;
pub mod gateway;
mod messages;
mod transaction;

pub use messages::{
    Message, MsgClaimTask, MsgClaimTaskResponse, MsgSetPayout, MsgSubmitGradient, MsgSubmitGradientResponse,
};
pub use transaction::{MAX_TX_BYTES, SessionKey, Signed, check_address, tx_hash};

/// Human-readable part of addresses.
pub const ADDRESS_PREFIX: &str = "remes";

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
    /// The key that signed is not that of the message's signer.
    #[error("the message is {signer}'s, but {found} signed")]
    Signer {
        /// Whom the message names.
        signer: String,
        /// Who signed.
        found: String,
    },
    /// Not a secp256k1 key.
    #[error("not a secp256k1 key: 32 bytes of a number below the group's order")]
    Key,
    /// Not a bech32 address of this chain.
    #[error("{0} is no address of this chain: {ADDRESS_PREFIX}1 and 38 more letters")]
    Address(String),
}
