//! Tests that a verifier recomputes a gradient if its task arrives in time, and otherwise attests `unavailable`; that
//! it attests a match even if the miner withholds the artifact; and that it reveals what it has committed to, even if
//! it is restarted before the reveal.

use super::*;
use crate::{
    ARITHMETIC_VERSION,
    client::{BlockCache, BlockSource, Client, Connection, NoResponse, Request, Response, Timer},
    compute::{Backend, cpu},
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        manifest::model_manifest,
        transformer::Targets,
    },
    numbers::lora::LoraAdapter,
    protocol::{AdapterState, CHUNK_TOKENS, Chunk, Commitment, Job, MatrixSpec, TaskKind, TaskTerms, Transport},
    simulation::SmallJob,
    store::Cid,
    training::{
        optimizer::{Optimizer, Settings},
        session::JOB_EXPONENT,
    },
    tx::SessionKey,
};
use pollster::block_on;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};

const NEVER: u64 = u64::MAX;
const CONFIG: ModelConfig = ModelConfig { context: 36, ..SmallJob::CONFIG };

/// How the node responds to a request for the adapter of the task while it does not have the adapter.
#[derive(Clone, Copy)]
enum Absence {
    /// The node responds with status 404: it does not have the block.
    Missing,
    /// The node responds with status 503: it may have the block, but cannot serve it now.
    Busy,
}

/// A node of a chain with one submitted gradient, which the verifier under test must recompute.
struct Node {
    /// The current time of the chain, in seconds.
    now: Cell<u64>,
    /// The time of the chain, in seconds, at which the node gets the adapter.
    available_at: u64,
    absence: Absence,
    adapter: Cid,
    /// Those blocks of the artifact that are stored on the node.
    artifact: RefCell<BTreeMap<String, Vec<u8>>>,
    /// How many blocks of the chain are left at time 0 until the verifier's deadline, and how many blocks the chain
    /// adds in a second.
    blocks: [u64; 2],
    inputs: BTreeMap<String, Vec<u8>>,
    duty: RefCell<VerificationDuty>,
    requests: RefCell<Vec<String>>,
    sent: Cell<u32>,
}

impl Node {
    fn respond(&self, path: &str) -> Result<Value, Vec<u8>> {
        let [blocks, of_a_second] = self.blocks;
        let left = blocks.saturating_sub(of_a_second * self.now.get());
        let duty = VerificationDuty { blocks_left: left, done: self.sent.get() > 0, ..self.duty.borrow().clone() };
        Ok(match path.split('?').next().unwrap().split('/').nth(4).unwrap_or(path) {
            "challenges" => json!({ "challenges": [duty] }),
            "job" => json!({
                "chain_id": "a", "genesis": "", "height": 1, "time": self.now.get(), "arithmetic_version": 1,
                "model": "", "rank": 4, "targets": [], "round": 0, "accepted": 0, "reward": 0,
            }),
            "params" => json!({ "params": { "chain_id": "a", "min_fee": "0" } }),
            "accounts" => json!({ "account": { "sequence": "0" } }),
            "txs" => json!({ "tx_response": { "height": "1", "code": 0, "raw_log": "", "data": "" } }),
            _ => return Err(self.inputs.get(path).cloned().unwrap_or_default()),
        })
    }
}

impl Node {
    /// Stores the blocks of a multipart request, and returns the response to it.
    fn put(&self, path: &str, body: &[u8]) -> String {
        let codec = if path.contains("dag-cbor") { Codec::DagCbor } else { Codec::Raw };
        let mut keys = String::new();
        let starts: Vec<usize> = (0..body.len()).filter(|at| body[*at..].starts_with(b"--r3mes-block")).collect();
        for part in starts.windows(2) {
            let part = &body[part[0]..part[1]];
            let header = part.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
            let bytes = &part[header + 4..part.len() - 2];
            let cid = codec.cid(bytes).to_string();
            keys += &format!("{}\n", json!({ "Key": cid }));
            self.artifact.borrow_mut().insert(cid, bytes.to_vec());
        }
        keys
    }
}

impl Connection for Node {
    async fn request(&self, Request { path, body }: Request<'_>) -> Result<Response, NoResponse> {
        if path.starts_with("/api/v0/block/put") {
            let put = self.put(path, body.unwrap().1);
            return Ok(Response { status: 200, body: put.into_bytes() });
        }
        let cid = path.strip_prefix("/ipfs/").map(|rest| rest.split('?').next().unwrap().to_owned());
        let Some(cid) = cid else {
            if body.is_some() {
                self.sent.set(self.sent.get() + 1);
            }
            let answer = self.respond(path).unwrap_or_else(|_| panic!("unexpected request {path}"));
            return Ok(Response { status: 200, body: answer.to_string().into_bytes() });
        };
        let absence = match self.absence {
            Absence::Missing => 404,
            Absence::Busy => 503,
        };
        let is_adapter = cid == self.adapter.to_string();
        if is_adapter {
            self.requests.borrow_mut().push(path.to_owned());
        }
        let is_absent = is_adapter && self.now.get() < self.available_at;
        let found = self.inputs.get(&cid).filter(|_| !is_absent).or(self.artifact.borrow().get(&cid)).cloned();
        let status = if path.ends_with("format=raw") && found.is_some() { 200 } else { absence };
        Ok(Response { status, body: found.unwrap_or_default() })
    }
}

impl Timer for Node {
    async fn sleep(&self, _milliseconds: u32) {}
}

impl BlockSource for Node {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        if gateway == 0 { Some(self.request(Request::get(path)).await) } else { None }
    }
}

impl BlockCache for Node {}

fn verifier(available_at: u64, absence: Absence, blocks: [u64; 2]) -> (Verifier, Client<Node>) {
    let targets = Targets { rank: 4, linears: vec![Linear::Query] };
    let model = seeded(CONFIG, [7; 32]).unwrap();
    let adapter = LoraAdapter::seeded(4, 8, &targets.shapes(&CONFIG), [3; 32]).unwrap();
    let job = Job {
        arithmetic_version: ARITHMETIC_VERSION,
        model: model_manifest(&model).unwrap().cid(),
        rank: 4,
        targets: vec![Linear::Query.name().to_owned()],
        matrices: adapter.matrices.iter().map(|matrix| MatrixSpec::of(matrix, JOB_EXPONENT)).collect(),
        kind: TaskKind::Gradient,
        transport: Transport::Int8,
    };
    let optimizer = Optimizer::new(Settings::ADAMW, &adapter).unwrap().to_bytes();
    let state = AdapterState { adapter, optimizer }.dag().unwrap();
    let chunk = Chunk::new((0..CHUNK_TOKENS as u32).map(|at| at * at % 71).collect(), 72).unwrap().block();
    let terms = TaskTerms { job, adapter: state.root, chunk: chunk.cid(), seed: [5; 32], miner: "remes1a".into() };
    let task = Task::new(terms).unwrap();
    let inputs: BTreeMap<String, Vec<u8>> = [&chunk, &task.block()]
        .into_iter()
        .chain(&state.blocks)
        .map(|block| (block.cid().to_string(), block.bytes().to_vec()))
        .collect();
    let backend = Backend::Cpu { threads: 1, kernels: cpu::fastest };
    let mut worker = block_on(Worker::new(&model, &targets, &backend, 8)).unwrap();
    let fetch = |cid: &crate::store::Cid| Ok(inputs[&cid.to_string()].clone());
    let found = block_on(worker.compute(&task, &fetch)).unwrap();
    let artifact = found.dag().unwrap();
    let adapter = state.root;
    let duty = VerificationDuty {
        challenge_id: 1,
        stage: "commit".to_owned(),
        done: false,
        blocks_left: 0,
        selector: [6; 32],
        task: task.cid(),
        stored_gradient_id: 2,
        ipfs_hash: artifact.root,
        gradient_hash: Commitment::new(&task, &found.gradient_root()).to_string(),
        committed: None,
    };
    let (now, sent, requests, duty) = (Cell::new(0), Cell::new(0), RefCell::default(), RefCell::new(duty));
    let artifact = RefCell::default();
    let node = Node { now, available_at, absence, adapter, artifact, blocks, inputs, duty, requests, sent };
    (Verifier::new(worker, [8; 32]), Client::new(node, SessionKey::new(&[1; 32]).unwrap()))
}

/// Returns what the verifier attests, and when it does so, in seconds of the chain's time. The verifier is called ten
/// times a second.
fn attestation(available_at: u64, absence: Absence, blocks: [u64; 2]) -> (&'static str, u64) {
    let (mut verifier, client) = verifier(available_at, absence, blocks);
    for look in 0..1000 {
        let now = look / 10;
        client.host().now.set(now);
        assert_eq!(client.host().sent.get(), 0);
        let found = block_on(verifier.work(&client)).unwrap();
        let looks = client.host().requests.borrow().iter().filter(|path| path.ends_with("format=car")).count();
        assert!(looks as u64 <= now + 1, "the adapter is requested at most once a second");
        if let Some(found) = found {
            assert_eq!((client.host().sent.get(), found.reason.is_some()), (1, found.result != "match"));
            return (found.result, now);
        }
    }
    panic!("the verifier has attested nothing");
}

#[test]
fn a_task_that_arrives_late_is_recomputed() {
    assert_eq!(attestation(0, Absence::Missing, [600, 1]), ("match", 0));
    assert_eq!(attestation(4, Absence::Missing, [600, 1]), ("match", 4));
    assert_eq!(attestation(4, Absence::Missing, [600, 0]), ("match", 4), "even if the chain adds no blocks");
    assert_eq!(attestation(50, Absence::Busy, [600, 1]), ("match", 50));
}

#[test]
fn a_task_that_never_arrives_is_attested_as_unavailable_before_the_stage_ends() {
    assert_eq!(attestation(NEVER, Absence::Missing, [600, 1]), ("unavailable", MISSING_SECONDS));
    // the verifier waits until half of the blocks have passed
    assert_eq!(attestation(NEVER, Absence::Missing, [60, 10]), ("unavailable", 3));
    assert_eq!(attestation(NEVER, Absence::Busy, [60, 1]), ("unavailable", 29));
    for last in 1..=2 {
        assert_eq!(attestation(NEVER, Absence::Busy, [last, 1]), ("unavailable", 0));
    }
}

/// If a gradient is right but its miner withholds the artifact, the verifier attests a match and stores the artifact in
/// the miner's place.
#[test]
fn a_withheld_artifact_of_a_right_gradient_is_a_match_and_is_stored() {
    let (mut verifier, client) = verifier(0, Absence::Missing, [600, 1]);
    assert_eq!(block_on(verifier.work(&client)).unwrap().map(|found| found.result), Some("match"));
    let root = client.host().duty.borrow().ipfs_hash.to_string();
    assert!(client.host().artifact.borrow().contains_key(&root));
    assert!(client.host().artifact.borrow().len() > 1, "the leaves are stored too");
    // the CID of another artifact changes nothing about the commitment
    let (mut verifier, client) = self::verifier(0, Absence::Missing, [600, 1]);
    client.host().duty.borrow_mut().ipfs_hash = Codec::DagCbor.cid(b"other");
    assert_eq!(block_on(verifier.work(&client)).unwrap().map(|found| found.result), Some("match"));
    assert!(client.host().artifact.borrow().is_empty());
}

#[test]
fn after_a_restart_a_verifier_reveals_what_it_committed_even_if_the_task_has_come() {
    for result in ["match", "unavailable"] {
        let (mut verifier, client) = verifier(0, Absence::Missing, [600, 1]);
        let duty = client.host().duty.borrow().clone();
        let found = match result {
            "match" => block_on(verifier.recompute(&client, &duty)).unwrap(),
            _ => unavailable(&duty, String::new()),
        };
        let committed = Some(hex(&verifier.reveal(client.address(), duty.challenge_id, &found).commitment()));
        client.host().duty.replace(VerificationDuty { stage: "reveal".to_owned(), committed, ..duty });
        assert_eq!(block_on(verifier.work(&client)).unwrap().map(|found| found.result), Some(result));
    }
}
