//! The messages that the ledger executes, each declared once with its type URL, its fields, its arm of [`Message`], its
//! signer and its checks.
//!
//! The messages of `remes.remes.v1` have the field numbers of the R3MES chain. Those of `r3mes.wgpu.v1` are this
//! project's.

use super::{
    Allowance, Grant, GrantPair, Transfer, TxError,
    grants::{self, decode},
    table::{messages, payload, protobuf},
};
use cosmrs::{Any, proto::cosmos::authz::v1beta1::MsgExec};
use prost::{Message as _, Name};

/// The most messages in a transaction, and in a `MsgExec`.
pub const MAX_MESSAGES: usize = 16;

messages! {
    package "remes.remes.v1" {
        /// Reserves a chunk of a pool for a miner.
        ClaimTask(MsgClaimTask) signed by miner, allowed in MsgExec {
            /// Address of the miner, which is paid for the gradient.
            miner: String = string "1",
            /// ID of the pool.
            pool_id: u64 = uint64 "2",
            /// ID of the chunk, one of the IDs that the pool lists as available.
            chunk_id: u64 = uint64 "3",
        }
        /// Submits a gradient by the CID of its artifact.
        SubmitGradient(MsgSubmitGradient in Box) signed by miner, allowed in MsgExec {
            /// Address of the miner, which is paid for the gradient.
            miner: String = string "1",
            /// CID of the artifact's root.
            ipfs_hash: String = string "2",
            /// CID of the model's manifest.
            model_version: String = string "3",
            /// Index of the round in which the task was claimed.
            training_round_id: u64 = uint64 "4",
            /// Shard of the miner in this round; see [`shard`](crate::ledger::shard).
            shard_id: u64 = uint64 "5",
            /// The commitment to task and gradient, hexadecimal.
            gradient_hash: String = string "6",
            /// Architecture class of the GPU that computed the gradient.
            gpu_architecture: String = string "7",
            /// A number other than 0 that this miner has not used before in this round.
            nonce: u64 = uint64 "8",
            /// Signature over [`MsgSubmitGradient::signed_text`] by the key that signs the transaction.
            signature: Vec<u8> = bytes "9",
            /// Nonce of the proof of work, if the network requires one.
            proof_of_work_nonce: u64 = uint64 "10",
            /// ID of the model's configuration.
            model_config_id: u64 = uint64 "11",
            /// Hash of the miner's container, if it runs in one.
            container_hash: String = string "12",
            /// Signature of the miner's container, if it runs in one.
            container_signature: Vec<u8> = bytes "13",
            /// Seed of the round; see [`global_seed`](crate::ledger::global_seed).
            global_seed: u64 = uint64 "14",
            /// Mean loss in nats, as a decimal number. The ledger does not check it.
            claimed_loss: String = string "15",
            /// CID of a proof of replication. The ledger does not use it.
            porep_proof_ipfs_hash: String = string "16",
            /// The number of tokens in the chunk: 2048.
            token_count: u64 = uint64 "17",
        }
        /// States that the gradient of a claimed chunk was submitted.
        CompleteTask(MsgCompleteTask) signed by miner, allowed in MsgExec {
            /// Address of the miner.
            miner: String = string "1",
            /// ID of the pool.
            pool_id: u64 = uint64 "2",
            /// ID of the chunk.
            chunk_id: u64 = uint64 "3",
            /// The commitment, as in the submission.
            gradient_hash: String = string "4",
            /// CID of the artifact's root, as in the submission.
            gradient_ipfs_hash: String = string "5",
            /// Architecture class of the GPU, as in the submission.
            miner_gpu: String = string "6",
        }
        /// Registers a node's roles and adds to its stake.
        RegisterNode(MsgRegisterNode) signed by node_address {
            /// Address of the node, which owns the stake.
            node_address: String = string "1",
            /// The main role: 1 mining, 2 serving, 3 validator, 4 proposer.
            node_type: i32 = int32 "2",
            /// The node's hardware, for statistics.
            resources: Option<NodeResources> = message, optional "3",
            /// Coins added to the stake, like `1000uremes`.
            stake: String = string "4",
            /// Roles in addition to `node_type`.
            roles: Vec<i32> = int32, repeated "5",
            /// CID of a proof of the hardware, for statistics.
            resource_proof_ipfs_hash: String = string "7",
        }
        /// A validator's vote in a challenge on which the sampled verifiers disagree.
        Arbitrate(MsgSubmitCPUVerification) signed by validator {
            /// Address of the validator.
            validator: String = string "1",
            /// ID of the challenge.
            challenge_id: u64 = uint64 "2",
            /// Whether the gradient is right.
            is_valid: bool = bool "3",
            /// The commitment that the validator computed, hexadecimal.
            computed_hash: String = string "4",
            /// The commitment that the miner submitted, hexadecimal.
            expected_hash: String = string "5",
            /// The attestation's leaf under the challenge's selector: a digest in hexadecimal, empty for a void task.
            /// The R3MES chain does not have this field.
            leaf: String = string "101",
        }
        /// Commits to the aggregate of a round, which [`MsgRevealAggregation`] reveals.
        CommitAggregation(MsgCommitAggregation) signed by proposer {
            /// Address of the proposer.
            proposer: String = string "1",
            /// The commitment that [`MsgRevealAggregation::commitment`] computes, hexadecimal.
            commitment_hash: String = string "2",
            /// Index of the round.
            training_round_id: u64 = uint64 "3",
            /// IDs of the gradients that the aggregate adds up.
            gradient_ids: Vec<u64> = uint64, repeated "4",
        }
        /// Hands in the result of a named trap job. The ledger always refuses it, because it has no named trap jobs: it
        /// samples traps after the submission.
        AnswerTrap(MsgSubmitTrapJobResult) signed by miner {
            /// Address of the miner.
            miner: String = string "1",
            /// Name of the trap job.
            trap_job_id: String = string "2",
            /// CID of the artifact's root.
            gradient_ipfs_hash: String = string "3",
            /// The commitment to task and gradient, hexadecimal.
            gradient_hash: String = string "4",
        }
    }
    package "r3mes.wgpu.v1" {
        /// Sets the account that receives a miner's rewards from now on.
        SetPayout(MsgSetPayout) signed by miner {
            /// Address of the miner.
            miner: String = string "1",
            /// Address of the account that is paid.
            payout: String = string "2",
        }
        /// Commits to a sampled verifier's attestation, so that no other verifier can copy it.
        CommitAttestation(MsgCommitAttestation) signed by verifier {
            /// Address of the verifier.
            verifier: String = string "1",
            /// ID of the challenge.
            challenge_id: u64 = uint64 "2",
            /// The commitment that [`MsgRevealAttestation::commitment`] computes, 32 bytes.
            commitment: Vec<u8> = bytes "3",
        }
        /// Reveals the attestation to which [`MsgCommitAttestation`] committed.
        RevealAttestation(MsgRevealAttestation in Box) signed by verifier {
            /// Address of the verifier.
            verifier: String = string "1",
            /// ID of the challenge for which the verifier was sampled.
            challenge_id: u64 = uint64 "2",
            /// `match`, `mismatch` or `unavailable`.
            result: String = string "3",
            /// The commitment that the verifier computed, hexadecimal; empty if it could not get the gradient's bytes.
            gradient_hash: String = string "4",
            /// The attestation's leaf under the challenge's selector: a digest in hexadecimal, empty for a void task.
            leaf: String = string "5",
            /// Random bytes that keep the commitment from being guessed.
            salt: Vec<u8> = bytes "6",
        }
        /// Reveals the aggregate to which [`MsgCommitAggregation`] committed.
        RevealAggregation(MsgRevealAggregation in Box) signed by proposer {
            /// Address of the proposer.
            proposer: String = string "1",
            /// ID of the commitment.
            commitment_id: u64 = uint64 "2",
            /// Index of the round.
            training_round_id: u64 = uint64 "3",
            /// IDs of the gradients that the aggregate adds up.
            gradient_ids: Vec<u64> = uint64, repeated "4",
            /// Merkle root over the commitments of these gradients, hexadecimal.
            merkle_root: String = string "5",
            /// CID of the next adapter.
            adapter: String = string "6",
            /// Layout root of the next adapter, hexadecimal.
            layout_root: String = string "7",
            /// CID of the model's manifest.
            model_version: String = string "8",
            /// Random bytes that keep the commitment from being guessed.
            salt: Vec<u8> = bytes "9",
        }
        /// Gives up all roles. The stake is returned after `unbonding_blocks`.
        UnregisterNode(MsgUnregisterNode) signed by node_address {
            /// Address of the node.
            node_address: String = string "1",
        }
        /// Withdraws a miner's claim and those of its submissions whose sampling block has not come yet, for example
        /// because its GPU computes wrongly. The miner may claim nothing for `quarantine_blocks`.
        Withdraw(MsgWithdraw) signed by miner, allowed in MsgExec {
            /// Address of the miner.
            miner: String = string "1",
        }
        /// Opens a dispute about a gradient, with a bond.
        OpenDispute(MsgOpenDispute in Box) signed by challenger {
            /// Address of the challenger, which makes the challenger's moves.
            challenger: String = string "1",
            /// ID of the gradient.
            stored_gradient_id: u64 = uint64 "2",
            /// The chunk from which the gradient was computed, as the bytes of its block.
            chunk: Vec<u8> = bytes "3",
            /// The manifest of the gradient's artifact, as the bytes of its block.
            manifest: Vec<u8> = bytes "4",
        }
        /// Appeals against a finding of a mismatch: each verifier that found it becomes the challenger in a dispute
        /// about the gradient.
        Appeal(MsgAppeal in Box) signed by sender {
            /// Address of the sender, which may be any account.
            sender: String = string "1",
            /// ID of the challenge.
            challenge_id: u64 = uint64 "2",
            /// The chunk from which the gradient was computed, as the bytes of its block.
            chunk: Vec<u8> = bytes "3",
            /// The manifest of the gradient's artifact, as the bytes of its block.
            manifest: Vec<u8> = bytes "4",
        }
        /// Gives an answer that defends a gradient in a dispute, with a bond.
        AnswerDispute(MsgAnswerDispute) signed by sender {
            /// Address of the sender, which may be any account.
            sender: String = string "1",
            /// ID of the dispute.
            dispute_id: u64 = uint64 "2",
            /// The answer, as [`Answer::encode`](crate::dispute::judge::Answer::encode) writes it.
            answer: Vec<u8> = bytes "3",
        }
        /// Makes a move in the game over an answer.
        MoveDispute(MsgMoveDispute) signed by sender {
            /// Address of the account whose turn it is.
            sender: String = string "1",
            /// ID of the dispute.
            dispute_id: u64 = uint64 "2",
            /// Index of the answer in its dispute.
            answer: u64 = uint64 "3",
            /// The move, as [`Move::encode`](crate::dispute::judge::Move::encode) writes it.
            step: Vec<u8> = bytes "4",
        }
        /// Opens a session by a statement that the account signed, for wallets that sign texts only.
        OpenSession(MsgOpenSession in Box) signed by grantee, checked by verify {
            /// Address of the session's key, which mines for the account.
            grantee: String = string "1",
            /// The account's compressed secp256k1 key.
            pub_key: Vec<u8> = bytes "2",
            /// End of the session in seconds since 1970.
            expiration: u64 = uint64 "3",
            /// Micro-units of the account's balance that the session may spend on fees.
            cap: u64 = uint64 "4",
            /// The number of openings and revocations between the two accounts so far. A statement with another number
            /// is refused.
            number: u64 = uint64 "5",
            /// ADR-36 signature of [`MsgOpenSession::statement`] by the account's key.
            signature: Vec<u8> = bytes "6",
        }
        /// Closes a session by a statement that the account signed. This revokes everything that the account granted to
        /// the grantee.
        CloseSession(MsgCloseSession in Box) signed by sender, checked by verify {
            /// Address of the sender, which may be any account.
            sender: String = string "1",
            /// Address of the session's key.
            grantee: String = string "2",
            /// The account's compressed secp256k1 key.
            pub_key: Vec<u8> = bytes "3",
            /// The number of openings and revocations between the two accounts so far. A statement with another number
            /// is refused.
            number: u64 = uint64 "4",
            /// ADR-36 signature of [`MsgCloseSession::statement`] by the account's key.
            signature: Vec<u8> = bytes "5",
        }
    }
    foreign {
        /// A `MsgSend`, which transfers coins.
        Send(transfer: Transfer) = "/cosmos.bank.v1beta1.MsgSend",
            signed by transfer.from, read by Transfer::read, written by Transfer::to_any;
        /// A `MsgGrant`, which permits another account to send one type of message.
        Grant(grant: Grant) = "/cosmos.authz.v1beta1.MsgGrant",
            signed by grant.pair.granter, read by Grant::read, written by Grant::to_any;
        /// A `MsgRevoke`: the two accounts, and the type URL of the message whose grant is revoked.
        Revoke(pair: GrantPair, message: String) = "/cosmos.authz.v1beta1.MsgRevoke",
            signed by pair.granter, read by grants::read_revoke, written by grants::revoke_to_any;
        /// A `MsgGrantAllowance`, which permits another account to pay fees from the granter's balance.
        GrantAllowance(allowance: Allowance) = "/cosmos.feegrant.v1beta1.MsgGrantAllowance",
            signed by allowance.pair.granter, read by Allowance::read, written by Allowance::to_any;
        /// A `MsgRevokeAllowance`, which ends the fee allowance between two accounts.
        RevokeAllowance(pair: GrantPair) = "/cosmos.feegrant.v1beta1.MsgRevokeAllowance",
            signed by pair.granter, read by grants::read_revoke_allowance, written by grants::revoke_allowance_to_any;
        /// A `MsgExec`: the grantee, and messages that it sends in the name of other accounts.
        Exec(grantee: String, messages: Vec<Message>) = "/cosmos.authz.v1beta1.MsgExec",
            signed by grantee, read by read_exec, written by exec_to_any;
    }
}

protobuf! { "remes.remes.v1":
    /// The response to [`MsgClaimTask`].
    MsgClaimTaskResponse {
        /// Whether the miner holds a claim to the chunk.
        success: bool = bool "1",
        /// Hash of the transaction.
        tx_hash: String = string "2",
    }
    /// The response to [`MsgSubmitGradient`].
    MsgSubmitGradientResponse {
        /// ID of the stored gradient.
        stored_gradient_id: u64 = uint64 "1",
        /// Hash of the transaction.
        tx_hash: String = string "2",
    }
    /// The response to [`MsgCompleteTask`].
    MsgCompleteTaskResponse {
        /// Whether the ledger stores that gradient for this chunk.
        success: bool = bool "1",
        /// Hash of the transaction.
        tx_hash: String = string "2",
    }
    /// A node's hardware.
    NodeResources {
        /// The number of CPU cores.
        cpu_cores: u32 = uint32 "1",
        /// Memory in GB.
        memory_gb: u32 = uint32 "2",
        /// The number of GPUs.
        gpu_count: u32 = uint32 "3",
        /// Memory of one GPU in GB.
        gpu_memory_gb: u32 = uint32 "4",
        /// Disk space in GB.
        storage_gb: u32 = uint32 "5",
        /// Network bandwidth in Mbit/s.
        network_bandwidth_mbps: u32 = uint32 "6",
    }
    /// The response to [`MsgRegisterNode`].
    MsgRegisterNodeResponse {
        /// ID of the registration.
        registration_id: u64 = uint64 "1",
    }
    /// The response to [`MsgCommitAggregation`].
    MsgCommitAggregationResponse {
        /// ID of the commitment.
        commitment_id: u64 = uint64 "1",
    }
}

protobuf! { "r3mes.wgpu.v1":
    /// The response to [`MsgOpenDispute`] and [`MsgAppeal`].
    MsgOpenDisputeResponse {
        /// IDs of the opened disputes. The list is empty if the artifact is not the one that the submission committed
        /// to, because the dispute is then upheld immediately.
        dispute_ids: Vec<u64> = uint64, repeated "1",
    }
    /// The response to [`MsgAnswerDispute`].
    MsgAnswerDisputeResponse {
        /// Index of the answer in its dispute.
        answer: u64 = uint64 "1",
    }
}

impl Message {
    /// Returns the mining messages in this message: those that a `MsgExec` carries, the message itself if a `MsgExec`
    /// could carry it, and otherwise none.
    pub fn work(&self) -> &[Self] {
        match self {
            Self::Exec(_, messages) => messages,
            message if Self::is_allowed_in_exec(message.type_url()) => std::slice::from_ref(message),
            _ => &[],
        }
    }
}

/// Reads a `MsgExec`: the grantee and the messages. A `MsgExec` carries mining messages only, so it cannot carry
/// another `MsgExec`.
fn read_exec(value: &[u8], chain_id: &str) -> Result<(String, Vec<Message>), TxError> {
    let MsgExec { grantee, msgs } = decode(value)?;
    if msgs.is_empty() || msgs.len() > MAX_MESSAGES {
        return Err(TxError::Malformed(format!(
            "a MsgExec must carry 1 to {MAX_MESSAGES} messages, not {}",
            msgs.len()
        )));
    }
    let read = |any: &Any| match Message::is_allowed_in_exec(&any.type_url) {
        true => Message::read(any, chain_id),
        false => Err(TxError::Ungrantable(any.type_url.chars().take(64).collect())),
    };
    Ok((grantee, msgs.iter().map(read).collect::<Result<_, _>>()?))
}

fn exec_to_any(grantee: &str, messages: &[Message]) -> Any {
    let exec = MsgExec { grantee: grantee.to_owned(), msgs: messages.iter().map(Message::to_any).collect() };
    Any { type_url: MsgExec::type_url(), value: exec.encode_to_vec() }
}
