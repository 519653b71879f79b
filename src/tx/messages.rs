//! The messages that the ledger executes. Each message is declared once, with its type URL, its fields, its variant of
//! [`Message`], its signer and its checks.
//!
//! The messages of the package `remes.remes.v1` have the field numbers of the original R3MES chain. The messages of the
//! package `r3mes.wgpu.v1` were added by this project.

use super::{
    Allowance, Grant, GrantPair, Transfer, TxError,
    amino::{Amino, MAX_NAME_BYTES, object, typed},
    canonical_address,
    encoding::{decode, decode_canonical},
    grants,
    table::{messages, payload, protobuf},
};
use cosmrs::{Any, proto::cosmos::authz::v1beta1::MsgExec};
use prost::{Message as _, Name};
use serde_json::Value;

/// The largest number of messages in a transaction. The same limit applies to the messages inside a `MsgExec`.
pub const MAX_MESSAGES: usize = 16;

messages! {
    package "remes.remes.v1", amino "remes" {
        /// Claims a chunk: reserves it for a miner for a limited time.
        ClaimTask(MsgClaimTask) signed by miner, allowed in MsgExec {
            /// The address of the miner, for which the chunk is reserved.
            miner: String = string "1",
            /// The ID of the pool to which the chunk belongs. The only pool has the ID 0.
            pool_id: u64 = uint64 "2",
            /// The ID of the chunk. It is the ID of a chunk that the pool lists as available to claim.
            chunk_id: u64 = uint64 "3",
        }
        /// Submits the gradient of a claimed chunk. The message contains the CID of the gradient's artifact, not the
        /// gradient itself.
        SubmitGradient(MsgSubmitGradient in Box) signed by miner, allowed in MsgExec {
            /// The address of the miner that computed the gradient.
            miner: String = string "1",
            /// The CID of the root block of the gradient's artifact.
            ipfs_hash: String = string "2",
            /// The CID of the manifest of the model for which the gradient was computed.
            model_version: String = string "3",
            /// The index of the round in which the miner claimed the chunk.
            training_round_id: u64 = uint64 "4",
            /// The index of the shard (a group of miners) to which the miner belongs in this round; see
            /// [`shard`](crate::ledger::shard).
            shard_id: u64 = uint64 "5",
            /// The commitment, in hexadecimal: a hash that binds the gradient to its task and its miner.
            gradient_hash: String = string "6",
            /// The name of the hardware that computed the gradient, for statistics only.
            gpu_architecture: String = string "7",
            /// A number other than 0 that differs from the nonces of the miner's other submissions in this round.
            nonce: u64 = uint64 "8",
            /// The signature of the text that [`MsgSubmitGradient::signed_text`] returns, made with the key that signs
            /// the transaction.
            signature: Vec<u8> = bytes "9",
            /// The nonce of the proof of work. It is checked only if the network requires a proof of work.
            proof_of_work_nonce: u64 = uint64 "10",
            /// The ID of the model's configuration. This ledger does not use it.
            model_config_id: u64 = uint64 "11",
            /// The hash of the container in which the miner runs, if any. This ledger does not use it.
            container_hash: String = string "12",
            /// The signature of the container in which the miner runs, if any. This ledger does not use it.
            container_signature: Vec<u8> = bytes "13",
            /// The seed of the round, as computed by [`global_seed`](crate::ledger::global_seed).
            global_seed: u64 = uint64 "14",
            /// The mean loss of the chunk in nats per token, as a decimal number. The ledger does not check it.
            claimed_loss: String = string "15",
            /// The CID of a proof of replication. This ledger does not use it.
            porep_proof_ipfs_hash: String = string "16",
            /// The number of tokens in the chunk, which must be 2048.
            token_count: u64 = uint64 "17",
        }
        /// States that the miner has submitted the gradient of a chunk. The ledger checks that it has stored this
        /// submission, and does nothing else.
        CompleteTask(MsgCompleteTask) signed by miner, allowed in MsgExec {
            /// The address of the miner that submitted the gradient.
            miner: String = string "1",
            /// The ID of the pool to which the chunk belongs. The only pool has the ID 0.
            pool_id: u64 = uint64 "2",
            /// The ID of the chunk whose gradient was submitted.
            chunk_id: u64 = uint64 "3",
            /// The commitment (the hash that binds the gradient to its task) as stated in the submission, in
            /// hexadecimal.
            gradient_hash: String = string "4",
            /// The CID of the root block of the artifact, as stated in the submission.
            gradient_ipfs_hash: String = string "5",
            /// The name of the hardware that computed the gradient, as stated in the submission.
            miner_gpu: String = string "6",
        }
        /// Sets the roles of a node, and adds coins to its stake.
        RegisterNode(MsgRegisterNode) signed by node_address {
            /// The address of the account to which the node and its stake belong.
            node_address: String = string "1",
            /// The main role of the node: 1 (mining), 2 (serving), 3 (validator) or 4 (proposer). In this ledger, only
            /// the roles 3 and 4 have an effect.
            node_type: i32 = int32 "2",
            /// A description of the node's hardware, for statistics only.
            resources: Option<NodeResources> = message, optional "3",
            /// The amount that is added to the stake, such as `1000uremes`.
            stake: String = string "4",
            /// Further roles of the node, in addition to `node_type`: each is 1 (mining), 2 (serving), 3 (validator) or
            /// 4 (proposer). In this ledger, only the roles 3 and 4 have an effect.
            roles: Vec<i32> = int32, repeated "5",
            /// The CID of a proof that the node has the stated hardware, for statistics only.
            resource_proof_ipfs_hash: String = string "7",
        }
        /// A validator's vote on whether a gradient is correct. All validators vote if the verifiers that were sampled
        /// to recompute the gradient disagree.
        Arbitrate(MsgSubmitCPUVerification) signed by validator {
            /// The address of the validator that votes.
            validator: String = string "1",
            /// The ID of the challenge (the recomputation of one gradient) whose sampled verifiers disagree.
            challenge_id: u64 = uint64 "2",
            /// The vote: `true` if the validator has found that the gradient is correct.
            is_valid: bool = bool "3",
            /// The gradient's commitment (a hash of the gradient and its task) as the validator computed it, in
            /// hexadecimal. Empty if the validator could not recompute the gradient, because blocks of the task could
            /// not be fetched; in that case, the vote must be `false`.
            computed_hash: String = string "4",
            /// The gradient's commitment (a hash of the gradient and its task) as the miner submitted it, in
            /// hexadecimal.
            expected_hash: String = string "5",
            /// The attestation leaf, in hexadecimal: the hash of one tile (part) of the exact gradient. A random value
            /// selects the tile after the gradient was submitted. Empty if a value saturated during the training step.
            /// The message of the original R3MES chain does not have this field.
            leaf: String = string "101",
        }
        /// Commits to the aggregate of a round. The aggregate is the adapter after the round's optimizer step. The
        /// proposer reveals the aggregate later with [`MsgRevealAggregation`].
        CommitAggregation(MsgCommitAggregation) signed by proposer {
            /// The address of the proposer that computed the aggregate.
            proposer: String = string "1",
            /// The commitment that [`MsgRevealAggregation::commitment`] computes, in hexadecimal.
            commitment_hash: String = string "2",
            /// The index of the round whose gradients were aggregated.
            training_round_id: u64 = uint64 "3",
            /// The IDs of the gradients that are added up in the aggregate, in ascending order.
            gradient_ids: Vec<u64> = uint64, repeated "4",
        }
        /// Submits the result of a trap job: a job with a known result, which tests the miner. This ledger has no trap
        /// jobs, so it always refuses this message. Instead, verifiers recompute some of the submitted gradients, which
        /// are selected after the miners have sent them.
        AnswerTrap(MsgSubmitTrapJobResult) signed by miner {
            /// The address of the miner that computed the trap job.
            miner: String = string "1",
            /// The name of the trap job.
            trap_job_id: String = string "2",
            /// The CID of the root block of the result's artifact.
            gradient_ipfs_hash: String = string "3",
            /// The commitment, in hexadecimal: a hash that binds the gradient to its task and its miner.
            gradient_hash: String = string "4",
        }
    }
    package "r3mes.wgpu.v1", amino "r3mes-wgpu" {
        /// Sets the payout address of a miner. All later rewards of the miner are paid to this address.
        SetPayout(MsgSetPayout) signed by miner, naming payout {
            /// The address of the miner whose payout address is set.
            miner: String = string "1",
            /// The address of the account to which the rewards are paid.
            payout: String = string "2",
        }
        /// Publishes the hash of a verifier's attestation, its statement about a gradient that it was selected to
        /// recompute. The verifier publishes the attestation itself later, so that no other verifier can copy it.
        CommitAttestation(MsgCommitAttestation) signed by verifier {
            /// The address of the verifier that attests.
            verifier: String = string "1",
            /// The ID of the challenge (the recomputation of one gradient) for which the verifier was sampled.
            challenge_id: u64 = uint64 "2",
            /// The commitment that [`MsgRevealAttestation::commitment`] computes, 32 bytes.
            commitment: Vec<u8> = bytes "3",
        }
        /// Reveals the attestation of a verifier: its statement about a gradient that it was selected to recompute. The
        /// attestation must have the hash that the verifier published earlier with [`MsgCommitAttestation`].
        RevealAttestation(MsgRevealAttestation in Box) signed by verifier {
            /// The address of the verifier that attests.
            verifier: String = string "1",
            /// The ID of the challenge (the recomputation of one gradient) for which the verifier was sampled.
            challenge_id: u64 = uint64 "2",
            /// What the verifier has found: `match` (the gradient is correct), `mismatch` (it is wrong) or
            /// `unavailable` (it cannot be recomputed, because blocks of the task could not be fetched).
            result: String = string "3",
            /// The gradient's commitment (a hash of the gradient and its task) as the verifier computed it, in
            /// hexadecimal. Empty if the verifier could not recompute the gradient.
            gradient_hash: String = string "4",
            /// The attestation leaf, in hexadecimal: the hash of one tile (part) of the exact gradient. A random value
            /// selects the tile after the gradient was submitted. Empty if a value saturated during the training step.
            leaf: String = string "5",
            /// Random bytes, which are hashed into the commitment so that nobody can guess what was committed to.
            salt: Vec<u8> = bytes "6",
        }
        /// Reveals the secret number of a validator for the current epoch of the beacon, the network's source of random
        /// values. Also commits to the validator's secret number for the next epoch.
        RevealBeacon(MsgRevealBeacon) signed by validator {
            /// The address of the validator.
            validator: String = string "1",
            /// The index of the beacon's current epoch.
            epoch: u64 = uint64 "2",
            /// The validator's secret number for the current epoch, 32 random bytes. Empty if the validator has not
            /// committed to a number for this epoch.
            number: Vec<u8> = bytes "3",
            /// The commitment to the validator's secret number for the next epoch, 32 bytes, as computed by
            /// [`MsgRevealBeacon::commitment`].
            next: Vec<u8> = bytes "4",
        }
        /// Reveals the aggregate of a round, the adapter after the round's optimizer step. The aggregate must have the
        /// hash that the proposer published earlier with [`MsgCommitAggregation`].
        RevealAggregation(MsgRevealAggregation in Box) signed by proposer {
            /// The address of the proposer that computed the aggregate.
            proposer: String = string "1",
            /// The ID that the ledger gave to the proposer's commitment and returned in
            /// [`MsgCommitAggregationResponse`].
            commitment_id: u64 = uint64 "2",
            /// The index of the round whose gradients were aggregated.
            training_round_id: u64 = uint64 "3",
            /// The IDs of the gradients that are added up in the aggregate, in ascending order.
            gradient_ids: Vec<u64> = uint64, repeated "4",
            /// The Merkle root over the commitments of the aggregated gradients, in hexadecimal.
            merkle_root: String = string "5",
            /// The CID of the adapter that results from the aggregation. The next round starts with this adapter.
            adapter: String = string "6",
            /// The layout root of the next adapter, in hexadecimal: the Merkle root over the buffers into which the
            /// factors of the adapter are packed.
            layout_root: String = string "7",
            /// The CID of the manifest of the model to which the adapter belongs.
            model_version: String = string "8",
            /// Random bytes, which are hashed into the commitment so that nobody can guess what was committed to.
            salt: Vec<u8> = bytes "9",
        }
        /// Ends all roles of a node. The stake is returned `unbonding_blocks` blocks later; this number is a parameter
        /// of the network.
        UnregisterNode(MsgUnregisterNode) signed by node_address {
            /// The address of the account to which the node and its stake belong.
            node_address: String = string "1",
        }
        /// Sets the public key of the CometBFT process of a validator. From the next block on, this process has a voting
        /// power that follows the stake of the validator. The ledger refuses the message if its genesis contains no
        /// consensus keys.
        SetConsensusKey(MsgSetConsensusKey) signed by node_address {
            /// The address of the validator.
            node_address: String = string "1",
            /// The Ed25519 public key of the validator's CometBFT process, 32 bytes.
            key: Vec<u8> = bytes "2",
        }
        /// Withdraws a miner's claim and its latest submissions, for example after the miner has found that its GPU
        /// computes wrong results. A random value decides whether verifiers recompute a submission. The submission can
        /// be withdrawn only before anything about this value can be known. After this message, the miner cannot claim
        /// any chunk for `quarantine_blocks` blocks; this number is a parameter of the network. If a session key sends
        /// the message for the miner, only the claims and submissions of this session key are withdrawn.
        Withdraw(MsgWithdraw) signed by miner, allowed in MsgExec {
            /// The address of the miner that withdraws.
            miner: String = string "1",
        }
        /// Opens a dispute about a gradient. The challenger must lock a bond.
        OpenDispute(MsgOpenDispute in Box) signed by challenger {
            /// The address of the account that disputes the gradient. Only this account may make the challenger's
            /// moves.
            challenger: String = string "1",
            /// The ID of the disputed gradient, from [`MsgSubmitGradientResponse`].
            stored_gradient_id: u64 = uint64 "2",
            /// The encoded bytes of the chunk from which the gradient was computed. The ledger checks them against the
            /// CID of the chunk.
            chunk: Vec<u8> = bytes "3",
            /// The encoded bytes of the manifest of the gradient's artifact. The ledger checks them against the
            /// artifact's CID, which the submission states.
            manifest: Vec<u8> = bytes "4",
        }
        /// Appeals against the finding that a gradient is wrong. For each verifier that has found this, a separate
        /// dispute about the gradient is opened, in which the verifier is the challenger.
        Appeal(MsgAppeal in Box) signed by sender {
            /// The address of the account that sends the message, which may be any account.
            sender: String = string "1",
            /// The ID of the challenge (the recomputation of one gradient) in which the gradient was found to be wrong.
            challenge_id: u64 = uint64 "2",
            /// The encoded bytes of the chunk from which the gradient was computed. The ledger checks them against the
            /// CID of the chunk.
            chunk: Vec<u8> = bytes "3",
            /// The encoded bytes of the manifest of the gradient's artifact. The ledger checks them against the
            /// artifact's CID, which the submission states.
            manifest: Vec<u8> = bytes "4",
        }
        /// Gives an answer in a dispute, to defend the disputed gradient. The sender must lock a bond.
        AnswerDispute(MsgAnswerDispute) signed by sender {
            /// The address of the account that sends the message, which may be any account.
            sender: String = string "1",
            /// The ID of the dispute in which the answer is given.
            dispute_id: u64 = uint64 "2",
            /// The answer, encoded by [`Answer::encode`](crate::dispute::judge::Answer::encode).
            answer: Vec<u8> = bytes "3",
        }
        /// Makes a move in a dispute. An answer is a statement that defends the disputed gradient. For each answer,
        /// there is a separate game between the challenger and the side that defends the answer.
        MoveDispute(MsgMoveDispute) signed by sender {
            /// The address of the account that makes the move.
            sender: String = string "1",
            /// The ID of the dispute in which the move is made.
            dispute_id: u64 = uint64 "2",
            /// The index of the answer that the move attacks or defends. The answers of a dispute are counted from 0.
            answer: u64 = uint64 "3",
            /// The move, encoded by [`Move::encode`](crate::dispute::judge::Move::encode).
            step: Vec<u8> = bytes "4",
        }
        /// Opens a session, in which another key mines for an account. The account permits this by signing a text
        /// instead of a transaction, because some wallets cannot sign transactions.
        OpenSession(MsgOpenSession in Box) signed by grantee, checked by check {
            /// The address of the session's key, which mines for the account.
            grantee: String = string "1",
            /// The compressed secp256k1 public key of the account, 33 bytes.
            pub_key: Vec<u8> = bytes "2",
            /// The time at which the session ends, in seconds since 1970.
            expiration: u64 = uint64 "3",
            /// The largest total amount that the session may spend on fees from the account's balance, in micro-units.
            cap: u64 = uint64 "4",
            /// A number that is also in the signed text, so that the text cannot be used twice. It must equal a count
            /// that the ledger keeps: how many times so far the account has opened or closed a session of this key,
            /// granted a fee allowance to the key, or revoked a grant or an allowance of the key.
            number: u64 = uint64 "5",
            /// The ADR-36 signature of the text that [`MsgOpenSession::statement`] returns, made with the account's
            /// key.
            signature: Vec<u8> = bytes "6",
        }
        /// Closes a session. The account permits this by signing a text. Everything that the account has granted to the
        /// session's key is revoked.
        CloseSession(MsgCloseSession in Box) signed by sender, naming grantee, checked by check {
            /// The address of the account that sends the message, which may be any account.
            sender: String = string "1",
            /// The address of the session's key.
            grantee: String = string "2",
            /// The compressed secp256k1 public key of the account, 33 bytes.
            pub_key: Vec<u8> = bytes "3",
            /// A number that is also in the signed text, so that the text cannot be used twice. It must equal a count
            /// that the ledger keeps: how many times so far the account has opened or closed a session of this key,
            /// granted a fee allowance to the key, or revoked a grant or an allowance of the key.
            number: u64 = uint64 "4",
            /// The ADR-36 signature of the text that [`MsgCloseSession::statement`] returns, made with the account's
            /// key.
            signature: Vec<u8> = bytes "5",
        }
    }
    foreign {
        /// A `MsgSend` of the Cosmos SDK, which transfers coins.
        Send(transfer: Transfer) = "/cosmos.bank.v1beta1.MsgSend", amino "cosmos-sdk/MsgSend",
            signed by transfer.from, read by Transfer::read, written by Transfer::to_any,
            shown by Transfer::amino;
        /// A `MsgGrant` of the Cosmos SDK, which permits another account to send messages of one type in the granter's
        /// name.
        Grant(grant: Grant) = "/cosmos.authz.v1beta1.MsgGrant", amino "cosmos-sdk/MsgGrant",
            signed by grant.pair.granter, read by Grant::read, written by Grant::to_any,
            shown by Grant::amino;
        /// A `MsgRevoke` of the Cosmos SDK, which ends a grant. This variant contains the granter, the grantee, and the
        /// type URL of the messages that the grant permits.
        Revoke(pair: GrantPair, message: String) = "/cosmos.authz.v1beta1.MsgRevoke", amino "cosmos-sdk/MsgRevoke",
            signed by pair.granter, read by grants::read_revoke, written by grants::revoke_to_any,
            shown by grants::revoke_amino;
        /// A `MsgGrantAllowance` of the Cosmos SDK, which permits another account to pay fees from the granter's
        /// balance.
        GrantAllowance(allowance: Allowance) = "/cosmos.feegrant.v1beta1.MsgGrantAllowance", amino "cosmos-sdk/MsgGrantAllowance",
            signed by allowance.pair.granter, read by Allowance::read, written by Allowance::to_any,
            shown by Allowance::amino;
        /// A `MsgRevokeAllowance` of the Cosmos SDK, which ends a fee allowance.
        RevokeAllowance(pair: GrantPair) = "/cosmos.feegrant.v1beta1.MsgRevokeAllowance", amino "cosmos-sdk/MsgRevokeAllowance",
            signed by pair.granter, read by grants::read_revoke_allowance, written by grants::revoke_allowance_to_any,
            shown by grants::revoke_allowance_amino;
        /// A `MsgExec` of the Cosmos SDK: the address of the grantee, and the messages that the grantee sends in the
        /// names of other accounts.
        Exec(grantee: String, messages: Vec<Message>) = "/cosmos.authz.v1beta1.MsgExec", amino "cosmos-sdk/MsgExec",
            signed by grantee, read by read_exec, written by exec_to_any, shown by exec_amino;
    }
}

protobuf! { "remes.remes.v1":
    /// The response to [`MsgClaimTask`].
    MsgClaimTaskResponse {
        /// Always `true`. If the ledger refuses the claim, the transaction fails without this response.
        success: bool = bool "1",
        /// The hash of the transaction that contains the message, in upper-case hexadecimal.
        tx_hash: String = string "2",
    }
    /// The response to [`MsgSubmitGradient`].
    MsgSubmitGradientResponse {
        /// The ID that the ledger has given to the gradient.
        stored_gradient_id: u64 = uint64 "1",
        /// The hash of the transaction that contains the message, in upper-case hexadecimal.
        tx_hash: String = string "2",
    }
    /// The response to [`MsgCompleteTask`].
    MsgCompleteTaskResponse {
        /// Always `true`. If the ledger has not stored the submission, the transaction fails without this response.
        success: bool = bool "1",
        /// The hash of the transaction that contains the message, in upper-case hexadecimal.
        tx_hash: String = string "2",
    }
    /// A description of a node's hardware.
    NodeResources {
        /// The number of CPU cores.
        cpu_cores: u32 = uint32 "1",
        /// The size of the main memory, in GB.
        memory_gb: u32 = uint32 "2",
        /// The number of GPUs.
        gpu_count: u32 = uint32 "3",
        /// The size of the memory of each GPU, in GB.
        gpu_memory_gb: u32 = uint32 "4",
        /// The size of the disk space, in GB.
        storage_gb: u32 = uint32 "5",
        /// The bandwidth of the network connection, in Mbit/s.
        network_bandwidth_mbps: u32 = uint32 "6",
    }
    /// The response to [`MsgRegisterNode`].
    MsgRegisterNodeResponse {
        /// The ID that the ledger has given to the node. Later registrations of the node keep this ID.
        registration_id: u64 = uint64 "1",
    }
    /// The response to [`MsgCommitAggregation`].
    MsgCommitAggregationResponse {
        /// The ID that the ledger has given to the commitment. The [`MsgRevealAggregation`] that follows must state
        /// this ID.
        commitment_id: u64 = uint64 "1",
    }
}

protobuf! { "r3mes.wgpu.v1":
    /// The response to [`MsgOpenDispute`] and [`MsgAppeal`].
    MsgOpenDisputeResponse {
        /// The IDs of the disputes that were opened. After a [`MsgOpenDispute`], the list is empty if the artifact's
        /// manifest is invalid or does not match the submission's commitment. In this case, the ledger rejects the
        /// gradient immediately, without a dispute.
        dispute_ids: Vec<u64> = uint64, repeated "1",
    }
    /// The response to [`MsgAnswerDispute`].
    MsgAnswerDisputeResponse {
        /// The index of the new answer. The answers of a dispute are counted from 0.
        answer: u64 = uint64 "1",
    }
}

impl Message {
    /// Returns the mining messages in this message. For a `MsgExec`, they are the messages inside it; for a mining
    /// message, it is the message itself. For any other message, the result is empty.
    pub fn mining_messages(&self) -> &[Self] {
        match self {
            Self::Exec(_, messages) => messages,
            message if Self::is_allowed_in_exec(message.type_url()) => std::slice::from_ref(message),
            _ => &[],
        }
    }
}

/// Decodes a `MsgExec`. Returns the grantee, and the messages inside the `MsgExec`. All of them must be mining
/// messages, so a `MsgExec` cannot contain another `MsgExec`.
fn read_exec(value: &[u8]) -> Result<(String, Vec<Message>), TxError> {
    let MsgExec { grantee, msgs } = decode(value)?;
    if msgs.is_empty() || msgs.len() > MAX_MESSAGES {
        return Err(TxError::Malformed(format!(
            "a MsgExec must carry 1 to {MAX_MESSAGES} messages, not {}",
            msgs.len()
        )));
    }
    let read = |any: &Any| match Message::is_allowed_in_exec(&any.type_url) {
        true => Message::read(any),
        false => Err(TxError::Ungrantable(any.type_url.chars().take(64).collect())),
    };
    Ok((canonical_address(&grantee)?, msgs.iter().map(read).collect::<Result<_, _>>()?))
}

fn exec_to_any(grantee: &str, messages: &[Message]) -> Any {
    let exec = MsgExec { grantee: grantee.to_owned(), msgs: messages.iter().map(Message::to_any).collect() };
    Any { type_url: MsgExec::type_url(), value: exec.encode_to_vec() }
}

fn exec_amino(value: &[u8]) -> Result<Value, TxError> {
    let MsgExec { grantee, msgs } = decode_canonical(value)?;
    let messages = msgs.iter().map(Message::amino).collect::<Result<Vec<_>, _>>()?;
    Ok(object([("grantee", grantee.to_amino()), ("msgs", Some(messages.into()))]))
}
