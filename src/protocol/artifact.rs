//! The artifact: the gradient of one task in a canonical encoding. It consists of a DAG-CBOR manifest and the raw
//! blocks (leaves) to which the manifest links.
//!
//! An artifact contains no timestamp, no unordered map, and nothing that the miner can choose, so its CID is a function
//! of the task. If a value saturated during the training step, or if an element of the gradient has more than 54 bits,
//! the artifact is *void*: it contains no gradient. A void artifact is verified and paid like any other artifact, but
//! contributes nothing to the aggregate.

use super::{
    error::{ProtocolError, in_range},
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

/// The exact gradient and the loss that a training step on one chunk yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// The cross-entropy loss, summed over the supervised tokens, in units of 2^-20 bits of information.
    pub loss: i64,
    /// The number of supervised tokens, which are the tokens that have a next token to predict.
    pub tokens: u32,
    /// The gradient of each matrix, in the order of the job's matrices.
    pub matrices: Vec<GradientMatrix>,
}

/// A [`Gradient`] whose matrices are rounded to the int8 or int16 integers that an artifact contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportGradient {
    /// The summed loss, which is the same as in the [`Gradient`].
    pub loss: i64,
    /// The number of supervised tokens, which is the same as in the [`Gradient`].
    pub tokens: u32,
    /// The rounded gradient of each matrix, in the order of the job's matrices.
    pub matrices: Vec<TransportMatrix>,
}

/// The result of a training step on the chunk of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactBody {
    /// There is no gradient, because a value saturated during the training step, or because an element of the gradient
    /// has more than [`MAX_GRADIENT_BITS`](super::MAX_GRADIENT_BITS) bits.
    Void,
    /// The gradient, rounded to the int8 or int16 integers that an artifact contains.
    Gradient(TransportGradient),
}

/// The result of one task: a gradient, or void if a value saturated or the gradient is too large for its encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    task: Cid,
    transport: Transport,
    body: ArtifactBody,
}

/// The statements in the manifest of an artifact. They can be read without the leaves of the artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactClaim {
    /// CID of the task to which the artifact belongs.
    pub task: Cid,
    /// The gradient root, which is a Merkle root over the matrices of the gradient.
    pub gradient_root: [u8; 32],
    /// The summed loss, in units of 2^-20 bits of information, and the number of supervised tokens. `None` if the
    /// artifact is void.
    pub loss_and_tokens: Option<(i64, u32)>,
}

impl Artifact {
    /// Rounds an exact gradient to int8 or int16, and returns the artifact of `task` that contains it. The artifact is
    /// void if an element has more than [`MAX_GRADIENT_BITS`](super::MAX_GRADIENT_BITS) bits. Returns an error if the
    /// gradient does not have the matrices of the task's job.
    pub fn gradient(task: &Task, gradient: &Gradient) -> Result<Self, ProtocolError> {
        let specs = &task.job.matrices;
        let count = specs.len() as i64;
        in_range("number of matrices in the gradient", gradient.matrices.len() as i64, count, count)?;
        check_tokens(gradient.tokens)?;
        let mut matrices = Vec::with_capacity(specs.len());
        for (at, (spec, matrix)) in specs.iter().zip(&gradient.matrices).enumerate() {
            spec.check(at, &matrix.name, matrix.rows, matrix.columns, matrix.exponent)?;
            in_range(
                "number of elements in a matrix",
                matrix.values.len() as i64,
                spec.len() as i64,
                spec.len() as i64,
            )?;
            match TransportMatrix::round(task, spec, matrix) {
                Some(matrix) => matrices.push(matrix),
                None => return Ok(Self::void(task)),
            }
        }
        let body = ArtifactBody::Gradient(TransportGradient { loss: gradient.loss, tokens: gradient.tokens, matrices });
        Ok(Self { task: task.cid(), transport: task.job.transport, body })
    }

    /// Returns the void artifact of `task`. It is the result if the training step yields no gradient, for example
    /// because a value saturated.
    pub fn void(task: &Task) -> Self {
        Self { task: task.cid(), transport: task.job.transport, body: ArtifactBody::Void }
    }

    /// Returns the result of the task: a gradient or void.
    pub fn body(&self) -> &ArtifactBody {
        &self.body
    }

    /// Returns the gradient, or `None` if the artifact is void.
    pub fn as_gradient(&self) -> Option<&TransportGradient> {
        match &self.body {
            ArtifactBody::Void => None,
            ArtifactBody::Gradient(gradient) => Some(gradient),
        }
    }

    /// Returns the CID of the task to which the artifact belongs.
    pub fn task(&self) -> Cid {
        self.task
    }

    /// Returns the gradient root: the Merkle root over the matrices of the gradient. The leaf of a matrix contains its
    /// name, shape, exponent and shift, and the CIDs of the blocks that contain its elements. A void artifact has the
    /// root of an empty tree.
    pub fn gradient_root(&self) -> [u8; 32] {
        self.manifest(&mut Vec::new()).gradient_root()
    }

    /// Returns the artifact as blocks: a manifest and its leaves. The CID of the manifest, which is the root block, is
    /// the CID of the artifact.
    pub fn dag(&self) -> Result<Dag, ProtocolError> {
        let mut leaves = Vec::new();
        let manifest = self.manifest(&mut leaves);
        Ok(Dag::new(dag_cbor::block(FORMAT, &manifest)?, leaves))
    }

    /// Fetches the artifact with the CID `root`, checks every block against its CID, and decodes the artifact. Returns
    /// an error if the artifact is malformed or belongs to a task other than `task`.
    pub fn fetch(task: &Task, root: &Cid, fetch: Fetch) -> Result<Self, ProtocolError> {
        let manifest: ArtifactManifest = dag_cbor::fetch(FORMAT, root, fetch)?;
        let expected = task.cid();
        if manifest.task != expected {
            return Err(ProtocolError::OtherTask { expected, found: Box::new(manifest.task) });
        }
        let ManifestBody::Gradient { loss, tokens, matrices: entries } = manifest.body else {
            return Ok(Self::void(task));
        };
        check_tokens(tokens)?;
        let specs = &task.job.matrices;
        in_range("number of matrices in the artifact", entries.len() as i64, specs.len() as i64, specs.len() as i64)?;
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

    /// Decodes the manifest of an artifact and returns its statements. Does not need the leaves. Returns an error
    /// unless `manifest` is the canonical encoding.
    pub fn claim(manifest: &[u8]) -> Result<ArtifactClaim, ProtocolError> {
        let manifest: ArtifactManifest = dag_cbor::decode(FORMAT, manifest)?;
        let (task, gradient_root) = (manifest.task, manifest.gradient_root());
        let loss_and_tokens = match manifest.body {
            ManifestBody::Void => None,
            ManifestBody::Gradient { loss, tokens, .. } => Some((loss, tokens)),
        };
        Ok(ArtifactClaim { task, gradient_root, loss_and_tokens })
    }

    /// Returns the CIDs of the leaves to which an encoded manifest links. Using these CIDs, a store can keep or delete
    /// an artifact as a whole.
    pub fn links(manifest: &[u8]) -> Result<Vec<Cid>, ProtocolError> {
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

fn check_tokens(tokens: u32) -> Result<(), ProtocolError> {
    in_range("number of supervised tokens", tokens.into(), 1, super::CHUNK_TOKENS as i64)
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

/// Returns the bytes of the leaf that stands for one gradient matrix in the Merkle tree of an artifact. The root of
/// this tree is the gradient root. `digests` are the SHA-256 hashes of the blocks that contain the elements of the
/// matrix.
pub(crate) fn matrix_entry(spec: &MatrixSpec, shift: u32, digests: &[[u8; 32]]) -> Vec<u8> {
    let MatrixSpec { name, rows, columns, exponent } = spec.clone();
    let leaves = digests.iter().map(|digest| Codec::Raw.named(digest)).collect();
    dag_cbor::encode(LEAF_FORMAT, &ArtifactEntry { name, rows, columns, exponent, shift, leaves })
}

/// The entry of one gradient matrix in the manifest of an artifact. The encoded entry is also a leaf of the Merkle tree
/// over the matrices of the artifact. The root of this tree is the gradient root.
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
