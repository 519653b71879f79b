//! The computations of verifiers, proposers and challengers, as traits. In production, the model and its backends
//! implement them. In simulations, hashes stand for gradients.

use super::RoleError;
use crate::{
    client::Blocks,
    compute::Backend,
    dispute::{
        judge::{Answer, Game, Hash, Move},
        prover::{AdapterLayout, Prover, Replay, TaskInputs},
    },
    model::{transformer::Targets, weights::Model},
    protocol::{AdapterState, Aggregate, Artifact, Commitment, ProtocolError, Task},
    store::{Cid, Dag},
    training::worker::Worker,
};

/// The result of recomputing the gradient of a task: the values that a verifier compares with the submission, and the
/// value that it attests.
#[derive(Clone, Debug)]
pub struct RecomputedGradient {
    /// Commitment to the gradient. A correct submission contains the same commitment.
    pub commitment: Commitment,
    /// The blocks of the gradient's artifact. A correct submission contains the CID of their root.
    pub artifact: Dag,
    /// The attestation leaf: the digest of one tile (a part) of the gradient, which the ledger selects at random;
    /// `None` if the gradient is void.
    pub leaf: Option<[u8; 32]>,
}

/// Recomputes the gradients of tasks.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Recompute {
    /// Computes the gradient of a task from the task's `inputs`. Also audits the backend: compares the results of its
    /// kernels with those of the reference kernels. `selector`, a random value from the ledger, selects the tile (a
    /// part of the gradient) whose digest is the attestation leaf.
    async fn recompute(
        &mut self,
        task: &Task,
        selector: &[u8; 32],
        inputs: &Blocks,
    ) -> Result<RecomputedGradient, RoleError>;
}

/// Computes the aggregate of a round: the next adapter.
pub trait Aggregator {
    /// A gradient that was read from its artifact.
    type Gradient;
    /// A sum of gradients.
    type Sum;
    /// Reads the gradient of a task from the blocks of its artifact. Returns the gradient and the commitment to it.
    fn read(&self, task: &Task, artifact: &Cid, blocks: &Blocks)
    -> Result<(Self::Gradient, Commitment), ProtocolError>;
    /// Adds the gradient of a task to a sum, which is `None` before the first gradient.
    fn add(&self, sum: &mut Option<Self::Sum>, task: &Task, gradient: &Self::Gradient) -> Result<(), ProtocolError>;
    /// Takes an optimizer step with `sum`, the sum of a round's gradients. The step starts from `adapter`, whose blocks
    /// are given. `task` may be any task of the round, because all of them have the same settings. Returns the blocks
    /// of the next adapter, and its layout root: the Merkle root over the buffers into which the adapter is packed.
    fn step(
        &self,
        sum: Option<Self::Sum>,
        task: Option<&Task>,
        adapter: &Cid,
        blocks: &Blocks,
    ) -> Result<(Dag, Hash), RoleError>;
}

/// Runs tasks again, so that their gradients can be disputed or defended.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait ReplayTask {
    /// Computes the moves of one party in the disputes about a task.
    type Prover: DisputeProver;
    /// Runs a task on its `inputs`. Returns the prover, which computes the moves in disputes about this task.
    async fn prover(&self, task: &Task, inputs: &Blocks) -> Result<Self::Prover, RoleError>;
}

/// Computes the moves of one party in the disputes about one task.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait DisputeProver {
    /// Returns the answer that defends the gradient of the task; `None` if the gradient is void.
    fn answer(&self) -> Option<Answer>;
    /// Returns the next move in a game, the exchange of moves between a challenger and a defender; `None` if no move is
    /// possible.
    async fn next(&mut self, game: &Game) -> Result<Option<Move>, RoleError>;
}

impl Recompute for Worker {
    async fn recompute(
        &mut self,
        task: &Task,
        selector: &[u8; 32],
        inputs: &Blocks,
    ) -> Result<RecomputedGradient, RoleError> {
        let (artifact, leaf) = self.attest(task, selector, &|cid| inputs.get(cid)).await?;
        let commitment = Commitment::new(task, &artifact.gradient_root());
        Ok(RecomputedGradient { commitment, artifact: artifact.dag()?, leaf })
    }
}

impl Aggregator for AdapterLayout {
    type Gradient = Artifact;
    type Sum = Aggregate;

    fn read(&self, task: &Task, artifact: &Cid, blocks: &Blocks) -> Result<(Artifact, Commitment), ProtocolError> {
        let artifact = Artifact::fetch(task, artifact, &|cid| blocks.get(cid))?;
        let commitment = Commitment::new(task, &artifact.gradient_root());
        Ok((artifact, commitment))
    }

    fn add(&self, sum: &mut Option<Aggregate>, task: &Task, gradient: &Artifact) -> Result<(), ProtocolError> {
        sum.get_or_insert_with(|| Aggregate::new(&task.job)).add(gradient)
    }

    fn step(
        &self,
        sum: Option<Aggregate>,
        task: Option<&Task>,
        adapter: &Cid,
        blocks: &Blocks,
    ) -> Result<(Dag, Hash), RoleError> {
        let state = AdapterState::fetch(adapter, &|cid| blocks.get(cid))?;
        let next = match sum {
            Some(sum) => state.after(&sum)?,
            None => state,
        };
        let matrices = task.map_or(&[][..], |task| &task.job.matrices);
        let layout_root = self.root(&next.adapter, matrices)?;
        Ok((next.dag()?, layout_root))
    }
}

/// Runs the tasks of a model on a backend, so that their gradients can be disputed or defended.
pub struct ModelReplay {
    model: Model,
    targets: Targets,
    backend: Backend,
}

impl ModelReplay {
    /// Creates a value that runs tasks on `backend`. `targets` holds the rank and the adapted layers of the job.
    pub fn new(model: Model, targets: Targets, backend: Backend) -> Self {
        Self { model, targets, backend }
    }
}

impl ReplayTask for ModelReplay {
    type Prover = Prover;

    async fn prover(&self, task: &Task, inputs: &Blocks) -> Result<Prover, RoleError> {
        let inputs = TaskInputs::fetch(task, self.model.config.vocab as u32, &|cid| inputs.get(cid))?;
        let replay = Replay::new(&self.model, &self.targets, &inputs, &self.backend).await?;
        Ok(Prover::new(replay).await?)
    }
}

impl DisputeProver for Prover {
    fn answer(&self) -> Option<Answer> {
        self.answer()
    }

    async fn next(&mut self, game: &Game) -> Result<Option<Move>, RoleError> {
        Ok(self.next(game).await?)
    }
}
