//! The node under a small engine of real integer arithmetic: its gradients depend on every token, parameter and seed.

mod crash;
mod kill;
mod ledger;
mod power_cut;
mod transfers;

use super::{Engine, Genesis, Node, Setup, Verdict};
use anyhow::{Context, Result};
use r3mes_wgpu::model::lora::{GradientMatrix, LoraAdapter, LoraMatrix};
use r3mes_wgpu::store::{Codec, Fetch};
use r3mes_wgpu::work::*;
use redb::{Database, backends::InMemoryBackend};
use sha2::{Digest, Sha256};

const REWARD: u64 = 250_000;
const LIFETIME: u64 = 100;

/// `grad[i] = (Σ_t token_t · hash_i[t mod 32] − parameter_i) · 2^10`, where the hash takes matrix and element.
struct Sums;

impl Engine for Sums {
    fn recompute(&self, task: &Task, blocks: Fetch) -> Result<Artifact> {
        let chunk = Chunk::fetch(&task.chunk, 256, blocks)?;
        let state = AdapterState::fetch(&task.adapter, blocks)?;
        if chunk.tokens()[0] == u32::from(b'!') {
            return Ok(Artifact::void(task));
        }
        let matrix = |(matrix, spec): (&LoraMatrix, &MatrixSpec)| {
            let element = |(index, parameter): (usize, &i32)| {
                let hash = Sha256::digest(format!("{} {index}", matrix.name));
                let terms =
                    chunk.tokens().iter().enumerate().map(|(at, token)| i64::from(*token) * i64::from(hash[at % 32]));
                (terms.sum::<i64>() - i64::from(*parameter)) << 10
            };
            let (name, rows, columns) = (matrix.name.clone(), matrix.rows, matrix.columns);
            let values = matrix.values.iter().enumerate().map(element).collect();
            GradientMatrix { name, rows, columns, exponent: spec.exponent, values }
        };
        let matrices = state.adapter.matrices.iter().zip(&task.job.matrices).map(matrix).collect();
        let loss = chunk.tokens().iter().map(|token| i64::from(*token)).sum();
        Ok(Artifact::gradient(task, &Gradient { loss, tokens: 2047, matrices })?)
    }

    fn step(&self, state: &AdapterState, sum: &Aggregate) -> Result<AdapterState> {
        let mut next = state.clone();
        for (matrix, sum) in next.adapter.matrices.iter_mut().zip(&sum.matrices) {
            for (value, sum) in matrix.values.iter_mut().zip(&sum.values) {
                *value = value.wrapping_add((sum >> 14) as i32);
            }
        }
        let steps = u64::from_le_bytes(state.optimizer.clone().try_into().ok().context("8 bytes")?) + 1;
        next.optimizer = steps.to_le_bytes().to_vec();
        Ok(next)
    }
}

fn genesis(quota: u32) -> Genesis {
    let matrix = |factor: &str, columns| MatrixSpec {
        name: format!("layers.0.attention.q.{factor}"),
        rows: 4,
        columns,
        exponent: -40,
    };
    let matrices = vec![matrix("a", 6), matrix("b", 5)];
    let (model, targets) = (Codec::DagCbor.cid(b"model"), vec!["attention.q".to_owned()]);
    let (kind, transport) = (Kind::Gradient, Transport::Int8);
    let job = Job { arithmetic_version: 1, model, rank: 4, targets, matrices, kind, transport };
    Genesis { job, seed: [3; 32], quota, reward: REWARD, claim_lifetime: LIFETIME, retention_rounds: 3 }
}

fn adapter(genesis: &Genesis) -> AdapterState {
    let matrix = |spec: &MatrixSpec| LoraMatrix {
        name: spec.name.clone(),
        rows: spec.rows as usize,
        columns: spec.columns as usize,
        values: (0..spec.len() as i32).map(|index| index * 1000 - 7).collect(),
    };
    let matrices = genesis.job.matrices.iter().map(matrix).collect();
    AdapterState { adapter: LoraAdapter { rank: 4, alpha: 16, matrices }, optimizer: vec![0; 8] }
}

fn text(chunks: usize) -> Vec<u8> {
    (0..chunks * CHUNK_TOKENS).map(|at| (at * at / 7 % 90 + 35) as u8).collect()
}

fn setup(quota: u32, chunks: usize) -> Setup {
    let genesis = genesis(quota);
    Setup::new(genesis.clone(), adapter(&genesis), cut_text(&text(chunks))).unwrap()
}

fn memory(quota: u32, chunks: usize) -> Node<Sums> {
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    Node::with_database(database, &setup(quota, chunks), Sums).unwrap()
}

/// What a miner does with a task: compute, upload, keep the receipt.
fn work(node: &Node<Sums>, task: &Task) -> Result<Receipt> {
    let artifact = Sums.recompute(task, &|cid| node.get_block(cid))?;
    node.put_blocks(&artifact.dag()?.blocks)?;
    Ok(Receipt::new(task.clone(), &artifact, vec![])?)
}

/// One task from claim to verdict.
fn mine(node: &Node<Sums>, miner: &str, now: u64) -> Result<(Receipt, Verdict)> {
    let task = node.claim(miner, now)?.context("no task")?;
    let receipt = work(node, &task)?;
    let verdict = node.submit(&receipt)?;
    Ok((receipt, verdict))
}
