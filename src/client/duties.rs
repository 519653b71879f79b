//! Requests of verifiers and proposers: duties, registration, and the status of submissions.

use super::{Client, ClientError, Connection, invalid_response, text};
use crate::store::Cid;
use serde::{Deserialize, Serialize};

/// A recomputation for which a verifier was sampled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationDuty {
    /// ID of the challenge.
    pub challenge_id: u64,
    /// Stage of the challenge: `commit`, `reveal` or `panel`.
    pub stage: String,
    /// Whether the verifier has sent its transaction for this stage.
    pub done: bool,
    /// The number of remaining blocks that can contain the transaction.
    pub blocks_left: u64,
    /// Bytes that select which leaf of the trace must be attested.
    #[serde(with = "digits")]
    pub selector: [u8; 32],
    /// CID of the task.
    #[serde(with = "text")]
    pub task: Cid,
    /// ID of the gradient.
    pub stored_gradient_id: u64,
    /// CID of the artifact's manifest.
    #[serde(with = "text")]
    pub ipfs_hash: Cid,
    /// The submission's commitment, hexadecimal.
    pub gradient_hash: String,
    /// The hash to which the verifier has committed, hexadecimal; `None` before its commitment.
    pub committed: Option<String>,
}

/// A full round whose gradients the proposer must aggregate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationJob {
    /// Index of the round.
    pub round: u64,
    /// CID of the adapter with which the round started.
    #[serde(with = "text")]
    pub adapter: Cid,
    /// The accepted gradients of the round.
    pub gradients: Vec<AggregationInput>,
    /// Whether the waiting time for missing artifacts is over, so that gradients without an available artifact may be
    /// left out.
    pub waited: bool,
    /// ID of the proposer's commitment, if it has committed.
    pub commitment_id: Option<u64>,
    /// IDs of the gradients that the commitment covers.
    pub committed: Vec<u64>,
    /// Whether the proposer has revealed its aggregate.
    pub revealed: bool,
}

/// An accepted gradient of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationInput {
    /// ID of the gradient.
    pub id: u64,
    /// CID of the task.
    #[serde(with = "text")]
    pub task: Cid,
    /// CID of the artifact's manifest.
    #[serde(with = "text")]
    pub artifact: Cid,
    /// The submission's commitment, hexadecimal.
    pub gradient_hash: String,
}

/// The status of a submission on the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GradientStatus {
    /// The status: `pending`, `challenged`, `accepted`, `disputed`, `withdrawn` or `rejected`.
    pub status: String,
    /// Why the submission was rejected: `mismatch` or `unavailable`. `None` for any other status.
    pub finding: Option<String>,
    /// Index of the round to which the submission belongs.
    pub round: u64,
}

/// The roles and the stake of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRegistration {
    /// Codes of the roles, in ascending order.
    pub roles: Vec<u32>,
    /// The stake, in micro-units.
    pub stake: u64,
}

impl<H: Connection> Client<H> {
    /// Returns the registration of the client's address. It has no roles and no stake if the address is not registered.
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

    /// Returns the miner's rewards in escrow, in micro-units. Rewards are in escrow while a miner is on probation.
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

    /// Returns the minimum stake of a node with a role, in micro-units.
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

    /// Returns the recomputations for which this address was sampled.
    pub async fn duties(&self) -> Result<Vec<VerificationDuty>, ClientError> {
        #[derive(Deserialize)]
        struct ChallengesResponse {
            challenges: Vec<VerificationDuty>,
        }
        let ChallengesResponse { challenges } =
            self.json(&format!("/r3mes/wgpu/v1/challenges/{}", self.address())).await?;
        Ok(challenges)
    }

    /// Returns the aggregation that this address must compute or reveal, if there is one.
    pub async fn aggregation_job(&self) -> Result<Option<AggregationJob>, ClientError> {
        #[derive(Deserialize)]
        struct AggregationResponse {
            aggregation: Option<AggregationJob>,
        }
        let AggregationResponse { aggregation } =
            self.json(&format!("/r3mes/wgpu/v1/aggregations/{}", self.address())).await?;
        Ok(aggregation)
    }

    /// Returns the status of the submission with this ID.
    pub async fn gradient_status(&self, id: u64) -> Result<GradientStatus, ClientError> {
        #[derive(Deserialize)]
        struct StatusResponse {
            stored_gradient: GradientStatus,
        }
        let path = format!("/remes/remes/v1/stored_gradient/{id}");
        let StatusResponse { stored_gradient } = self.json(&path).await?;
        match stored_gradient.status.as_str() {
            "pending" | "challenged" | "accepted" | "disputed" | "withdrawn" | "rejected" => Ok(stored_gradient),
            _ => Err(invalid_response(&path, "the status is unknown")),
        }
    }
}

/// Serde of 32 bytes as a string of 64 hexadecimal digits.
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
