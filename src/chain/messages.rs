//! The messages of `remes.remes.v1`, field by field as the chain numbers them, and ours of `r3mes.wgpu.v1`.

use super::ChainError;
use cosmrs::Any;
use prost::{Message as _, Name};

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
        /// Over the fields, by the miner's key.
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
}

impl Message {
    /// Reads a message that a transaction carries.
    pub(super) fn read(any: &Any) -> Result<Self, ChainError> {
        let url = any.type_url.as_str();
        let malformed = |error: prost::DecodeError| ChainError::Malformed(format!("{url}: {error}"));
        if url == MsgClaimTask::type_url() {
            Ok(Self::ClaimTask(MsgClaimTask::decode(&*any.value).map_err(malformed)?))
        } else if url == MsgSubmitGradient::type_url() {
            Ok(Self::SubmitGradient(Box::new(MsgSubmitGradient::decode(&*any.value).map_err(malformed)?)))
        } else if url == MsgSetPayout::type_url() {
            Ok(Self::SetPayout(MsgSetPayout::decode(&*any.value).map_err(malformed)?))
        } else {
            Err(ChainError::UnknownMessage(url.to_owned()))
        }
    }

    /// As transactions carry it.
    pub fn to_any(&self) -> Any {
        let (type_url, value) = match self {
            Self::ClaimTask(message) => (MsgClaimTask::type_url(), message.encode_to_vec()),
            Self::SubmitGradient(message) => (MsgSubmitGradient::type_url(), message.encode_to_vec()),
            Self::SetPayout(message) => (MsgSetPayout::type_url(), message.encode_to_vec()),
        };
        Any { type_url, value }
    }

    /// Whose signature it needs: its first field.
    pub fn signer(&self) -> &str {
        match self {
            Self::ClaimTask(message) => &message.miner,
            Self::SubmitGradient(message) => &message.miner,
            Self::SetPayout(message) => &message.miner,
        }
    }
}
