//! A miner that says whatever it likes, over the wire that all miners use, and the networks that it meets.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(unreachable_pub, reason = "one crate each")]

use super::{face::Node, place::Place};
use pollster::block_on;
use r3mes_wgpu::{
    client::{Blocks, Client, ClientError, HeldTask, Host, Offline, Request, Response, Sent, Stored},
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

/// A node, as a client's host.
pub struct Web {
    pub url: String,
    pub agent: ureq::Agent,
}

impl Web {
    pub fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        Self { url: url.to_owned(), agent }
    }
}

impl Host for Web {
    async fn request(&self, request: Request<'_>) -> Result<Response, Offline> {
        let url = format!("{}{}", self.url, request.path);
        let answer = match request.body {
            None => self.agent.get(url).call(),
            Some((kind, body)) => self.agent.post(url).header("content-type", kind).send(body),
        };
        let mut answer = answer.map_err(|error| Offline(error.to_string()))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec().map_err(|error| Offline(error.to_string()))?;
        Ok(Response { status, body })
    }

    async fn sleep(&self, milliseconds: u32) {
        std::thread::sleep(Duration::from_millis(milliseconds.into()));
    }
}

/// A network of one node, whose operator has all stake but what others are given.
pub struct Network {
    pub place: Place,
    pub genesis: PathBuf,
    pub node: Node,
    /// Address and stake.
    pub operator: (String, u64),
}

impl Network {
    /// `change` edits the genesis of `arguments`.
    pub fn new(name: &str, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        Self::at(Place::new(name), arguments, change)
    }

    /// The same, at a place of one's own.
    pub fn at(place: Place, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        let genesis = place.data().with_extension("json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["genesis", "--rank", "4", "--chain-id", super::face::CHAIN]).args(arguments);
        command.arg("--model").arg(place.model()).arg("--text").arg(place.text()).arg("--data-dir").arg(place.data());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut terms: Value = serde_json::from_slice(&output.stdout).unwrap();
        change(&mut terms);
        let operator = &terms["nodes"][0];
        let operator = (operator[0].as_str().unwrap().to_owned(), operator[1].as_u64().unwrap());
        fs::write(&genesis, terms.to_string()).unwrap();
        let node = Node::run(&mut Self::command(&place, &genesis));
        Self { place, genesis, node, operator }
    }

    fn command(place: &Place, genesis: &PathBuf) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["node", "--json", "--backend", "cpu", "--listen", "127.0.0.1:0"]);
        command.arg("--model").arg(place.model()).arg("--text").arg(place.text()).arg("--data-dir").arg(place.data());
        command.arg("--genesis").arg(genesis);
        command
    }

    pub fn rogue(&self, number: u8) -> Rogue {
        Rogue::new(&self.node.url, &self.place, number)
    }

    /// What a node has at stake.
    pub fn stake(&self, address: &str) -> u64 {
        let told = self.node.get(&format!("/remes/remes/v1/node_registration/{address}"));
        told["node_registration"]["stake"].as_str().unwrap().parse().unwrap()
    }
}

/// A place's model, and what is trained of it.
pub fn model(place: &Place) -> (Model, Targets) {
    let read = |name: &str| fs::read(place.model().join(name)).unwrap();
    let model = file::read(&read("config.json"), &read("model.safetensors")).unwrap();
    (model, Targets { rank: 4, linears: Linear::ALL.to_vec() })
}

/// A worker of a place's model.
pub fn worker(place: &Place, threads: usize, sequences: usize) -> Worker {
    let (model, targets) = model(place);
    let backend = Backend::Cpu { threads, kernels: cpu::fastest };
    block_on(Worker::new(&model, &targets, &backend, sequences)).unwrap()
}

pub fn key(number: u8) -> SessionKey {
    SessionKey::new(&[number; 32]).unwrap()
}

/// A key, a client, and a worker that computes what is right.
pub struct Rogue {
    pub key: SessionKey,
    pub client: Client<Web>,
    pub worker: Worker,
}

impl Rogue {
    pub fn new(url: &str, place: &Place, number: u8) -> Self {
        let worker = worker(place, 1, 1);
        Self { key: key(number), client: Client::new(Web::new(url), key(number)), worker }
    }

    pub fn address_of(number: u8) -> String {
        key(number).address().to_owned()
    }

    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Puts micro-units at stake, for a role: 1 mining, 3 validator.
    pub fn stake(&self, amount: u64, node_type: i32) -> Result<Sent, ClientError> {
        let node_address = self.address().to_owned();
        let message = MsgRegisterNode { node_address, stake: amount.to_string(), node_type, ..Default::default() };
        block_on(self.client.send(Message::RegisterNode(message)))
    }

    /// Claims a position; of those that are free, the first.
    pub fn claim(&self) -> Result<(Task, HeldTask), ClientError> {
        let (pool_id, chunks) =
            self.wait(|| block_on(self.client.available(1)).unwrap().filter(|(_, chunks)| !chunks.is_empty()));
        let miner = self.address().to_owned();
        block_on(self.client.send(Message::ClaimTask(MsgClaimTask { miner, pool_id, chunk_id: chunks[0] })))?;
        Ok(self.held())
    }

    /// What was claimed.
    pub fn held(&self) -> (Task, HeldTask) {
        let held = block_on(self.client.held_task()).unwrap().expect("what was claimed is held");
        let task = block_on(self.client.block(Codec::DagCbor, &held.task)).unwrap();
        (Task::decode(&task).unwrap(), held)
    }

    /// What the task comes to.
    pub fn compute(&mut self, task: &Task) -> Artifact {
        let blocks = block_on(Blocks::of_task(self.client.host(), task)).unwrap();
        block_on(self.worker.compute(task, &|cid| blocks.get(cid))).unwrap()
    }

    /// What the task comes to, altered.
    pub fn forge(&mut self, task: &Task, alter: impl FnOnce(&mut [GradientMatrix])) -> Artifact {
        let honest = self.compute(task);
        let found = honest.as_gradient().expect("a gradient");
        let mut matrices: Vec<GradientMatrix> = found.matrices.iter().map(|matrix| matrix.dequantized()).collect();
        alter(&mut matrices);
        let forged = Artifact::gradient(task, &Gradient { loss: found.loss, tokens: found.tokens, matrices }).unwrap();
        assert!(forged != honest, "nothing was altered");
        forged
    }

    /// Stores an artifact, commits to it, and waits for what becomes of it.
    pub fn submit(&self, task: &Task, held: &HeldTask, artifact: &Artifact) -> Stored {
        let dag = artifact.dag().unwrap();
        block_on(self.client.put(&dag)).unwrap();
        let id = self.say(held, dag.root, Commitment::new(task, &artifact.gradient_root())).unwrap();
        self.settled(id)
    }

    /// Submits a name and a commitment, of whatever.
    pub fn say(&self, held: &HeldTask, artifact: Cid, commitment: Commitment) -> Result<u64, ClientError> {
        let message = self.message(held, artifact, commitment);
        let sent = block_on(self.client.send(Message::SubmitGradient(Box::new(message))))?;
        Ok(sent.answer::<MsgSubmitGradientResponse>().expect("an answer").stored_gradient_id)
    }

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

    pub fn settled(&self, id: u64) -> Stored {
        self.wait(|| {
            let stored = block_on(self.client.stored(id)).unwrap();
            ["accepted", "rejected"].contains(&stored.status.as_str()).then_some(stored)
        })
    }

    /// Mines honestly.
    pub fn mine(&mut self) -> Stored {
        let (task, held) = self.claim().unwrap();
        let artifact = self.compute(&task);
        self.submit(&task, &held, &artifact)
    }

    /// Looks until there is something.
    pub fn wait<T>(&self, look: impl Fn() -> Option<T>) -> T {
        for _ in 0..2400 {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nothing came in two minutes");
    }
}
