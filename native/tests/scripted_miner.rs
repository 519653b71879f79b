//! A miner that a test steers step by step over HTTP, so that it can follow the rules or break them, and a network of
//! one node for it.

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

/// The host of a client: HTTP requests to one node.
pub struct HttpHost {
    /// Base URL of the node.
    pub url: String,
    pub agent: ureq::Agent,
}

impl HttpHost {
    /// Returns a host for the node at `url`.
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

/// A network of one node. Its operator has all of the stake, except for what a test gives to others.
pub struct TestNetwork {
    pub work_dir: WorkDir,
    #[allow(dead_code, reason = "only the benchmark `load` reads it")]
    pub genesis: PathBuf,
    pub node: NodeProcess,
    /// Address and stake of the node's operator.
    pub operator: (String, u64),
}

impl TestNetwork {
    /// Starts a network. Its genesis is that of the command `genesis` with `arguments`, edited by `change`.
    pub fn new(name: &str, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        Self::at(WorkDir::new(name), arguments, change)
    }

    /// Starts a network in an existing working directory.
    pub fn at(work_dir: WorkDir, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        let genesis = work_dir.data().with_extension("json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["genesis", "--rank", "4", "--chain-id", super::node_process::CHAIN]).args(arguments);
        command
            .arg("--model")
            .arg(work_dir.model())
            .arg("--text")
            .arg(work_dir.text())
            .arg("--data-dir")
            .arg(work_dir.data());
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

    /// Returns the `node` command for a genesis file.
    fn command(work_dir: &WorkDir, genesis: &PathBuf) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["node", "--json", "--backend", "cpu", "--listen", "127.0.0.1:0"]);
        command
            .arg("--model")
            .arg(work_dir.model())
            .arg("--text")
            .arg(work_dir.text())
            .arg("--data-dir")
            .arg(work_dir.data());
        command.arg("--genesis").arg(genesis);
        command
    }

    /// Returns a miner for this network's node, with [`key`]`(number)`.
    pub fn miner(&self, number: u8) -> ScriptedMiner {
        ScriptedMiner::new(&self.node.url, &self.work_dir, number)
    }

    /// Returns the stake of an address in micro-units.
    pub fn stake(&self, address: &str) -> u64 {
        let found = self.node.get(&format!("/remes/remes/v1/node_registration/{address}"));
        found["node_registration"]["stake"].as_str().unwrap().parse().unwrap()
    }
}

/// Returns the model of a working directory, and what its adapter trains: all linear layers at rank 4.
pub fn model(work_dir: &WorkDir) -> (Model, Targets) {
    let read = |name: &str| fs::read(work_dir.model().join(name)).unwrap();
    let model = file::read(&read("config.json"), &read("model.safetensors")).unwrap();
    (model, Targets { rank: 4, linears: Linear::ALL.to_vec() })
}

/// Returns a worker for the model of a working directory.
pub fn worker(work_dir: &WorkDir, threads: usize, sequences: usize) -> Worker {
    let (model, targets) = model(work_dir);
    let backend = Backend::Cpu { threads, kernels: cpu::fastest };
    block_on(Worker::new(&model, &targets, &backend, sequences)).unwrap()
}

/// Returns the key whose 32 secret bytes are all `number`.
pub fn key(number: u8) -> SessionKey {
    SessionKey::new(&[number; 32]).unwrap()
}

/// A miner whose every step a test decides: a key, a client, and a worker that computes correct gradients.
pub struct ScriptedMiner {
    pub key: SessionKey,
    pub client: Client<HttpHost>,
    pub worker: Worker,
}

impl ScriptedMiner {
    /// Returns a miner for the node at `url`, with [`key`]`(number)`.
    pub fn new(url: &str, work_dir: &WorkDir, number: u8) -> Self {
        let worker = worker(work_dir, 1, 1);
        Self { key: key(number), client: Client::new(HttpHost::new(url), key(number)), worker }
    }

    /// Returns the address of [`key`]`(number)`.
    pub fn address_of(number: u8) -> String {
        key(number).address().to_owned()
    }

    /// Returns the miner's address.
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Registers with a stake in micro-units for a role: 1 is a miner, 3 a validator.
    pub fn stake(&self, amount: u64, node_type: i32) -> Result<ExecutedTx, ClientError> {
        let node_address = self.address().to_owned();
        let message = MsgRegisterNode { node_address, stake: amount.to_string(), node_type, ..Default::default() };
        block_on(self.client.send(Message::RegisterNode(message)))
    }

    /// Waits for a free chunk, claims the first one, and returns its task.
    pub fn claim(&self) -> Result<(Task, HeldTask), ClientError> {
        let (pool_id, chunks) =
            self.wait(|| block_on(self.client.available(1)).unwrap().filter(|(_, chunks)| !chunks.is_empty()));
        let miner = self.address().to_owned();
        block_on(self.client.send(Message::ClaimTask(MsgClaimTask { miner, pool_id, chunk_id: chunks[0] })))?;
        Ok(self.held())
    }

    /// Returns the task of the present claim.
    pub fn held(&self) -> (Task, HeldTask) {
        let held = block_on(self.client.held_task()).unwrap().expect("the miner has a claim");
        let task = block_on(self.client.block(Codec::DagCbor, &held.task)).unwrap();
        (Task::decode(&task).unwrap(), held)
    }

    /// Computes a task correctly.
    pub fn compute(&mut self, task: &Task) -> Artifact {
        let blocks = block_on(Blocks::of_task(self.client.host(), task)).unwrap();
        block_on(self.worker.compute(task, &|cid| blocks.get(cid))).unwrap()
    }

    /// Computes a task, then lets `alter` change the gradient.
    pub fn forge(&mut self, task: &Task, alter: impl FnOnce(&mut [GradientMatrix])) -> Artifact {
        let honest = self.compute(task);
        let found = honest.as_gradient().expect("a gradient");
        let mut matrices: Vec<GradientMatrix> = found.matrices.iter().map(|matrix| matrix.dequantized()).collect();
        alter(&mut matrices);
        let forged = Artifact::gradient(task, &Gradient { loss: found.loss, tokens: found.tokens, matrices }).unwrap();
        assert!(forged != honest, "the artifact is unchanged");
        forged
    }

    /// Stores an artifact on the node, submits it, and waits until it is accepted or rejected.
    pub fn submit(&self, task: &Task, held: &HeldTask, artifact: &Artifact) -> GradientStatus {
        let dag = artifact.dag().unwrap();
        block_on(self.client.put_dag(&dag)).unwrap();
        let id = self.say(held, dag.root, Commitment::new(task, &artifact.gradient_root())).unwrap();
        self.settled(id)
    }

    /// Submits a CID and a commitment, whether or not they are right. Returns the ID of the submission.
    pub fn say(&self, held: &HeldTask, artifact: Cid, commitment: Commitment) -> Result<u64, ClientError> {
        let message = self.message(held, artifact, commitment);
        let sent = block_on(self.client.send(Message::SubmitGradient(Box::new(message))))?;
        Ok(sent.response::<MsgSubmitGradientResponse>().expect("an answer").stored_gradient_id)
    }

    /// Returns the submission of a CID and a commitment for a claimed task.
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

    /// Waits until a submission is accepted or rejected, and returns its record.
    pub fn settled(&self, id: u64) -> GradientStatus {
        self.wait(|| {
            let stored = block_on(self.client.gradient_status(id)).unwrap();
            ["accepted", "rejected"].contains(&stored.status.as_str()).then_some(stored)
        })
    }

    /// Claims, computes and submits one task, following the rules.
    pub fn mine(&mut self) -> GradientStatus {
        let (task, held) = self.claim().unwrap();
        let artifact = self.compute(&task);
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
