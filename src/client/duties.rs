//! What a node asks of verifiers and proposers, and what became of submissions.

use super::{Client, ClientError, Host, invalid_response, text};
use crate::store::Cid;
use serde::{Deserialize, Serialize};

/// A recomputation that a verifier was drawn for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// Its number.
    pub challenge_id: u64,
    /// `commit`, `reveal` or `panel`.
    pub stage: String,
    /// Whether the verifier has done its part of this stage.
    pub done: bool,
    /// Blocks to come that may hold its part.
    pub blocks_left: u64,
    /// What chooses the leaf of the trace.
    #[serde(with = "digits")]
    pub selector: [u8; 32],
    /// CID of the task.
    #[serde(with = "text")]
    pub task: Cid,
    /// Number of the gradient.
    pub stored_gradient_id: u64,
    /// Root of its artifact.
    #[serde(with = "text")]
    pub ipfs_hash: Cid,
    /// Its commitment, hexadecimal.
    pub gradient_hash: String,
    /// What the verifier committed, hexadecimal.
    pub committed: Option<String>,
}

/// A round that waits for its aggregate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationJob {
    /// The round.
    pub round: u64,
    /// Root of the adapter that it started from.
    #[serde(with = "text")]
    pub adapter: Cid,
    /// The gradients that count.
    pub gradients: Vec<AggregationInput>,
    /// Whether what can not be had by now is left out.
    pub waited: bool,
    /// Number of what the proposer committed to.
    pub commitment_id: Option<u64>,
    /// Numbers of the gradients in that.
    pub committed: Vec<u64>,
    /// Whether it has shown it.
    pub shown: bool,
}

/// A gradient that counts in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationInput {
    /// Its number.
    pub id: u64,
    /// CID of its task.
    #[serde(with = "text")]
    pub task: Cid,
    /// Root of its artifact.
    #[serde(with = "text")]
    pub artifact: Cid,
    /// Its commitment, hexadecimal.
    pub gradient_hash: String,
}

/// Where a submission stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// `pending`, `challenged`, `accepted`, `disputed`, `withdrawn` or `rejected`.
    pub status: String,
    /// Why it is rejected: `mismatch` or `unavailable`.
    pub finding: Option<String>,
    /// Its round.
    pub round: u64,
}

/// What an address answers for, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Roles, in order.
    pub roles: Vec<u32>,
    /// Micro-units.
    pub stake: u64,
}

impl<H: Host> Client<H> {
    /// How this address is registered; without a role or a stake where it is not.
    pub async fn registered(&self) -> Result<Registered, ClientError> {
        #[derive(Deserialize)]
        struct Node {
            roles: Vec<u32>,
            #[serde(with = "text")]
            stake: u64,
        }
        #[derive(Deserialize)]
        struct Answer {
            node_registration: Node,
        }
        match self.json(&format!("/remes/remes/v1/node_registration/{}", self.address())).await {
            Ok(Answer { node_registration: Node { roles, stake } }) => Ok(Registered { roles, stake }),
            Err(ClientError::Refused { status: 404, .. }) => Ok(Registered::default()),
            Err(error) => Err(error),
        }
    }

    /// Micro-units that the miner has earned and that are held back while it is on probation.
    pub async fn escrow(&self) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct Score {
            #[serde(with = "text")]
            escrow: u64,
        }
        #[derive(Deserialize)]
        struct Answer {
            miner_score: Score,
        }
        let Answer { miner_score } = self.json(&format!("/remes/remes/v1/miner_score/{}", self.miner())).await?;
        Ok(miner_score.escrow)
    }

    /// Micro-units without which a node takes no part.
    pub async fn min_stake(&self) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct Told {
            min_stake: u64,
        }
        #[derive(Deserialize)]
        struct Answer {
            params: Told,
        }
        let Answer { params: Told { min_stake } } = self.json("/remes/remes/v1/params").await?;
        Ok(min_stake)
    }

    /// What this address was drawn for.
    pub async fn duties(&self) -> Result<Vec<Duty>, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            challenges: Vec<Duty>,
        }
        let Answer { challenges } = self.json(&format!("/r3mes/wgpu/v1/challenges/{}", self.address())).await?;
        Ok(challenges)
    }

    /// What this address is to add up.
    pub async fn sum(&self) -> Result<Option<AggregationJob>, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            aggregation: Option<AggregationJob>,
        }
        let Answer { aggregation } = self.json(&format!("/r3mes/wgpu/v1/aggregations/{}", self.address())).await?;
        Ok(aggregation)
    }

    /// Where a gradient stands.
    pub async fn stored(&self, id: u64) -> Result<Stored, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            stored_gradient: Stored,
        }
        let path = format!("/remes/remes/v1/stored_gradient/{id}");
        let Answer { stored_gradient } = self.json(&path).await?;
        match stored_gradient.status.as_str() {
            "pending" | "challenged" | "accepted" | "disputed" | "withdrawn" | "rejected" => Ok(stored_gradient),
            _ => Err(invalid_response(&path, "a status that is none")),
        }
    }
}

/// 32 bytes as 64 hexadecimal digits.
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
