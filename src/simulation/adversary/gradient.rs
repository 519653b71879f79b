//! Gradients of the tasks of a game. Nothing is computed: the right gradient of a task is an artifact whose elements
//! are all 1, and a wrong one has elements of 2.
//!
//! The state machine of disputes is the ledger's own. The traces are as short as it permits, with two leaves. A party
//! that defends a gradient opens the trace of what it defends, and a challenger picks the first leaf that differs from
//! its own. The party that is wrong makes no further move and loses when its time is up. In a longer game, it would
//! lose later, because it cannot prove the disputed step; it would gain only blocks in which the gradient is in no
//! round.

use crate::{
    agents::{DisputeProver, RoleError},
    dispute::judge::{Answer, Game, Hash, Move, Side, TaskOutcome, TraceLeaf, tensor::tensor_root, tree},
    numbers::lora::GradientMatrix,
    protocol::{Artifact, CHUNK_TOKENS, Commitment, Gradient, MatrixSpec, Task},
    store::{Cid, Codec},
};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, rc::Rc};

/// A gradient of a task, as a submission states it.
pub(super) struct Version {
    pub(super) commitment: Commitment,
    /// CID of the artifact.
    pub(super) root: Cid,
    pub(super) manifest: Vec<u8>,
    /// The last leaf of a trace that ends in this gradient.
    last: TraceLeaf,
}

/// The gradients of a task that parties submit.
pub(super) struct TaskGradients {
    pub(super) right: Version,
    pub(super) wrong: Version,
}

/// The gradients of all tasks so far, by the CID of the task.
pub(super) struct Gradients {
    known: HashMap<Cid, Rc<TaskGradients>>,
    /// The bytes of all chunks and tasks.
    blocks: HashMap<Cid, Vec<u8>>,
    manifests: HashMap<Cid, Vec<u8>>,
}

impl Gradients {
    pub(super) fn new(chunks: u32) -> Self {
        let blocks = (0..chunks).map(chunk).map(|bytes| (Codec::Raw.cid(&bytes), bytes));
        Self { known: HashMap::new(), blocks: blocks.collect(), manifests: HashMap::new() }
    }

    /// Returns the gradients of a task.
    pub(super) fn of(&mut self, task: &Task) -> Rc<TaskGradients> {
        let block = task.block();
        if let Some(known) = self.known.get(&block.cid()) {
            return known.clone();
        }
        let new = Rc::new(TaskGradients { right: version(task, 1), wrong: version(task, 2) });
        for version in [&new.right, &new.wrong] {
            self.manifests.insert(version.root, version.manifest.clone());
        }
        self.known.insert(block.cid(), new.clone());
        self.blocks.insert(block.cid(), block.into_bytes());
        new
    }

    /// Returns the gradients of a task that was passed to [`Self::of`], by its CID.
    pub(super) fn known(&self, task: &Cid) -> Option<Rc<TaskGradients>> {
        self.known.get(task).cloned()
    }

    /// Returns the bytes of a chunk or of a task.
    pub(super) fn block(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.blocks.get(cid).cloned()
    }

    /// Returns the manifest of an artifact.
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

/// Returns the bytes of the chunk with this number.
pub(super) fn chunk(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(CHUNK_TOKENS)
}

/// Returns the attestation leaf of the right gradient, which only those know who have computed it.
pub(super) fn leaf(task: &Task, selector: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(task.key()).chain_update(selector).finalize().into()
}

/// Computes the moves of a party that takes `hashes` for the trace of a task.
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

    /// Returns the move that the party makes next: it opens the trace that it defends, or picks a wrong leaf of the
    /// trace that it attacks.
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
