//! Sample data for tests: a small job with two decoder layers and two adapted linear layers in each, and tasks,
//! gradients, adapter states and receipts of this job.

use crate::{
    numbers::{
        lora::{GradientMatrix, LoraAdapter, LoraMatrix},
        rng::threefry,
    },
    protocol::*,
    store::Codec,
};

pub(crate) fn random(key: u32, at: usize) -> i64 {
    let [low, high] = threefry([key, 7], [at as u32, 0]);
    (u64::from(low) | u64::from(high) << 32) as i64
}

pub(crate) fn job(transport: Transport, columns: u32) -> Job {
    let targets = vec!["attention.q".to_owned(), "ffn.down".to_owned()];
    let mut matrices = Vec::new();
    for layer in [0, 1] {
        for target in &targets {
            for factor in ["a", "b"] {
                let (name, columns) = (format!("layers.{layer}.{target}.{factor}"), columns + matrices.len() as u32);
                matrices.push(MatrixSpec { name, rows: 4, columns, exponent: -40 - layer });
            }
        }
    }
    let model = Codec::DagCbor.cid(b"model");
    Job { arithmetic_version: 1, model, rank: 4, targets, matrices, kind: TaskKind::Gradient, transport }
}

pub(crate) fn task(job: Job, miner: &str) -> Task {
    let chunk = cut_text(&[65; CHUNK_TOKENS]).next().unwrap().block().cid();
    let adapter = Codec::DagCbor.cid(b"adapter");
    Task::new(TaskTerms { job, adapter, chunk, seed: [9; 32], miner: miner.to_owned() }).unwrap()
}

/// Returns a random gradient whose elements are signed integers of `bits` bits. All elements of the last matrix are
/// zero. Real gradients have such matrices, too: while the factor b of a layer is zero, the gradient of the factor a of
/// this layer is zero.
pub(crate) fn gradient(job: &Job, key: u32, bits: u32) -> Gradient {
    let matrix = |(at, spec): (usize, &MatrixSpec)| {
        let element =
            |index| if at + 1 == job.matrices.len() { 0 } else { random(key + at as u32, index) >> (64 - bits) };
        let (rows, columns) = (spec.rows as usize, spec.columns as usize);
        let values = (0..rows * columns).map(element).collect();
        GradientMatrix { name: spec.name.clone(), rows, columns, exponent: spec.exponent, values }
    };
    Gradient { loss: 12_345_678, tokens: 2040, matrices: job.matrices.iter().enumerate().map(matrix).collect() }
}

pub(crate) fn state(job: &Job) -> AdapterState {
    let matrix = |(at, spec): (usize, &MatrixSpec)| LoraMatrix {
        name: spec.name.clone(),
        rows: spec.rows as usize,
        columns: spec.columns as usize,
        values: (0..spec.len()).map(|index| random(at as u32, index) as i32).collect(),
    };
    let matrices = job.matrices.iter().enumerate().map(matrix).collect();
    AdapterState {
        adapter: LoraAdapter { rank: 4, alpha: 16, matrices },
        optimizer: (0..5000).map(|at| at as u8).collect(),
    }
}

/// Returns a receipt and its artifact, which contains a random gradient. `columns` is the number of columns in the
/// gradient's first matrix.
pub(crate) fn receipt(transport: Transport, columns: u32) -> (Receipt, Artifact) {
    let task = task(job(transport, columns), "remes1miner");
    let artifact = Artifact::gradient(&task, &gradient(&task.job, 1, 30)).unwrap();
    (Receipt::new(task, &artifact, vec!["http://127.0.0.1:8080/ipfs/".to_owned()]).unwrap(), artifact)
}
