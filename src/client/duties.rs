//! Requests to a node. They return the duties, the roles and the stake of a verifier or a proposer, the escrow of a
//! miner, and the status of a submission.

use super::{Client, ClientError, Connection, invalid_response, text};
use crate::{ledger::BeaconDuty, store::Cid};
use serde::{Deserialize, Serialize};

/// What a verifier must do in a challenge: recompute a submitted gradient and report what it found, or vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationDuty {
    /// ID that the ledger gave to the challenge (the examination of one submitted gradient).
    pub challenge_id: u64,
    /// Stage of the challenge: `commit` (the sampled verifiers commit to their findings), `reveal` (they reveal them),
    /// or `panel` (they disagree, and all validators vote).
    pub stage: String,
    /// Whether the verifier has already done what this stage of the challenge requires.
    pub done: bool,
    /// The number of blocks until this stage of the challenge ends. The verifier's transaction must be in one of these
    /// blocks.
    pub blocks_left: u64,
    /// Hash that selects a tile (a part of the gradient). The verifier must attest the digest of this tile.
    #[serde(with = "digits")]
    pub selector: [u8; 32],
    /// CID of the task whose gradient the verifier must recompute.
    #[serde(with = "text")]
    pub task: Cid,
    /// ID that the ledger gave to the submission of the gradient.
    pub stored_gradient_id: u64,
    /// CID of the root block of the artifact, the group of data blocks that contain the submitted gradient.
    #[serde(with = "text")]
    pub ipfs_hash: Cid,
    /// Hash by which the miner has committed to the task and the gradient, as 64 hexadecimal digits.
    pub gradient_hash: String,
    /// Hash by which the verifier has committed to its finding, in hexadecimal; `None` if it has not committed yet.
    pub committed: Option<String>,
}

/// What a verifier must do now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifierDuties {
    /// What the verifier must do in open challenges.
    pub challenges: Vec<VerificationDuty>,
    /// What the verifier must do for the beacon, the network's source of random values; `None` if it has nothing to do
    /// before the beacon's next epoch.
    #[serde(default)]
    pub beacon: Option<BeaconDuty>,
}

/// A completed round. A proposer must compute the next adapter from the sum of the round's accepted gradients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationJob {
    /// Index of the round.
    pub round: u64,
    /// CID of the adapter for which the gradients of the round were computed.
    #[serde(with = "text")]
    pub adapter: Cid,
    /// All accepted gradients of the round, in ascending order of ID.
    pub gradients: Vec<AggregationInput>,
    /// Whether the waiting time for missing artifacts is over. If it is, the proposer leaves out gradients whose
    /// artifacts it cannot fetch.
    pub may_leave_out: bool,
    /// ID of the proposer's commitment to its aggregate, or `None` if it has not committed yet.
    pub commitment_id: Option<u64>,
    /// IDs of the gradients that the committed aggregate sums; empty before the commitment.
    pub committed: Vec<u64>,
    /// Whether the proposer has revealed the aggregate to which it committed.
    pub revealed: bool,
}

/// An accepted gradient, which a proposer adds to the aggregate of its round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationInput {
    /// ID that the ledger gave to the submission of the gradient.
    pub id: u64,
    /// CID of the task for which the gradient was computed.
    #[serde(with = "text")]
    pub task: Cid,
    /// CID of the root block of the artifact, the group of data blocks that contain the accepted gradient.
    #[serde(with = "text")]
    pub artifact: Cid,
    /// Hash by which the miner has committed to the task and the gradient, as 64 hexadecimal digits.
    pub gradient_hash: String,
}

/// The ledger's record of what has become of a submitted gradient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GradientStatus {
    /// Status of the submission: `pending`, `challenged`, `accepted`, `disputed`, `settled` (accepted for good),
    /// `withdrawn` or `rejected`.
    pub status: String,
    /// Why the submission was rejected: `mismatch` (the gradient is wrong), `unavailable` (its bytes could not be
    /// fetched), or `voided` (another gradient of the miner is wrong). `None` if it was not rejected.
    pub finding: Option<String>,
    /// Index of the training round to which the gradient belongs.
    pub round: u64,
}

/// The roles and the stake with which an account is registered on the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRegistration {
    /// Numeric IDs of the roles, such as 3 for a validator and 4 for a proposer, in ascending order.
    pub roles: Vec<u32>,
    /// The stake that the account has deposited, in micro-units.
    pub stake: u64,
}

impl<H: Connection> Client<H> {
    /// Returns the roles and the stake of the client's address. An address that is not registered has no roles and a
    /// stake of 0.
    pub async fn registration(&self) -> Result<NodeRegistration, ClientError> {
        #[derive(Deserialize)]
        struct RolesAndStake {
            roles: Vec<u32>,
            #[serde(with = "text")]
            stake: u64,
        }
        #[derive(Deserialize)]
        struct RegistrationResponse {
            node_registration: RolesAndStake,
        }
        match self.json(&format!("/remes/remes/v1/node_registration/{}", self.address())).await {
            Ok(RegistrationResponse { node_registration: RolesAndStake { roles, stake } }) => {
                Ok(NodeRegistration { roles, stake })
            }
            Err(ClientError::Refused { status: 404, .. }) => Ok(NodeRegistration::default()),
            Err(error) => Err(error),
        }
    }

    /// Returns the sum of the miner's rewards in escrow, in micro-units. The latest rewards of a miner without a stake
    /// are held back in escrow.
    pub async fn escrow(&self) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct MinerScore {
            #[serde(with = "text")]
            escrow: u64,
        }
        #[derive(Deserialize)]
        struct ScoreResponse {
            miner_score: MinerScore,
        }
        let ScoreResponse { miner_score } = self.json(&format!("/remes/remes/v1/miner_score/{}", self.miner())).await?;
        Ok(miner_score.escrow)
    }

    /// Returns the smallest stake, in micro-units, with which an account can register for a role.
    pub async fn min_stake(&self) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct StakeParams {
            min_stake: u64,
        }
        #[derive(Deserialize)]
        struct ParamsResponse {
            params: StakeParams,
        }
        let ParamsResponse { params: StakeParams { min_stake } } = self.json("/remes/remes/v1/params").await?;
        Ok(min_stake)
    }

    /// Returns what the client's address must do as a verifier: recompute gradients for which it was sampled, vote, or
    /// take part in the beacon (the network's source of random values).
    pub async fn duties(&self) -> Result<VerifierDuties, ClientError> {
        self.json(&format!("/r3mes/wgpu/v1/challenges/{}", self.address())).await
    }

    /// Returns the aggregation in which the client's address takes part as a proposer. Returns `None` if the current
    /// round is not ready for it or if the address is not a proposer.
    pub async fn aggregation_job(&self) -> Result<Option<AggregationJob>, ClientError> {
        #[derive(Deserialize)]
        struct AggregationResponse {
            aggregation: Option<AggregationJob>,
        }
        let AggregationResponse { aggregation } =
            self.json(&format!("/r3mes/wgpu/v1/aggregations/{}", self.address())).await?;
        Ok(aggregation)
    }

    /// Requests the status of the submission with the ID `id`. Returns an error if the status is not one that this
    /// client knows.
    pub async fn gradient_status(&self, id: u64) -> Result<GradientStatus, ClientError> {
        #[derive(Deserialize)]
        struct StatusResponse {
            stored_gradient: GradientStatus,
        }
        let path = format!("/remes/remes/v1/stored_gradient/{id}");
        let StatusResponse { stored_gradient } = self.json(&path).await?;
        match stored_gradient.status.as_str() {
            "pending" | "challenged" | "accepted" | "disputed" | "settled" | "withdrawn" | "rejected" => {
                Ok(stored_gradient)
            }
            _ => Err(invalid_response(&path, "the status is unknown")),
        }
    }
}

/// Serialization of 32 bytes as a string of 64 hexadecimal digits, for serde.
mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let commitment = crate::protocol::Commitment::from_hex(&text);
        commitment.map(|found| found.0).ok_or_else(|| D::Error::custom("not 64 hexadecimal digits"))
    }
}
