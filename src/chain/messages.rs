//! The messages of `remes.remes.v1`, field by field as the chain numbers them, and ours of `r3mes.wgpu.v1`.

use super::{Allowance, Between, ChainError, Grant, Transfer, grants};
use cosmrs::{
    Any,
    proto::cosmos::{
        authz::v1beta1::{MsgExec, MsgGrant, MsgRevoke},
        bank::v1beta1::MsgSend,
        feegrant::v1beta1::{MsgGrantAllowance, MsgRevokeAllowance},
    },
};
use prost::{Message as _, Name};

/// Most messages of a transaction, and of a `MsgExec`.
pub const MAX_MESSAGES: usize = 16;

/// Declares protobuf messages under a package, and their type URLs.
macro_rules! messages {
    ($package:literal: $($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $kind:ident $tag:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
        pub struct $name {
            $($(#[$field_doc])* #[prost($kind, tag = $tag)] pub $field: $type,)*
        }

        impl Name for $name {
            const NAME: &'static str = stringify!($name);
            const PACKAGE: &'static str = $package;

            fn type_url() -> String {
                format!("/{}.{}", Self::PACKAGE, Self::NAME)
            }
        }
    )*};
}

messages! { "remes.remes.v1":
    /// Reserves a chunk of a pool for a miner.
    MsgClaimTask {
        /// Who signs, and is paid.
        miner: String = string "1",
        /// The pool.
        pool_id: u64 = uint64 "2",
        /// The chunk: one of the pool's available ones.
        chunk_id: u64 = uint64 "3",
    }
    /// The answer to [`MsgClaimTask`].
    MsgClaimTaskResponse {
        /// Whether the chunk is the miner's.
        success: bool = bool "1",
        /// Hash of the transaction.
        tx_hash: String = string "2",
    }
    /// A gradient, by the CID of its artifact.
    MsgSubmitGradient {
        /// Who signs, and is paid.
        miner: String = string "1",
        /// CID of the artifact's root.
        ipfs_hash: String = string "2",
        /// CID of the model's manifest.
        model_version: String = string "3",
        /// The round that the task was claimed in.
        training_round_id: u64 = uint64 "4",
        /// Derived from the miner, a block and the round.
        shard_id: u64 = uint64 "5",
        /// The commitment to task and gradient, hexadecimal.
        gradient_hash: String = string "6",
        /// Class of the GPU that computed it.
        gpu_architecture: String = string "7",
        /// Never used before by this miner.
        nonce: u64 = uint64 "8",
        /// Of [`MsgSubmitGradient::signed_text`], by the key that signs the transaction.
        signature: Vec<u8> = bytes "9",
        /// Proof of work, where the network asks for one.
        proof_of_work_nonce: u64 = uint64 "10",
        /// Configuration of the model.
        model_config_id: u64 = uint64 "11",
        /// Of the miner's program, where it is a container.
        container_hash: String = string "12",
        /// Of that container.
        container_signature: Vec<u8> = bytes "13",
        /// Seed of the round.
        global_seed: u64 = uint64 "14",
        /// Mean loss in nats, decimal; for people.
        claimed_loss: String = string "15",
        /// Proof of replication, where the network asks for one.
        porep_proof_ipfs_hash: String = string "16",
        /// Tokens of the chunk: 2048.
        token_count: u64 = uint64 "17",
    }
    /// The answer to [`MsgSubmitGradient`].
    MsgSubmitGradientResponse {
        /// Number of the stored gradient.
        stored_gradient_id: u64 = uint64 "1",
        /// Hash of the transaction.
        tx_hash: String = string "2",
    }
}

messages! { "r3mes.wgpu.v1":
    /// Rewards of `miner` go to `payout` from now on.
    MsgSetPayout {
        /// Who signs.
        miner: String = string "1",
        /// Who is paid.
        payout: String = string "2",
    }
    /// A statement that opens a session, by an account whose wallet signs texts only; see [`MsgOpenSession::statement`].
    MsgOpenSession {
        /// Who signs the transaction, and will mine.
        grantee: String = string "1",
        /// The account's compressed secp256k1 key.
        pub_key: Vec<u8> = bytes "2",
        /// Seconds since 1970.
        expiration: u64 = uint64 "3",
        /// Micro-units of the account's balance that fees may take.
        cap: u64 = uint64 "4",
        /// Openings and revocations between the two before it.
        number: u64 = uint64 "5",
        /// Of the statement by the account's key, as ADR-36 has it.
        signature: Vec<u8> = bytes "6",
    }
    /// A statement that takes back what the account granted; see [`MsgCloseSession::statement`].
    MsgCloseSession {
        /// Who signs the transaction: anyone.
        sender: String = string "1",
        /// Whose session ends.
        grantee: String = string "2",
        /// The account's compressed secp256k1 key.
        pub_key: Vec<u8> = bytes "3",
        /// Openings and revocations between the two before it.
        number: u64 = uint64 "4",
        /// Of the statement by the account's key, as ADR-36 has it.
        signature: Vec<u8> = bytes "5",
    }
}

/// A message that a ledger takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// See [`MsgClaimTask`].
    ClaimTask(MsgClaimTask),
    /// See [`MsgSubmitGradient`].
    SubmitGradient(Box<MsgSubmitGradient>),
    /// See [`MsgSetPayout`].
    SetPayout(MsgSetPayout),
    /// `MsgSend`.
    Send(Transfer),
    /// `MsgGrant`.
    Grant(Grant),
    /// `MsgRevoke`: the accounts, and the message's type URL.
    Revoke(Between, String),
    /// `MsgGrantAllowance`.
    GrantAllowance(Allowance),
    /// `MsgRevokeAllowance`.
    RevokeAllowance(Between),
    /// `MsgExec`: the grantee, and messages of mining in others' names.
    Exec(String, Vec<Message>),
    /// See [`MsgOpenSession`].
    OpenSession(Box<MsgOpenSession>),
    /// See [`MsgCloseSession`].
    CloseSession(Box<MsgCloseSession>),
}

impl Message {
    /// Reads a message that a transaction carries; statements in it are verified.
    pub(super) fn read(any: &Any, chain_id: &str) -> Result<Self, ChainError> {
        let (url, value) = (any.type_url.as_str(), &*any.value);
        if url == MsgExec::type_url() {
            let MsgExec { grantee, msgs } = grants::decode(value)?;
            if msgs.is_empty() || msgs.len() > MAX_MESSAGES {
                return Err(ChainError::Malformed(format!("a MsgExec of 1 to {MAX_MESSAGES} messages is taken")));
            }
            // this also keeps one from standing in another
            Ok(Self::Exec(grantee, msgs.iter().map(Self::read_work).collect::<Result<_, _>>()?))
        } else if url == MsgSend::type_url() {
            Transfer::read(value).map(Self::Send)
        } else if url == MsgGrant::type_url() {
            Grant::read(value).map(Self::Grant)
        } else if url == MsgRevoke::type_url() {
            grants::read_revoke(value).map(|(between, message)| Self::Revoke(between, message))
        } else if url == MsgGrantAllowance::type_url() {
            Allowance::read(value).map(Self::GrantAllowance)
        } else if url == MsgRevokeAllowance::type_url() {
            grants::read_revoke_allowance(value).map(Self::RevokeAllowance)
        } else if url == MsgSetPayout::type_url() {
            grants::decode(value).map(Self::SetPayout)
        } else if url == MsgOpenSession::type_url() {
            let message: MsgOpenSession = grants::decode(value)?;
            message.verify(chain_id)?;
            Ok(Self::OpenSession(Box::new(message)))
        } else if url == MsgCloseSession::type_url() {
            let message: MsgCloseSession = grants::decode(value)?;
            message.verify(chain_id)?;
            Ok(Self::CloseSession(Box::new(message)))
        } else {
            Self::read_work(any).map_err(|error| match error {
                ChainError::Ungrantable(url) => ChainError::UnknownMessage(url),
                error => error,
            })
        }
    }

    /// Reads a message of mining.
    fn read_work(any: &Any) -> Result<Self, ChainError> {
        let (url, value) = (any.type_url.as_str(), &*any.value);
        if url == MsgClaimTask::type_url() {
            grants::decode(value).map(Self::ClaimTask)
        } else if url == MsgSubmitGradient::type_url() {
            grants::decode(value).map(|message| Self::SubmitGradient(Box::new(message)))
        } else {
            Err(ChainError::Ungrantable(url.chars().take(64).collect()))
        }
    }

    /// As transactions carry it.
    pub fn to_any(&self) -> Any {
        let (type_url, value) = match self {
            Self::ClaimTask(message) => (MsgClaimTask::type_url(), message.encode_to_vec()),
            Self::SubmitGradient(message) => (MsgSubmitGradient::type_url(), message.encode_to_vec()),
            Self::SetPayout(message) => (MsgSetPayout::type_url(), message.encode_to_vec()),
            Self::OpenSession(message) => (MsgOpenSession::type_url(), message.encode_to_vec()),
            Self::CloseSession(message) => (MsgCloseSession::type_url(), message.encode_to_vec()),
            Self::Send(transfer) => return transfer.to_any(),
            Self::Grant(grant) => return grant.to_any(),
            Self::Revoke(between, message) => return grants::revoke_to_any(between, message),
            Self::GrantAllowance(allowance) => return allowance.to_any(),
            Self::RevokeAllowance(between) => return grants::revoke_allowance_to_any(between),
            Self::Exec(grantee, messages) => {
                let exec = MsgExec { grantee: grantee.clone(), msgs: messages.iter().map(Self::to_any).collect() };
                (MsgExec::type_url(), exec.encode_to_vec())
            }
        };
        Any { type_url, value }
    }

    /// Whose signature it needs; inside a `MsgExec`, whose grant.
    pub fn signer(&self) -> &str {
        match self {
            Self::ClaimTask(message) => &message.miner,
            Self::SubmitGradient(message) => &message.miner,
            Self::SetPayout(message) => &message.miner,
            Self::Send(transfer) => &transfer.from,
            Self::Grant(grant) => &grant.between.granter,
            Self::GrantAllowance(allowance) => &allowance.between.granter,
            Self::Revoke(between, _) | Self::RevokeAllowance(between) => &between.granter,
            Self::Exec(grantee, _) => grantee,
            Self::OpenSession(message) => &message.grantee,
            Self::CloseSession(message) => &message.sender,
        }
    }

    /// The messages of mining that it is or holds: work that takes long to settle.
    pub fn work(&self) -> &[Self] {
        match self {
            Self::ClaimTask(_) | Self::SubmitGradient(_) => std::slice::from_ref(self),
            Self::Exec(_, messages) => messages,
            _ => &[],
        }
    }
}
