//! An artifact is the gradient of one task as canonical blocks: a DAG-CBOR manifest over raw leaves.
//!
//! It holds no time, no map order and no choice of the miner's, so its CID is a function of the task. Where
//! anything saturated it is the task's *void*: verified and settled like any other, and worth zero in the sum.

use super::{
    error::{WorkError, in_range},
    job::{MAX_MATRICES, MatrixSpec},
    merkle::merkle_root,
    task::Task,
    transport::Transport,
    transport_matrix::TransportMatrix,
};
use crate::{
    numbers::lora::GradientMatrix,
    store::{Block, Cid, Codec, Dag, Fetch, dag_cbor, join, split},
};
use serde::{Deserialize, Serialize};

pub(super) const FORMAT: &str = "r3mes/artifact/1";
const LEAF_FORMAT: &str = "r3mes/gradient-matrix/1";

/// What a training step found for one chunk, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// Summed cross-entropy of the supervised tokens, in 2^-20 bits.
    pub loss: i64,
    /// Supervised tokens: those with a next token to predict.
    pub tokens: u32,
    /// In the job's order.
    pub matrices: Vec<GradientMatrix>,
}

/// A [`Gradient`] as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportGradient {
    /// As in [`Gradient`].
    pub loss: i64,
    /// As in [`Gradient`].
    pub tokens: u32,
    /// In the job's order.
    pub matrices: Vec<TransportMatrix>,
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactBody {
    /// Something saturated.
    Void,
    /// The gradient.
    Gradient(TransportGradient),
}

/// The gradient of one task, or its void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    task: Cid,
    transport: Transport,
    body: ArtifactBody,
}

/// What a manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactClaim {
    /// The task that it is for.
    pub task: Cid,
    /// As [`Artifact::gradient_root`].
    pub gradient_root: [u8; 32],
    /// Loss and supervised tokens, as in [`Gradient`]; `None` for a void.
    pub loss_and_tokens: Option<(i64, u32)>,
}

impl Artifact {
    /// Rounds an exact gradient for transport; void where an element leaves the transport's range.
    pub fn gradient(task: &Task, gradient: &Gradient) -> Result<Self, WorkError> {
        let specs = &task.job.matrices;
        let count = specs.len() as i64;
        in_range("matrices of the gradient", gradient.matrices.len() as i64, count, count)?;
        check_tokens(gradient.tokens)?;
        let mut matrices = Vec::with_capacity(specs.len());
        for (at, (spec, matrix)) in specs.iter().zip(&gradient.matrices).enumerate() {
            spec.check(at, &matrix.name, matrix.rows, matrix.columns, matrix.exponent)?;
            in_range("elements of a matrix", matrix.values.len() as i64, spec.len() as i64, spec.len() as i64)?;
            match TransportMatrix::round(task, spec, matrix) {
                Some(matrix) => matrices.push(matrix),
                None => return Ok(Self::void(task)),
            }
        }
        let body = ArtifactBody::Gradient(TransportGradient { loss: gradient.loss, tokens: gradient.tokens, matrices });
        Ok(Self { task: task.cid(), transport: task.job.transport, body })
    }

    /// The void of `task`, for a step that saturated.
    pub fn void(task: &Task) -> Self {
        Self { task: task.cid(), transport: task.job.transport, body: ArtifactBody::Void }
    }

    /// What the task came to.
    pub fn body(&self) -> &ArtifactBody {
        &self.body
    }

    /// The gradient, where it is not void.
    pub fn as_gradient(&self) -> Option<&TransportGradient> {
        match &self.body {
            ArtifactBody::Void => None,
            ArtifactBody::Gradient(gradient) => Some(gradient),
        }
    }

    /// The task that it is for.
    pub fn task(&self) -> Cid {
        self.task
    }

    /// Merkle root over the matrices, each leaf its name, shape, exponents and the CIDs of its bytes; that of no
    /// leaves for a void.
    pub fn gradient_root(&self) -> [u8; 32] {
        self.manifest(&mut Vec::new()).gradient_root()
    }

    /// All its blocks; the root's CID is the artifact's.
    pub fn dag(&self) -> Result<Dag, WorkError> {
        let mut leaves = Vec::new();
        let manifest = self.manifest(&mut leaves);
        Ok(Dag::new(dag_cbor::block(FORMAT, &manifest)?, leaves))
    }

    /// Gets, checks and reads the artifact named `root`, which must be one that `task` could have.
    pub fn fetch(task: &Task, root: &Cid, fetch: Fetch) -> Result<Self, WorkError> {
        let manifest: ArtifactManifest = dag_cbor::fetch(FORMAT, root, fetch)?;
        let expected = task.cid();
        if manifest.task != expected {
            return Err(WorkError::OtherTask { expected, found: Box::new(manifest.task) });
        }
        let ManifestBody::Gradient { loss, tokens, matrices: entries } = manifest.body else {
            return Ok(Self::void(task));
        };
        check_tokens(tokens)?;
        let specs = &task.job.matrices;
        in_range("matrices of the artifact", entries.len() as i64, specs.len() as i64, specs.len() as i64)?;
        for (at, (spec, entry)) in specs.iter().zip(&entries).enumerate() {
            spec.check(at, &entry.name, entry.rows as usize, entry.columns as usize, entry.exponent)?;
        }
        let transport = task.job.transport;
        let mut matrices = Vec::with_capacity(specs.len());
        for (spec, entry) in specs.iter().zip(&entries) {
            let bytes = join(&entry.leaves, (spec.len() * transport.bytes()) as u64, fetch)?;
            matrices.push(TransportMatrix::from_bytes(transport, spec, entry.shift, &bytes)?);
        }
        Ok(Self {
            task: expected,
            transport,
            body: ArtifactBody::Gradient(TransportGradient { loss, tokens, matrices }),
        })
    }

    /// What the manifest in `bytes` says, whatever its leaves hold.
    pub fn claim(manifest: &[u8]) -> Result<ArtifactClaim, WorkError> {
        let manifest: ArtifactManifest = dag_cbor::decode(FORMAT, manifest)?;
        let (task, gradient_root) = (manifest.task, manifest.gradient_root());
        let loss_and_tokens = match manifest.body {
            ManifestBody::Void => None,
            ManifestBody::Gradient { loss, tokens, .. } => Some((loss, tokens)),
        };
        Ok(ArtifactClaim { task, gradient_root, loss_and_tokens })
    }

    /// The CIDs of the blocks under the manifest in `bytes`, for stores that keep or drop whole artifacts.
    pub fn links(manifest: &[u8]) -> Result<Vec<Cid>, WorkError> {
        let manifest: ArtifactManifest = dag_cbor::decode(FORMAT, manifest)?;
        let ManifestBody::Gradient { matrices, .. } = manifest.body else { return Ok(Vec::new()) };
        Ok(matrices.into_iter().flat_map(|entry| entry.leaves).collect())
    }

    fn manifest(&self, blocks: &mut Vec<Block>) -> ArtifactManifest {
        let entry = |matrix: &TransportMatrix| {
            let MatrixSpec { name, rows, columns, exponent } = matrix.spec.clone();
            let leaves = split(&matrix.to_bytes(self.transport));
            let cids = leaves.iter().map(Block::cid).collect();
            blocks.extend(leaves);
            ArtifactEntry { name, rows, columns, exponent, shift: matrix.shift, leaves: cids }
        };
        let body = match &self.body {
            ArtifactBody::Void => ManifestBody::Void,
            ArtifactBody::Gradient(TransportGradient { loss, tokens, matrices }) => {
                let matrices = matrices.iter().map(entry).collect();
                ManifestBody::Gradient { loss: *loss, tokens: *tokens, matrices }
            }
        };
        ArtifactManifest { task: self.task, body }
    }
}

fn check_tokens(tokens: u32) -> Result<(), WorkError> {
    in_range("supervised tokens", tokens.into(), 1, super::CHUNK_TOKENS as i64)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactManifest {
    task: Cid,
    body: ManifestBody,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ManifestBody {
    Void,
    Gradient { loss: i64, tokens: u32, matrices: Vec<ArtifactEntry> },
}

/// The bytes of a matrix's leaf under the gradient root, from the SHA-256 of each of its blocks.
pub(crate) fn matrix_entry(spec: &MatrixSpec, shift: u32, digests: &[[u8; 32]]) -> Vec<u8> {
    let MatrixSpec { name, rows, columns, exponent } = spec.clone();
    let leaves = digests.iter().map(|digest| Codec::Raw.named(digest)).collect();
    dag_cbor::encode(LEAF_FORMAT, &ArtifactEntry { name, rows, columns, exponent, shift, leaves })
}

/// One matrix in the manifest, and one leaf of the Merkle tree.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactEntry {
    name: String,
    rows: u32,
    columns: u32,
    exponent: i32,
    shift: u32,
    leaves: Vec<Cid>,
}

impl ArtifactManifest {
    fn gradient_root(&self) -> [u8; 32] {
        match &self.body {
            ManifestBody::Void => merkle_root::<Vec<u8>>(&[]),
            ManifestBody::Gradient { matrices, .. } => {
                debug_assert!(matrices.len() <= MAX_MATRICES);
                let leaves: Vec<_> = matrices.iter().map(|entry| dag_cbor::encode(LEAF_FORMAT, entry)).collect();
                merkle_root(&leaves)
            }
        }
    }
}
