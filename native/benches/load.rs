//! A load test: one node serves many miners, which compute nothing during the test. It measures the node's throughput
//! and latency, its memory, and how much CPU time and disk space each submission costs.
//!
//! `cargo bench -p r3mes-wgpu --bench load -- [--miners 1000] [--tasks 4] [--quota 256] [--sampling 8]`
//!
//! Every miner has a key and a connection of its own and sends the same HTTP requests as the program `mine`: it claims
//! a chunk, fetches its task, stores its artifact (the encoded gradient), submits it, and polls until the submission is
//! accepted. The gradients are correct, but are computed before the test. The node recomputes on average 1 in
//! `--sampling` submissions, and aggregates the rounds. The model is small, so that recomputing is a small part of the
//! load; docs/SCALE.md states the cost for large models.

#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../tests/node_process.rs"]
mod node_process;
#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../tests/scripted_miner.rs"]
mod scripted_miner;
#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../tests/work_dir.rs"]
mod work_dir;

use pollster::block_on;
use r3mes_wgpu::{
    client::{BlockStore as _, Blocks, Client, ClientError},
    ledger::Genesis,
    protocol::{AdapterState, Aggregate, CHUNK_TOKENS, Commitment},
    store::{Cid, Codec, Dag},
    tx::{Message, MsgClaimTask, MsgSubmitGradient, MsgSubmitGradientResponse, SessionKey},
};
use scripted_miner::{HttpHost, TestNetwork};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};
use work_dir::WorkDir;

/// Balance of each miner in micro-units: enough for the bonds of all its claims.
const COINS: u64 = 1_000_000_000;
/// The first and the longest pause between two requests for a submission's status. The pause doubles from one request
/// to the next. The program `mine` makes the same pauses.
const POLL: [Duration; 2] = [Duration::from_millis(31), Duration::from_millis(500)];
/// The pause between two requests that ask whether the next round has begun, the same as in the program `mine`.
const IDLE: Duration = Duration::from_secs(2);
/// Stack size of a miner's thread in bytes. It is small, because the thread only sends requests.
const STACK: usize = 512 << 10;
/// The number of token sequences that the worker processes together when it computes the gradients before the test.
const SEQUENCES: usize = 8;

/// A gradient that was computed before the test, with what its miner needs to submit it.
struct PreparedSubmission {
    round: u64,
    position: u64,
    dag: Dag,
    commitment: Commitment,
}

/// An accepted submission, with the times that its miner measured.
struct Settled {
    /// When the miner saw the submission accepted, in seconds since the start of the test.
    at: f64,
    /// The seconds from sending the submission to seeing it accepted.
    latency: f64,
}

/// The resources that a node uses: its CPU time since its start, and its current memory and disk space.
struct Costs {
    cpu_seconds: f64,
    resident_bytes: u64,
    disk_bytes: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let flag_or = |flag: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let (miners, tasks) = (flag_or("--miners", 1000), flag_or("--tasks", 4));
    let (quota, sampling) = (flag_or("--quota", 256), flag_or("--sampling", 8));
    let keys: Vec<SessionKey> = (0..miners).map(key).collect();
    let work_dir = WorkDir::new("load");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/data/moby-dick.txt"), work_dir.text()).expect("a long text");
    let network = TestNetwork::at(work_dir, &["--quota", &quota.to_string()], |terms| {
        let params = &mut terms["params"];
        params["sampling"] = json!((1 << 16) / sampling);
        params["verifiers"] = json!(1);
        params["probation"] = json!(0);
        // delays that the rules impose are set short, so that they are not measured; deadlines are set long, because
        // they count blocks, and blocks follow faster here than in a real network
        params["attestation_blocks"] = json!(100_000);
        params["epoch_blocks"] = json!(0);
        params["fee_per_byte"] = json!(0);
        params["fee_per_row"] = json!(0);
        params["draw_after"] = json!(1);
        params["challenge_blocks"] = json!(0);
        let accounts = terms["accounts"].as_array_mut().expect("a list");
        accounts.extend(keys.iter().map(|key| json!([key.address(), COINS])));
    });
    let genesis = Genesis::from_json(&fs::read(&network.genesis).expect("its file")).expect("a genesis");
    let rounds = (miners * tasks).div_ceil(quota);
    println!("{miners} miners, {rounds} rounds of {quota} submissions, 1 in {sampling} submissions recomputed");
    let work = prepare(&network, &genesis, &keys, rounds as u64);
    let before = Costs::of(&network);
    println!("gradients are ready; memory of the node before the test: {} MiB", before.resident_bytes >> 20);
    let started = Instant::now();
    let settled = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (number, work) in work.into_iter().enumerate() {
            let (url, settled) = (&network.node.url, &settled);
            let mine = move || {
                let client = Client::new(HttpHost::new(url), key(number));
                for work in work {
                    let latency =
                        block_on(mine(&client, &work)).unwrap_or_else(|error| panic!("miner {number}: {error}"));
                    let at = started.elapsed().as_secs_f64();
                    settled.lock().expect("no other thread has panicked").push(Settled { at, latency });
                }
            };
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, mine).expect("a thread");
        }
    });
    report(settled.into_inner().expect("no thread has panicked"), &before, &Costs::of(&network));
}

/// Returns the session key of the miner with index `number`.
fn key(number: usize) -> SessionKey {
    let mut secret = [0x5a; 32];
    secret[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    SessionKey::new(&secret).expect("a small number is a key")
}

/// Computes the gradients of all rounds, and returns them in one list per miner. The chunk at position `p` of a round
/// belongs to the miner with index `p` modulo the number of miners.
fn prepare(network: &TestNetwork, genesis: &Genesis, keys: &[SessionKey], rounds: u64) -> Vec<Vec<PreparedSubmission>> {
    let mut worker = scripted_miner::worker(&network.work_dir, 0, SEQUENCES);
    let client = Client::new(HttpHost::new(&network.node.url), key(0));
    let first = block_on(Blocks::of_adapter(client.host(), &genesis.adapter)).expect("the first adapter");
    let mut state = AdapterState::fetch(&genesis.adapter, &|cid| first.get(cid)).expect("an adapter");
    let mut chunks = BTreeMap::<Cid, Vec<u8>>::new();
    let mut work: Vec<Vec<PreparedSubmission>> = keys.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let adapter = state.dag().expect("an adapter's blocks");
        let mut sum = Aggregate::new(&genesis.job);
        for position in genesis.positions(round) {
            let miner = position as usize % keys.len();
            let task = genesis.task(round, adapter.root, position, keys[miner].address()).expect("a task");
            let chunk = chunks
                .entry(task.chunk)
                .or_insert_with(|| block_on(client.block(Codec::Raw, &task.chunk)).expect("a chunk"));
            let fetch = |cid: &Cid| match *cid == task.chunk {
                true => Ok(chunk.clone()),
                false => adapter.get(cid),
            };
            let artifact = block_on(worker.compute(&task, &fetch)).expect("a gradient");
            sum.add(&artifact).expect("the artifact belongs to the job");
            let commitment = Commitment::new(&task, &artifact.gradient_root());
            work[miner].push(PreparedSubmission { round, position, dag: artifact.dag().expect("blocks"), commitment });
        }
        state = state.after(&sum).expect("a step");
    }
    work
}

/// Mines one task whose gradient is prepared: claims it, submits the gradient, and waits until the submission is
/// accepted. Returns the seconds from the submission to its acceptance.
async fn mine(client: &Client<HttpHost>, work: &PreparedSubmission) -> Result<f64, ClientError> {
    while client.job().await?.round < work.round {
        thread::sleep(IDLE);
    }
    let miner = client.address().to_owned();
    client.send(Message::ClaimTask(MsgClaimTask { miner: miner.clone(), pool_id: 0, chunk_id: work.position })).await?;
    let held = client.held_task().await?.expect("the miner has a claim");
    client.block(Codec::DagCbor, &held.task).await?;
    client.put_dag(&work.dag).await?;
    let commitment = work.commitment;
    let start = Instant::now();
    let message = MsgSubmitGradient {
        miner,
        ipfs_hash: work.dag.root.to_string(),
        model_version: client.job().await?.model,
        training_round_id: held.round,
        shard_id: held.shard_id,
        gradient_hash: commitment.to_string(),
        nonce: u64::from_le_bytes(commitment.0[..8].try_into().expect("8 of 32 bytes")) | 1,
        global_seed: held.global_seed,
        token_count: CHUNK_TOKENS as u64,
        ..Default::default()
    };
    let sent = client.send(Message::SubmitGradient(Box::new(message))).await?;
    let id = sent.response::<MsgSubmitGradientResponse>().map_or(0, |response| response.stored_gradient_id);
    let mut pause = POLL[0];
    loop {
        match client.gradient_status(id).await?.status.as_str() {
            "accepted" | "settled" => return Ok(start.elapsed().as_secs_f64()),
            "rejected" => panic!("gradient {id} is rejected, although it is correct"),
            _ => thread::sleep(pause),
        }
        pause = (pause * 2).min(POLL[1]);
    }
}

impl Costs {
    fn of(network: &TestNetwork) -> Self {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{}/{file}", network.node.process_id())).unwrap_or_default();
        let status = read("status");
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let stat = read("stat");
        // proc(5): utime and stime, in hundredths of a second, are fields 11 and 12 after the name in parentheses
        let times = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: f64 = times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Self {
            cpu_seconds: ticks / 100.0,
            resident_bytes: resident.unwrap_or(0u64) << 10,
            disk_bytes: bytes_under(&network.work_dir.data()),
        }
    }
}

fn bytes_under(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_under(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Prints throughput and latency: first for each quarter of the submissions, to show any change over time, then for all
/// submissions together. Then prints the node's CPU time, disk space and memory.
fn report(mut settled: Vec<Settled>, before: &Costs, after: &Costs) {
    settled.sort_by(|one, other| one.at.total_cmp(&other.at));
    let quarter = settled.len().div_ceil(4);
    println!("submissions   submissions per second   median latency, s   99th percentile of the latency, s");
    let mut start = 0.0;
    for part in settled.chunks(quarter).chain([&settled[..]]) {
        let whole = part.len() == settled.len();
        let mut latencies: Vec<f64> = part.iter().map(|settled| settled.latency).collect();
        latencies.sort_by(f64::total_cmp);
        let of = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        let end = part.last().map_or(0.0, |settled| settled.at);
        let rate = part.len() as f64 / (end - if whole { 0.0 } else { start });
        println!("{:>11} {rate:>24.1} {:>19.2} {:>35.2}", part.len(), of(0.5), of(0.99));
        start = end;
    }
    let each = |value: f64| value / settled.len() as f64;
    println!("CPU time of the node per submission: {:.2} ms", 1000.0 * each(after.cpu_seconds - before.cpu_seconds));
    println!(
        "disk space of the node per submission: {:.0} bytes",
        each(after.disk_bytes.saturating_sub(before.disk_bytes) as f64)
    );
    println!(
        "memory of the node: {} MiB after the test, {} MiB before the test",
        after.resident_bytes >> 20,
        before.resident_bytes >> 20
    );
}
