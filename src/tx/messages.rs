//! The messages of `remes.remes.v1`, field by field as the chain numbers them, and ours of `r3mes.wgpu.v1`.

use super::{Allowance, ChainError, Grant, GrantPair, Transfer, grants};
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
    ($package:literal: $($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $($kind:ident),+ $tag:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
        pub struct $name {
            $($(#[$field_doc])* #[prost($($kind),+, tag = $tag)] pub $field: $type,)*
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
    /// Says that a claimed chunk is done: its gradient was submitted.
    MsgCompleteTask {
        /// Who signs.
        miner: String = string "1",
        /// The pool.
        pool_id: u64 = uint64 "2",
        /// The chunk.
        chunk_id: u64 = uint64 "3",
        /// As in the submission.
        gradient_hash: String = string "4",
        /// As in the submission.
        gradient_ipfs_hash: String = string "5",
        /// As in the submission.
        miner_gpu: String = string "6",
    }
    /// The answer to [`MsgCompleteTask`].
    MsgCompleteTaskResponse {
        /// Whether that gradient stands for this chunk.
        success: bool = bool "1",
        /// Hash of the transaction.
        tx_hash: String = string "2",
    }
    /// What a node has.
    NodeResources {
        /// Cores.
        cpu_cores: u32 = uint32 "1",
        /// Memory in GB.
        memory_gb: u32 = uint32 "2",
        /// GPUs.
        gpu_count: u32 = uint32 "3",
        /// Memory of a GPU in GB.
        gpu_memory_gb: u32 = uint32 "4",
        /// Disk in GB.
        storage_gb: u32 = uint32 "5",
        /// Network in Mbit/s.
        network_bandwidth_mbps: u32 = uint32 "6",
    }
    /// Takes on roles, with a stake that answers for them.
    MsgRegisterNode {
        /// Who signs, and whose stake it is.
        node_address: String = string "1",
        /// The main role: 1 mining, 2 serving, 3 validator, 4 proposer.
        node_type: i32 = int32 "2",
        /// What it has; for statistics.
        resources: Option<NodeResources> = message, optional "3",
        /// Coins added to the stake, like `1000uremes`.
        stake: String = string "4",
        /// Further roles.
        roles: Vec<i32> = int32, repeated "5",
        /// For statistics.
        resource_proof_ipfs_hash: String = string "7",
    }
    /// The answer to [`MsgRegisterNode`].
    MsgRegisterNodeResponse {
        /// Number of the registration.
        registration_id: u64 = uint64 "1",
    }
    /// An answer to a trap job, where a network hands them out by name; this one draws them, so it takes none.
    MsgSubmitTrapJobResult {
        /// Who signs.
        miner: String = string "1",
        /// The trap job.
        trap_job_id: String = string "2",
        /// CID of the artifact's root.
        gradient_ipfs_hash: String = string "3",
        /// The commitment to task and gradient, hexadecimal.
        gradient_hash: String = string "4",
    }
    /// What a drawn verifier found; reveals its [`MsgCommitAttestation`].
    MsgSubmitRandomVerifierResult {
        /// Who signs.
        verifier: String = string "1",
        /// The challenge that it was drawn for.
        challenge_id: u64 = uint64 "2",
        /// `match`, `mismatch` or `unavailable`.
        result: String = string "3",
        /// The commitment that it computed, hexadecimal; empty where it could not.
        gradient_hash: String = string "4",
        /// Digest of the trace's leaf that the challenge asks for, and the salt of the commitment: `leaf:salt`.
        evidence: String = string "5",
        /// Loss that it computed, decimal; for people.
        verifier_loss: String = string "6",
        /// Whether that is the claimed one; for people.
        loss_match: bool = bool "7",
        /// Seed of the data; not used.
        data_batch_seed: u64 = uint64 "8",
    }
    /// A validator's word in a challenge that verifiers disagree on.
    MsgSubmitCPUVerification {
        /// Who signs.
        validator: String = string "1",
        /// The challenge.
        challenge_id: u64 = uint64 "2",
        /// Whether the gradient is right.
        is_valid: bool = bool "3",
        /// The commitment that it computed, hexadecimal.
        computed_hash: String = string "4",
        /// The commitment that the miner submitted, hexadecimal.
        expected_hash: String = string "5",
        /// Ours: digest of the trace's leaf that the challenge asks for, hexadecimal; empty for a void.
        leaf: String = string "101",
    }
    /// Commits to the aggregate of a round.
    MsgCommitAggregation {
        /// Who signs.
        proposer: String = string "1",
        /// See [`MsgRevealAggregation::commitment`].
        commitment_hash: String = string "2",
        /// The round.
        training_round_id: u64 = uint64 "3",
        /// Numbers of the gradients that are added up.
        gradient_ids: Vec<u64> = uint64, repeated "4",
    }
    /// The answer to [`MsgCommitAggregation`].
    MsgCommitAggregationResponse {
        /// Number of the commitment.
        commitment_id: u64 = uint64 "1",
    }
    /// Reveals what [`MsgCommitAggregation`] committed to.
    MsgRevealAggregation {
        /// Who signs.
        proposer: String = string "1",
        /// The commitment.
        commitment_id: u64 = uint64 "2",
        /// CID of the next adapter.
        aggregated_gradient_ipfs_hash: String = string "3",
        /// Root over the gradients' commitments, hexadecimal.
        merkle_root: String = string "4",
        /// Numbers of the gradients that were added up.
        gradient_ids: Vec<u64> = uint64, repeated "5",
        /// The round.
        training_round_id: u64 = uint64 "6",
        /// CID of the model's manifest.
        model_version: String = string "7",
        /// Root of the packed adapter, hexadecimal, and what keeps the commitment from being guessed: `root:salt`.
        salt: String = string "8",
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
    /// Seals what a drawn verifier found, so that nobody echoes it; see [`MsgSubmitRandomVerifierResult::commitment`].
    MsgCommitAttestation {
        /// Who signs.
        verifier: String = string "1",
        /// The challenge.
        challenge_id: u64 = uint64 "2",
        /// 32 bytes.
        commitment: Vec<u8> = bytes "3",
    }
    /// Gives up all roles; the stake comes back after a while.
    MsgUnregisterNode {
        /// Who signs.
        node_address: String = string "1",
    }
    /// Takes back what a miner submitted and no block has drawn for yet: its GPU computes wrongly, and it claims nothing for
    /// a while.
    MsgWithdraw {
        /// Who signs.
        miner: String = string "1",
    }
    /// Doubts a gradient, with a bond.
    MsgOpenDispute {
        /// Who signs, and makes the challenger's moves.
        challenger: String = string "1",
        /// Number of the gradient.
        stored_gradient_id: u64 = uint64 "2",
        /// The block of its chunk.
        chunk: Vec<u8> = bytes "3",
        /// The manifest of its artifact.
        manifest: Vec<u8> = bytes "4",
    }
    /// The answer to [`MsgOpenDispute`] and [`MsgAppeal`].
    MsgOpenDisputeResponse {
        /// Numbers of the disputes; none where the artifact is not what was committed to, so that it fell at once.
        dispute_ids: Vec<u64> = uint64, repeated "1",
    }
    /// Doubts the word of those verifiers of a challenge that found a mismatch: each of them is to dispute the gradient.
    MsgAppeal {
        /// Who signs: anyone.
        sender: String = string "1",
        /// The challenge.
        challenge_id: u64 = uint64 "2",
        /// The block of the gradient's chunk.
        chunk: Vec<u8> = bytes "3",
        /// The manifest of its artifact.
        manifest: Vec<u8> = bytes "4",
    }
    /// Answers for a gradient in a dispute, with a bond.
    MsgAnswerDispute {
        /// Who signs: anyone.
        sender: String = string "1",
        /// The dispute.
        dispute_id: u64 = uint64 "2",
        /// As [`Answer::encode`](crate::dispute::judge::Answer::encode).
        answer: Vec<u8> = bytes "3",
    }
    /// The answer to [`MsgAnswerDispute`].
    MsgAnswerDisputeResponse {
        /// Its number in the dispute.
        answer: u64 = uint64 "1",
    }
    /// A move in the game over an answer.
    MsgMoveDispute {
        /// Who signs.
        sender: String = string "1",
        /// The dispute.
        dispute_id: u64 = uint64 "2",
        /// The answer's number.
        answer: u64 = uint64 "3",
        /// As [`Move::encode`](crate::dispute::judge::Move::encode).
        step: Vec<u8> = bytes "4",
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
    /// See [`MsgCompleteTask`].
    CompleteTask(MsgCompleteTask),
    /// See [`MsgRegisterNode`].
    RegisterNode(MsgRegisterNode),
    /// See [`MsgUnregisterNode`].
    UnregisterNode(MsgUnregisterNode),
    /// See [`MsgCommitAttestation`].
    CommitAttestation(MsgCommitAttestation),
    /// See [`MsgSubmitRandomVerifierResult`].
    Attest(Box<MsgSubmitRandomVerifierResult>),
    /// See [`MsgSubmitCPUVerification`].
    Arbitrate(MsgSubmitCPUVerification),
    /// See [`MsgCommitAggregation`].
    CommitAggregation(MsgCommitAggregation),
    /// See [`MsgRevealAggregation`].
    RevealAggregation(Box<MsgRevealAggregation>),
    /// See [`MsgSubmitTrapJobResult`].
    AnswerTrap(MsgSubmitTrapJobResult),
    /// See [`MsgWithdraw`].
    Withdraw(MsgWithdraw),
    /// See [`MsgOpenDispute`].
    OpenDispute(Box<MsgOpenDispute>),
    /// See [`MsgAppeal`].
    Appeal(Box<MsgAppeal>),
    /// See [`MsgAnswerDispute`].
    AnswerDispute(MsgAnswerDispute),
    /// See [`MsgMoveDispute`].
    MoveDispute(MsgMoveDispute),
    /// See [`MsgSetPayout`].
    SetPayout(MsgSetPayout),
    /// `MsgSend`.
    Send(Transfer),
    /// `MsgGrant`.
    Grant(Grant),
    /// `MsgRevoke`: the accounts, and the message's type URL.
    Revoke(GrantPair, String),
    /// `MsgGrantAllowance`.
    GrantAllowance(Allowance),
    /// `MsgRevokeAllowance`.
    RevokeAllowance(GrantPair),
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
            grants::read_revoke(value).map(|(pair, message)| Self::Revoke(pair, message))
        } else if url == MsgGrantAllowance::type_url() {
            Allowance::read(value).map(Self::GrantAllowance)
        } else if url == MsgRevokeAllowance::type_url() {
            grants::read_revoke_allowance(value).map(Self::RevokeAllowance)
        } else if url == MsgSetPayout::type_url() {
            grants::decode(value).map(Self::SetPayout)
        } else if url == MsgRegisterNode::type_url() {
            grants::decode(value).map(Self::RegisterNode)
        } else if url == MsgUnregisterNode::type_url() {
            grants::decode(value).map(Self::UnregisterNode)
        } else if url == MsgCommitAttestation::type_url() {
            grants::decode(value).map(Self::CommitAttestation)
        } else if url == MsgSubmitRandomVerifierResult::type_url() {
            grants::decode(value).map(|message| Self::Attest(Box::new(message)))
        } else if url == MsgSubmitCPUVerification::type_url() {
            grants::decode(value).map(Self::Arbitrate)
        } else if url == MsgCommitAggregation::type_url() {
            grants::decode(value).map(Self::CommitAggregation)
        } else if url == MsgRevealAggregation::type_url() {
            grants::decode(value).map(|message| Self::RevealAggregation(Box::new(message)))
        } else if url == MsgSubmitTrapJobResult::type_url() {
            grants::decode(value).map(Self::AnswerTrap)
        } else if url == MsgOpenDispute::type_url() {
            grants::decode(value).map(|message| Self::OpenDispute(Box::new(message)))
        } else if url == MsgAppeal::type_url() {
            grants::decode(value).map(|message| Self::Appeal(Box::new(message)))
        } else if url == MsgAnswerDispute::type_url() {
            grants::decode(value).map(Self::AnswerDispute)
        } else if url == MsgMoveDispute::type_url() {
            grants::decode(value).map(Self::MoveDispute)
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
        } else if url == MsgCompleteTask::type_url() {
            grants::decode(value).map(Self::CompleteTask)
        } else if url == MsgWithdraw::type_url() {
            grants::decode(value).map(Self::Withdraw)
        } else {
            Err(ChainError::Ungrantable(url.chars().take(64).collect()))
        }
    }

    /// As transactions carry it.
    pub fn to_any(&self) -> Any {
        let (type_url, value) = match self {
            Self::ClaimTask(message) => (MsgClaimTask::type_url(), message.encode_to_vec()),
            Self::SubmitGradient(message) => (MsgSubmitGradient::type_url(), message.encode_to_vec()),
            Self::CompleteTask(message) => (MsgCompleteTask::type_url(), message.encode_to_vec()),
            Self::RegisterNode(message) => (MsgRegisterNode::type_url(), message.encode_to_vec()),
            Self::UnregisterNode(message) => (MsgUnregisterNode::type_url(), message.encode_to_vec()),
            Self::CommitAttestation(message) => (MsgCommitAttestation::type_url(), message.encode_to_vec()),
            Self::Attest(message) => (MsgSubmitRandomVerifierResult::type_url(), message.encode_to_vec()),
            Self::Arbitrate(message) => (MsgSubmitCPUVerification::type_url(), message.encode_to_vec()),
            Self::CommitAggregation(message) => (MsgCommitAggregation::type_url(), message.encode_to_vec()),
            Self::RevealAggregation(message) => (MsgRevealAggregation::type_url(), message.encode_to_vec()),
            Self::AnswerTrap(message) => (MsgSubmitTrapJobResult::type_url(), message.encode_to_vec()),
            Self::Withdraw(message) => (MsgWithdraw::type_url(), message.encode_to_vec()),
            Self::OpenDispute(message) => (MsgOpenDispute::type_url(), message.encode_to_vec()),
            Self::Appeal(message) => (MsgAppeal::type_url(), message.encode_to_vec()),
            Self::AnswerDispute(message) => (MsgAnswerDispute::type_url(), message.encode_to_vec()),
            Self::MoveDispute(message) => (MsgMoveDispute::type_url(), message.encode_to_vec()),
            Self::SetPayout(message) => (MsgSetPayout::type_url(), message.encode_to_vec()),
            Self::OpenSession(message) => (MsgOpenSession::type_url(), message.encode_to_vec()),
            Self::CloseSession(message) => (MsgCloseSession::type_url(), message.encode_to_vec()),
            Self::Send(transfer) => return transfer.to_any(),
            Self::Grant(grant) => return grant.to_any(),
            Self::Revoke(pair, message) => return grants::revoke_to_any(pair, message),
            Self::GrantAllowance(allowance) => return allowance.to_any(),
            Self::RevokeAllowance(pair) => return grants::revoke_allowance_to_any(pair),
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
            Self::CompleteTask(message) => &message.miner,
            Self::RegisterNode(message) => &message.node_address,
            Self::UnregisterNode(message) => &message.node_address,
            Self::CommitAttestation(message) => &message.verifier,
            Self::Attest(message) => &message.verifier,
            Self::Arbitrate(message) => &message.validator,
            Self::CommitAggregation(message) => &message.proposer,
            Self::RevealAggregation(message) => &message.proposer,
            Self::AnswerTrap(message) => &message.miner,
            Self::Withdraw(message) => &message.miner,
            Self::OpenDispute(message) => &message.challenger,
            Self::Appeal(message) => &message.sender,
            Self::AnswerDispute(message) => &message.sender,
            Self::MoveDispute(message) => &message.sender,
            Self::SetPayout(message) => &message.miner,
            Self::Send(transfer) => &transfer.from,
            Self::Grant(grant) => &grant.pair.granter,
            Self::GrantAllowance(allowance) => &allowance.pair.granter,
            Self::Revoke(pair, _) | Self::RevokeAllowance(pair) => &pair.granter,
            Self::Exec(grantee, _) => grantee,
            Self::OpenSession(message) => &message.grantee,
            Self::CloseSession(message) => &message.sender,
        }
    }

    /// The messages of mining that it is or holds.
    pub fn work(&self) -> &[Self] {
        match self {
            Self::ClaimTask(_) | Self::SubmitGradient(_) | Self::CompleteTask(_) | Self::Withdraw(_) => {
                std::slice::from_ref(self)
            }
            Self::Exec(_, messages) => messages,
            _ => &[],
        }
    }
}
