//! The gradients of the tasks in a simulation. They are constants instead of computed values: each task has a correct
//! gradient, whose elements are all 1, and a wrong gradient, whose elements are all 2.
//!
//! The ledger decides disputes as in production, but each trace (the hashes of what the kernels of a task wrote) has
//! only two leaves, the smallest number that the ledger permits. The party that defends a gradient reveals the two
//! hashes of its trace. If they differ from the hashes of the challenger's trace, the challenger picks the first leaf
//! as the one to dispute. After that, the party whose gradient is wrong makes no move, and loses when its time is up.
//!
//! In production, this party could make more moves, but would still lose, because it cannot prove the disputed step.
//! Its moves would only prolong the dispute, during which the gradient belongs to no round.

use crate::{
    agents::{DisputeProver, RoleError},
    dispute::judge::{Answer, Game, Hash, Move, Side, TaskOutcome, TraceLeaf, tensor::tensor_root, tree},
    numbers::lora::GradientMatrix,
    protocol::{Artifact, CHUNK_TOKENS, Commitment, Gradient, MatrixSpec, Task},
    store::{Cid, Codec},
};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, rc::Rc};

/// The correct or the wrong gradient of a task: its commitment, its artifact, and the last leaf of its trace.
pub(super) struct Version {
    pub(super) commitment: Commitment,
    /// CID of the artifact.
    pub(super) root: Cid,
    pub(super) manifest: Vec<u8>,
    /// The last leaf of the trace of this gradient. The trace consists of the hashes of what each kernel launch wrote
    /// when the gradient was computed.
    last: TraceLeaf,
}

/// The two gradients of a task that miners can submit: the correct one and a wrong one.
pub(super) struct TaskGradients {
    pub(super) right: Version,
    pub(super) wrong: Version,
}

/// The gradients of all tasks that miners have claimed so far, by the CID of the task.
pub(super) struct Gradients {
    known: HashMap<Cid, Rc<TaskGradients>>,
    /// The gradients of all tasks that miners have claimed so far, by task key. A task key takes less time to compute
    /// than the CID of the task.
    by_key: HashMap<[u8; 32], Rc<TaskGradients>>,
    /// The bytes of all chunks and tasks.
    blocks: HashMap<Cid, Vec<u8>>,
    manifests: HashMap<Cid, Vec<u8>>,
}

impl Gradients {
    pub(super) fn new(chunks: u32) -> Self {
        let blocks = (0..chunks).map(chunk).map(|bytes| (Codec::Raw.cid(&bytes), bytes));
        Self { known: HashMap::new(), by_key: HashMap::new(), blocks: blocks.collect(), manifests: HashMap::new() }
    }

    /// Returns the correct and the wrong gradient of a task. Stores them if this is the first call for the task.
    pub(super) fn of(&mut self, task: &Task) -> Rc<TaskGradients> {
        if let Some(known) = self.by_key.get(&task.key()) {
            return known.clone();
        }
        let block = task.block();
        let new = Rc::new(TaskGradients { right: version(task, 1), wrong: version(task, 2) });
        for version in [&new.right, &new.wrong] {
            self.manifests.insert(version.root, version.manifest.clone());
        }
        self.known.insert(block.cid(), new.clone());
        self.by_key.insert(task.key(), new.clone());
        self.blocks.insert(block.cid(), block.into_bytes());
        new
    }

    /// Returns the gradients of the task with this CID; `None` if the task was never passed to [`Self::of`].
    pub(super) fn known(&self, task: &Cid) -> Option<Rc<TaskGradients>> {
        self.known.get(task).cloned()
    }

    /// Returns the bytes of the chunk or the task with this CID; `None` if neither a chunk nor a task with this CID is
    /// stored.
    pub(super) fn block(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.blocks.get(cid).cloned()
    }

    /// Returns the manifest of the artifact with this CID; `None` if no artifact with this CID is stored.
    pub(super) fn manifest(&self, artifact: &Cid) -> Option<Vec<u8>> {
        self.manifests.get(artifact).cloned()
    }
}

fn version(task: &Task, element: i64) -> Version {
    let matrix = |spec: &MatrixSpec| GradientMatrix {
        name: spec.name.clone(),
        rows: spec.rows as usize,
        columns: spec.columns as usize,
        exponent: spec.exponent,
        values: vec![element; spec.rows as usize * spec.columns as usize],
    };
    let matrices = task.job.matrices.iter().map(matrix).collect();
    let gradient = Gradient { loss: element, tokens: CHUNK_TOKENS as u32 - 1, matrices };
    let artifact = Artifact::gradient(task, &gradient).expect("a gradient of the task");
    let dag = artifact.dag().expect("an artifact within its limits");
    let manifest = dag.get(&dag.root).expect("its own root");
    let root = artifact.gradient_root();
    let words: Vec<u32> = root.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let last = TraceLeaf { roots: vec![tensor_root(&[&words[..], &[element as u32, 0]].concat())], saturated: false };
    debug_assert!(TaskOutcome::from_artifact(&artifact).matches(&last));
    Version { commitment: Commitment::new(task, &root), root: dag.root, manifest, last }
}

/// Returns the bytes of the chunk with this number: the number itself, repeated for each token.
pub(super) fn chunk(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(CHUNK_TOKENS)
}

/// Returns the attestation leaf of a task's correct gradient, by which a verifier proves that it has recomputed the
/// gradient. In a simulation, the leaf is a hash of the task key and `selector`, and only parties that count as having
/// recomputed the gradient call this function.
pub(super) fn leaf(task: &Task, selector: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(task.key()).chain_update(selector).finalize().into()
}

/// Computes the moves of one party in the disputes about a task. `hashes` are the hashes of the leaves of the trace
/// that the party presents as correct.
pub(super) struct TraceProver {
    last: TraceLeaf,
    hashes: Vec<Hash>,
}

impl TraceProver {
    pub(super) fn new(version: &Version) -> Self {
        let last = version.last.clone();
        let first = TraceLeaf { roots: vec![last.hash()], saturated: false };
        Self { hashes: vec![first.hash(), last.hash()], last }
    }

    pub(super) fn answer(&self) -> Answer {
        let (last, path) = (self.last.clone(), tree::prove(&self.hashes, &[1]));
        Answer { trace: tree::root(&self.hashes), last, path }
    }

    /// Returns the next move of the party. A defender reveals the hashes of its trace. A challenger disputes the first
    /// leaf of the defender's trace, if this trace differs from the challenger's own. Returns `None` if neither move is
    /// possible.
    pub(super) fn next(&self, game: &Game) -> Option<Move> {
        match game.turn() {
            Side::Miner => {
                let open = Move::Open(self.hashes.clone());
                game.clone().apply(&open, game.deadline()).is_ok().then_some(open)
            }
            Side::Challenger => (game.trace() != tree::root(&self.hashes)).then_some(Move::Pick(0)),
        }
    }
}

impl DisputeProver for TraceProver {
    fn answer(&self) -> Option<Answer> {
        Some(self.answer())
    }

    async fn next(&mut self, game: &Game) -> Result<Option<Move>, RoleError> {
        Ok((game.winner().is_none()).then(|| Self::next(self, game)).flatten())
    }
}
