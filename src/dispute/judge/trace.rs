//! A trace: for every dispatch of a task the roots of what it wrote, played sequence by sequence.
//!
//! A buffer's tensor is all its words after the dispatch; what nothing wrote in this play is 0.

use super::{
    artifact_encoding::hash_words,
    tensor::tensor_root,
    tree::{self, Hash},
};
use crate::{
    protocol::{Artifact, ArtifactBody, ArtifactClaim, CHUNK_TOKENS},
    store::dag_cbor,
};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "r3mes/trace-leaf/1";

/// Most buffers that a dispatch writes.
pub(in crate::dispute) const MAX_SLOTS: usize = 4;

/// What one dispatch left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceLeaf {
    /// Of the buffers that it wrote, in binding order.
    pub roots: Vec<Hash>,
    /// Whether a value had left its range by then.
    pub saturated: bool,
}

impl TraceLeaf {
    /// Its hash in the trace's tree.
    pub fn hash(&self) -> Hash {
        Hash::leaf(&dag_cbor::encode(FORMAT, self))
    }
}

/// Every leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// In the order of play.
    pub leaves: Vec<TraceLeaf>,
}

impl Trace {
    /// The leaves of its tree.
    pub fn hashes(&self) -> Vec<Hash> {
        self.leaves.iter().map(TraceLeaf::hash).collect()
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        tree::root(&self.hashes())
    }
}

/// What an artifact says that its task came to. (Its supervised tokens follow from the chunk.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskOutcome {
    /// Something saturated.
    Void,
    /// A gradient.
    Gradient {
        /// As [`Artifact::gradient_root`].
        root: Hash,
        /// 2^-20 bits.
        loss: i64,
    },
}

impl TaskOutcome {
    /// What an artifact claims.
    pub fn of(artifact: &Artifact) -> Self {
        match artifact.body() {
            ArtifactBody::Void => Self::Void,
            ArtifactBody::Gradient(gradient) => {
                Self::Gradient { root: Hash(artifact.gradient_root()), loss: gradient.loss }
            }
        }
    }

    /// What an artifact's manifest claims; `None` where no chunk has so many supervised tokens.
    pub fn of_claim(claim: &ArtifactClaim) -> Option<Self> {
        match claim.loss_and_tokens {
            None => Some(Self::Void),
            // all but the last have a next one
            Some((loss, tokens)) if tokens as usize == CHUNK_TOKENS - 1 => {
                Some(Self::Gradient { root: Hash(claim.gradient_root), loss })
            }
            Some(_) => None,
        }
    }

    /// Whether a trace that ends in this leaf comes to it.
    pub fn is_of(&self, last: &TraceLeaf) -> bool {
        match self {
            Self::Void => last.saturated,
            Self::Gradient { root, loss } => {
                let words = [&hash_words(&root.0)[..], &[*loss as u32, (*loss >> 32) as u32]].concat();
                !last.saturated && last.roots == [tensor_root(&words)]
            }
        }
    }
}
