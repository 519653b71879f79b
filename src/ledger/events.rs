//! Events: changes to the ledger that are reported to users and nodes. A user or a node may be waiting for such a
//! change.

use super::Finding;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A change to the ledger that is reported to users and nodes. A user or a node may be waiting for such a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
#[non_exhaustive]
pub enum Event {
    /// A miner claimed a chunk slot, which reserves one chunk of the round for it.
    Claimed {
        /// Address of the miner.
        miner: String,
        /// Index of the round to which the chunk slot belongs.
        round: u64,
        /// Position of the chunk slot: its number, counted over all rounds.
        position: u64,
    },
    /// A miner submitted a gradient.
    Submitted {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
        /// CID of the root block (the manifest) of the gradient's artifact.
        artifact: String,
    },
    /// Verifiers were sampled to recompute a gradient.
    Sampled {
        /// ID of the challenge: the recomputation of the gradient by these verifiers.
        challenge: u64,
        /// Addresses of the verifiers that were sampled.
        verifiers: Vec<String>,
    },
    /// A gradient was accepted. It can still be disputed.
    Accepted {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
        /// CID of the root block (the manifest) of the gradient's artifact.
        artifact: String,
        /// Index of the round for which the gradient was computed.
        round: u64,
    },
    /// A gradient was accepted for good, and its reward was paid or added to the miner's escrow.
    Settled {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
        /// Address of the account that receives the miner's rewards.
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
        /// Why the gradient was rejected: it is wrong, or the bytes of its artifact cannot be fetched.
        finding: Finding,
    },
    /// A gradient was voided, because another gradient of the same miner was proven wrong.
    Voided {
        /// ID of the gradient.
        id: u64,
        /// Address of the miner.
        miner: String,
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
    /// A dispute ended: it was upheld or dismissed.
    Judged {
        /// ID of the dispute.
        dispute: u64,
        /// ID of the gradient.
        id: u64,
        /// True if the dispute was upheld, which means that the gradient is rejected; false if it was dismissed because
        /// an answer won.
        upheld: bool,
    },
    /// A node lost a part of its stake as a penalty.
    Slashed {
        /// Address of the node.
        node: String,
        /// The amount that the node lost, in micro-units.
        amount: u64,
    },
    /// A round has as many accepted gradients as its quota requires.
    RoundFull {
        /// Index of the round that is full.
        round: u64,
    },
    /// A round ended, and the next round starts from the adapter that the proposers computed.
    RoundClosed {
        /// Index of the round that ended.
        round: u64,
        /// CID of the adapter from which the next round starts.
        adapter: String,
    },
}

impl Event {
    /// Returns the event as Cosmos chains report events: a type, and attributes as pairs of a name and a text.
    pub fn attributes(&self) -> (String, Vec<(String, String)>) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = serde_json::to_value(self).unwrap_or_default();
        let attributes = fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "type");
        (text(&fields["type"]), attributes.map(|(name, value)| (name.clone(), text(value))).collect())
    }
}
