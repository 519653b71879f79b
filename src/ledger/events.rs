//! Events: those changes by a block for which users and nodes wait.

use super::Finding;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A change for which users and nodes wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
#[non_exhaustive]
pub enum Event {
    /// A miner claimed a chunk slot.
    Claimed {
        /// Address of the miner.
        miner: String,
        /// Index of the round.
        round: u64,
        /// Position of the chunk slot.
        position: u64,
    },
    /// A gradient was submitted.
    Submitted {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
        /// CID of the artifact's root.
        artifact: String,
    },
    /// Verifiers were sampled to recompute a gradient.
    Sampled {
        /// ID of the challenge.
        challenge: u64,
        /// Addresses of the verifiers.
        verifiers: Vec<String>,
    },
    /// A gradient was accepted and paid.
    Accepted {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
        /// CID of the artifact's root.
        artifact: String,
        /// Index of the round.
        round: u64,
        /// Address of the account that was paid.
        payee: String,
        /// Balance of the payee after the payment, in micro-units.
        balance: u64,
    },
    /// A gradient was rejected.
    Rejected {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
        /// The finding for which the gradient was rejected.
        finding: Finding,
    },
    /// A miner withdrew a gradient.
    Withdrawn {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
    },
    /// A dispute about a gradient was opened.
    Disputed {
        /// ID of the dispute.
        dispute: u64,
        /// ID of the gradient.
        id: u64,
        /// Address of the challenger.
        challenger: String,
    },
    /// A dispute was upheld or dismissed.
    Judged {
        /// ID of the dispute.
        dispute: u64,
        /// ID of the gradient.
        id: u64,
        /// True if an answer won and the dispute was dismissed; false if the dispute was upheld.
        upheld: bool,
    },
    /// A node lost part of its stake.
    Slashed {
        /// Address of the node.
        node: String,
        /// Lost amount in micro-units.
        amount: u64,
    },
    /// A round has as many accepted gradients as its quota, and waits for its aggregate.
    RoundFull {
        /// Index of the round.
        round: u64,
    },
    /// A round ended with an aggregate.
    RoundClosed {
        /// Index of the round.
        round: u64,
        /// CID of the adapter from which the next round starts.
        adapter: String,
    },
}

impl Event {
    /// Returns the event as Cosmos chains report it: a type, and attributes as text.
    pub fn attributes(&self) -> (String, Vec<(String, String)>) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = serde_json::to_value(self).unwrap_or_default();
        let attributes = fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "type");
        (text(&fields["type"]), attributes.map(|(name, value)| (name.clone(), text(value))).collect())
    }
}
