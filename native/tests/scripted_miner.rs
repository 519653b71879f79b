//! A miner whose steps a test decides one by one, so that the miner can follow the rules or break them. The miner talks
//! to a node over HTTP. This file also has a test network that consists of a single node.

use super::{node_process::NodeProcess, work_dir::WorkDir};
use pollster::block_on;
use r3mes_wgpu::{
    client::{
        BlockCache, BlockSource, BlockStore as _, Blocks, Client, ClientError, Connection, ExecutedTx, GradientStatus,
        HeldTask, NoResponse, Request, Response, Timer, WorkFile,
    },
    compute::{Backend, cpu},
    model::{config::Linear, file, transformer::Targets, weights::Model},
    numbers::lora::GradientMatrix,
    protocol::{Artifact, CHUNK_TOKENS, Commitment, Gradient, Task},
    store::{Cid, Codec},
    training::worker::Worker,
    tx::{Message, MsgClaimTask, MsgRegisterNode, MsgSubmitGradient, MsgSubmitGradientResponse, SessionKey},
};
use serde_json::Value;
use std::{fs, path::PathBuf, process::Command, time::Duration};

/// The input and output of a client: sends the client's HTTP requests to one node, and stores nothing.
pub struct HttpHost {
    /// The base URL of the node's HTTP interface.
    pub url: String,
    pub agent: ureq::Agent,
}

impl HttpHost {
    /// Returns a host whose requests go to the node at `url`.
    pub fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        Self { url: url.to_owned(), agent }
    }
}

impl Connection for HttpHost {
    async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse> {
        let url = format!("{}{}", self.url, request.path);
        let answer = match request.body {
            None => self.agent.get(url).call(),
            Some((kind, body)) => self.agent.post(url).header("content-type", kind).send(body),
        };
        let mut answer = answer.map_err(|error| NoResponse(error.to_string()))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec().map_err(|error| NoResponse(error.to_string()))?;
        Ok(Response { status, body })
    }
}

impl Timer for HttpHost {
    async fn sleep(&self, milliseconds: u32) {
        std::thread::sleep(Duration::from_millis(milliseconds.into()));
    }
}

impl BlockSource for HttpHost {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        if gateway == 0 { Some(self.request(Request::get(path)).await) } else { None }
    }
}

impl BlockCache for HttpHost {}

impl WorkFile for HttpHost {}

/// A network of one node. At first, the node's operator has all of the stake, unless the test edits the genesis.
pub struct TestNetwork {
    pub work_dir: WorkDir,
    #[allow(dead_code, reason = "only the benchmark `load` reads it")]
    pub genesis: PathBuf,
    pub node: NodeProcess,
    /// The address of the node's operator, and its stake in micro-units.
    pub operator: (String, u64),
}

impl TestNetwork {
    /// Starts a network in a new working directory. The command `genesis` makes the genesis from `arguments`, and then
    /// `change` edits it.
    pub fn new(name: &str, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        Self::at(WorkDir::new(name), arguments, change)
    }

    /// Does the same as [`new`](Self::new), but in the existing working directory `work_dir`.
    pub fn at(work_dir: WorkDir, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        let genesis = work_dir.data().with_extension("json");
        let mut command = work_dir.command("genesis");
        command.args(["--rank", "4", "--chain-id", super::node_process::CHAIN]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut terms: Value = serde_json::from_slice(&output.stdout).unwrap();
        change(&mut terms);
        let operator = &terms["nodes"][0];
        let operator = (operator[0].as_str().unwrap().to_owned(), operator[1].as_u64().unwrap());
        fs::write(&genesis, terms.to_string()).unwrap();
        let node = NodeProcess::run(&mut Self::command(&work_dir, &genesis));
        Self { work_dir, genesis, node, operator }
    }

    /// Returns the command that runs a node with this genesis file, on any free port.
    fn command(work_dir: &WorkDir, genesis: &PathBuf) -> Command {
        let mut command = work_dir.command("node");
        command.args(["--json", "--backend", "cpu", "--listen", "127.0.0.1:0"]).arg("--genesis").arg(genesis);
        command
    }

    /// Returns a miner that uses this network's node and signs with the key that [`key`] returns for `number`.
    pub fn miner(&self, number: u8) -> ScriptedMiner {
        ScriptedMiner::new(&self.node.url, &self.work_dir, number)
    }

    /// Returns the stake of an address in micro-units.
    pub fn stake(&self, address: &str) -> u64 {
        let found = self.node.get(&format!("/remes/remes/v1/node_registration/{address}"));
        found["node_registration"]["stake"].as_str().unwrap().parse().unwrap()
    }
}

/// Returns the model in a working directory, and the rank and the layers of its adapter: rank 4, all linear layers.
pub fn model(work_dir: &WorkDir) -> (Model, Targets) {
    let read = |name: &str| fs::read(work_dir.model().join(name)).unwrap();
    let model = file::read(&read("config.json"), &read("model.safetensors")).unwrap();
    (model, Targets { rank: 4, linears: Linear::ALL.to_vec() })
}

/// Returns a worker that computes gradients of the model in a working directory, on `threads` CPU threads and in
/// batches of `sequences` sequences.
pub fn worker(work_dir: &WorkDir, threads: usize, sequences: usize) -> Worker {
    let (model, targets) = model(work_dir);
    let backend = Backend::Cpu { threads, kernels: cpu::fastest };
    block_on(Worker::new(&model, &targets, &backend, sequences)).unwrap()
}

/// Returns the signing key whose 32 secret bytes all have the value `number`.
pub fn key(number: u8) -> SessionKey {
    SessionKey::new(&[number; 32]).unwrap()
}

/// A miner whose every step a test decides. It has a key, a client, and a worker that computes correct gradients.
pub struct ScriptedMiner {
    pub key: SessionKey,
    pub client: Client<HttpHost>,
    pub worker: Worker,
}

impl ScriptedMiner {
    /// Returns a miner that uses the node at `url` and signs with the key that [`key`] returns for `number`. Its model
    /// is the one in `work_dir`.
    pub fn new(url: &str, work_dir: &WorkDir, number: u8) -> Self {
        let worker = worker(work_dir, 1, 1);
        Self { key: key(number), client: Client::new(HttpHost::new(url), key(number)), worker }
    }

    /// Returns the address of the key that [`key`] returns for `number`.
    pub fn address_of(number: u8) -> String {
        key(number).address().to_owned()
    }

    /// Returns the miner's address.
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Registers the miner's account with a stake of `amount` micro-units. `node_type` is the account's role: 1 for a
    /// miner, 3 for a validator.
    pub fn stake(&self, amount: u64, node_type: i32) -> Result<ExecutedTx, ClientError> {
        let node_address = self.address().to_owned();
        let message = MsgRegisterNode { node_address, stake: amount.to_string(), node_type, ..Default::default() };
        block_on(self.client.send(Message::RegisterNode(message)))
    }

    /// Waits until a chunk can be claimed, and claims the first such chunk. Returns the task and the claim.
    pub fn claim(&self) -> Result<(Task, HeldTask), ClientError> {
        let (pool_id, chunks) =
            self.wait(|| block_on(self.client.available(1)).unwrap().filter(|(_, chunks)| !chunks.is_empty()));
        let miner = self.address().to_owned();
        block_on(self.client.send(Message::ClaimTask(MsgClaimTask { miner, pool_id, chunk_id: chunks[0] })))?;
        Ok(self.held())
    }

    /// Returns the task that the miner has claimed, and the claim. Panics if the miner has no claim.
    pub fn held(&self) -> (Task, HeldTask) {
        let held = block_on(self.client.held_task()).unwrap().expect("the miner has a claim");
        let task = block_on(self.client.block(Codec::DagCbor, &held.task)).unwrap();
        (Task::decode(&task).unwrap(), held)
    }

    /// Computes a task correctly, and returns the artifact with its gradient.
    pub fn compute(&mut self, task: &Task) -> Artifact {
        let blocks = block_on(Blocks::of_task(self.client.host(), task)).unwrap();
        block_on(self.worker.compute(task, &|cid| blocks.get(cid))).unwrap()
    }

    /// Computes a task correctly, lets `alter` change the gradient, and returns the artifact with the changed gradient.
    pub fn forge(&mut self, task: &Task, alter: impl FnOnce(&mut [GradientMatrix])) -> Artifact {
        let honest = self.compute(task);
        let found = honest.as_gradient().expect("a gradient");
        let mut matrices: Vec<GradientMatrix> = found.matrices.iter().map(|matrix| matrix.dequantized()).collect();
        alter(&mut matrices);
        let forged = Artifact::gradient(task, &Gradient { loss: found.loss, tokens: found.tokens, matrices }).unwrap();
        assert!(forged != honest, "the artifact is unchanged");
        forged
    }

    /// Claims a task and computes it correctly. Returns the task, the claim and the artifact.
    pub fn claim_and_compute(&mut self) -> (Task, HeldTask, Artifact) {
        let (task, held) = self.claim().unwrap();
        let artifact = self.compute(&task);
        (task, held, artifact)
    }

    /// Stores an artifact on the node and submits it. Returns the ID of the submission.
    pub fn submit_without_waiting(&self, task: &Task, held: &HeldTask, artifact: &Artifact) -> u64 {
        let dag = artifact.dag().unwrap();
        block_on(self.client.put_dag(&dag)).unwrap();
        self.say(held, dag.root, Commitment::new(task, &artifact.gradient_root())).unwrap()
    }

    /// Stores an artifact on the node and submits it. Waits until the submission is accepted or rejected, and returns
    /// its status.
    pub fn submit(&self, task: &Task, held: &HeldTask, artifact: &Artifact) -> GradientStatus {
        self.settled(self.submit_without_waiting(task, held, artifact))
    }

    /// Submits any CID and any commitment, right or wrong. Returns the ID of the submission.
    pub fn say(&self, held: &HeldTask, artifact: Cid, commitment: Commitment) -> Result<u64, ClientError> {
        let message = self.message(held, artifact, commitment);
        let sent = block_on(self.client.send(Message::SubmitGradient(Box::new(message))))?;
        Ok(sent.response::<MsgSubmitGradientResponse>().expect("an answer").stored_gradient_id)
    }

    /// Returns the message that submits a CID and a commitment for a claimed task.
    pub fn message(&self, held: &HeldTask, artifact: Cid, commitment: Commitment) -> MsgSubmitGradient {
        MsgSubmitGradient {
            miner: self.address().to_owned(),
            ipfs_hash: artifact.to_string(),
            model_version: block_on(self.client.job()).unwrap().model,
            training_round_id: held.round,
            shard_id: held.shard_id,
            gradient_hash: commitment.to_string(),
            nonce: u64::from_le_bytes(commitment.0[..8].try_into().unwrap()) | 1,
            global_seed: held.global_seed,
            token_count: CHUNK_TOKENS as u64,
            ..Default::default()
        }
    }

    /// Waits until submission `id` is accepted or rejected, and returns its status.
    pub fn settled(&self, id: u64) -> GradientStatus {
        self.wait(|| {
            let stored = block_on(self.client.gradient_status(id)).unwrap();
            ["accepted", "settled", "rejected"].contains(&stored.status.as_str()).then_some(stored)
        })
    }

    /// Claims a task, then computes and submits its gradient, as the rules require. Waits until the submission is
    /// accepted or rejected, and returns its status.
    pub fn mine(&mut self) -> GradientStatus {
        let (task, held, artifact) = self.claim_and_compute();
        self.submit(&task, &held, &artifact)
    }

    /// Calls `poll` every 50 ms until it returns a value. Panics after two minutes.
    pub fn wait<T>(&self, poll: impl Fn() -> Option<T>) -> T {
        for _ in 0..2400 {
            if let Some(found) = poll() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the condition was not met within two minutes");
    }
}
