//! A job that is small enough for tests to compute its gradients and to dispute them.

use crate::{
    compute::{Backend, cpu},
    dispute::{
        judge::DisputeContext,
        prover::{Prover, Replay, TaskInputs},
    },
    ledger::Genesis,
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::{lora::LoraAdapter, rng::threefry},
    protocol::{Artifact, Chunk, Gradient, MatrixSpec, Task},
    training::step::Trainer,
};
use std::sync::Arc;

/// The exponent of every matrix of the gradient.
const EXPONENT: i32 = -40;

/// The model, the adapter and the text of a small job. A ledger that starts with a genesis from [`SmallJob::genesis`]
/// assigns the tasks of this job.
pub struct SmallJob {
    model: Model,
    targets: Targets,
    adapter: LoraAdapter,
    chunks: Vec<Chunk>,
    backend: Backend,
}

impl SmallJob {
    /// The sizes of the model. It has one layer. Its width, its feed-forward width and its vocabulary are not multiples
    /// of 32.
    pub const CONFIG: ModelConfig = ModelConfig {
        width: 48,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        ffn_width: 80,
        vocab: 72,
        context: 512,
        residual_fraction_bits: 20,
        ..ModelConfig::TINY
    };

    /// Makes a job with `chunks` chunks. Neither factor of its adapter is zero.
    pub fn new(chunks: u32) -> Self {
        let config = Self::CONFIG;
        let targets = Targets { rank: 4, linears: vec![Linear::Query, Linear::Down] };
        let mut adapter =
            LoraAdapter::seeded(4, 8, &targets.shapes(&config), [3; 32]).expect("an adapter of this rank");
        for (at, value) in adapter.matrices.iter_mut().flat_map(|matrix| &mut matrix.values).enumerate() {
            *value = (threefry([1, 5], [at as u32, 0])[0] as i32) >> 4;
        }
        let vocab = config.vocab as u32;
        let token = |chunk: u32| move |at: u32| threefry([2 + chunk, 5], [at, 0])[0] % vocab;
        let chunk = |number| Chunk::new((0..2048).map(token(number)).collect(), vocab).expect("2048 tokens");
        let chunks = (0..chunks).map(chunk).collect();
        let model = seeded(config, [7; 32]).expect("a model within its limits");
        Self { model, targets, adapter, chunks, backend: Backend::Cpu { threads: 1, kernels: cpu::fastest } }
    }

    /// Returns `genesis` with five parts replaced by those of this job: the targets (names of the adapted linear
    /// layers), the matrices of the gradient, the dispute context (the data that the disputes about all tasks have in
    /// common), the layout root (the Merkle root over the buffers into which the adapter is packed), and the chunks.
    pub fn genesis(&self, mut genesis: Genesis) -> Genesis {
        let job = &mut genesis.job;
        job.targets = self.targets.linears.iter().map(|linear| linear.name().to_owned()).collect();
        job.matrices = self.adapter.matrices.iter().map(|matrix| MatrixSpec::of(matrix, EXPONENT)).collect();
        let (context, layout) = DisputeContext::for_job(&self.model, &self.targets, &job.matrices, job.transport);
        genesis.dispute_context = context;
        genesis.layout_root = layout.root(&self.adapter, &job.matrices).expect("the job's adapter");
        genesis.chunks = self.chunks.iter().map(|chunk| chunk.block().cid()).collect();
        genesis
    }

    /// Returns the chunk of a task. Panics if the task is not one of this job.
    pub fn chunk(&self, task: &Task) -> &Chunk {
        self.chunks.iter().find(|chunk| chunk.block().cid() == task.chunk).expect("a chunk of this job")
    }

    /// Returns the inputs of a task. If `forged` is true, one token is changed, so that the gradient is wrong.
    pub fn inputs(&self, task: &Task, forged: bool) -> TaskInputs {
        let mut tokens = self.chunk(task).tokens().to_vec();
        tokens[1900] = (tokens[1900] + u32::from(forged)) % self.model.config.vocab as u32;
        let (matrices, transport) = (task.job.matrices.clone(), task.job.transport);
        TaskInputs { adapter: self.adapter.clone(), tokens, task_key: task.key(), matrices, transport }
    }

    /// Prepares a task so that it can be run again in disputes. If `forged` is true, the task has one changed token, so
    /// that its gradient is wrong.
    pub async fn replay(&self, task: &Task, forged: bool) -> Replay {
        let inputs = self.inputs(task, forged);
        Replay::new(&self.model, &self.targets, &inputs, &self.backend).await.expect("a task of this job")
    }

    /// Returns a prover, which computes the moves of one party in disputes about a task. If `forged` is true, it
    /// defends a wrong gradient; otherwise, it defends the correct one.
    pub async fn prover(&self, task: &Task, forged: bool) -> Prover {
        Prover::new(self.replay(task, forged).await).await.expect("a task that can be run")
    }

    /// Computes the artifact of a task. If `forged` is true, one token is changed, so that the artifact is wrong.
    pub async fn artifact(&self, task: &Task, forged: bool) -> Artifact {
        let inputs = self.inputs(task, forged);
        let step = RecordedStep::new(&self.model, &self.targets, 2);
        let executor = self.backend.executor(&Arc::new(step.recording.clone())).await.expect("an executor");
        let mut trainer = Trainer::new(step, executor);
        trainer.load(&inputs.adapter, &vec![EXPONENT; inputs.matrices.len()]).await.expect("the job's adapter");
        let found = trainer.gradient(&inputs.tokens, &inputs.task_key, 0).await.expect("a task that can be computed");
        assert!(!found.saturated, "a gradient within its range");
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        Artifact::gradient(task, &gradient).expect("a gradient of the task")
    }
}
