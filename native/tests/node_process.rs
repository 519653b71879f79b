//! A node in a process of its own, and functions that send HTTP requests to it as its clients do.

use super::work_dir::WorkDir;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::tx::{Fee, Message, MsgClaimTask, SessionKey};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The chain ID of the nodes that the tests start without CometBFT.
pub const CHAIN: &str = "r3mes-local-1";

/// A node that runs in a process of its own. Dropping this value kills the process.
pub struct NodeProcess {
    process: Child,
    /// The base URL of the node's HTTP interface, without a slash at the end.
    pub url: String,
    pub agent: ureq::Agent,
}

impl NodeProcess {
    /// Starts a node with the model, the text and the data folder of a working directory. The node listens on any free
    /// port.
    pub fn start(work_dir: &WorkDir) -> Self {
        Self::run(&mut work_dir.node("0"))
    }

    /// Runs a `node --json` command, and reads the node's URL from the first line that the command prints.
    pub fn run(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = serde_json::from_str::<Value>(&line).unwrap()["url"].as_str().unwrap().to_owned();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        Self { process, url, agent }
    }

    /// Sends a GET request for `path`. Returns the status code and the body of the response.
    pub fn bytes(&self, path: &str) -> (u16, Vec<u8>) {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    /// Sends a GET request for `path`. Returns the JSON body of the response, and panics if the status is not 200.
    pub fn get(&self, path: &str) -> Value {
        let (status, bytes) = self.bytes(path);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Broadcasts a transaction and waits until a block contains it. Returns the code and the log of its execution. If
    /// the mempool refuses the transaction, returns the code and the log of the refusal without waiting.
    pub fn send(&self, tx: &[u8]) -> (u64, String) {
        let body = json!({ "tx_bytes": BASE64.encode(tx), "mode": "BROADCAST_MODE_SYNC" }).to_string();
        let url = format!("{}/cosmos/tx/v1beta1/txs", self.url);
        let mut response = self.agent.post(url).header("content-type", "application/json").send(&body).unwrap();
        let answer: Value = serde_json::from_slice(&response.body_mut().read_to_vec().unwrap()).unwrap();
        let parts = |answer: &Value| {
            let response = &answer["tx_response"];
            let code = response["code"].as_u64().unwrap();
            assert_eq!(response["codespace"], ["", "sdk", "remes"][usize::from(code > 0) + usize::from(code > 1000)]);
            (code, response["raw_log"].as_str().unwrap().to_owned())
        };
        let checked = parts(&answer);
        if checked.0 != 0 {
            return checked;
        }
        let path = format!("/cosmos/tx/v1beta1/txs/{}", answer["tx_response"]["txhash"].as_str().unwrap());
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            match self.bytes(&path) {
                (200, bytes) => return parts(&serde_json::from_slice(&bytes).unwrap()),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        panic!("no block contains the transaction after 60 s");
    }

    /// Waits until submission `id` is accepted or rejected. Returns its JSON record: status, finding, CID and so on.
    pub fn settled_gradient(&self, id: u64) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let stored = self.get(&format!("/remes/remes/v1/stored_gradient/{id}"))["stored_gradient"].clone();
            if ["accepted", "settled", "rejected"].contains(&stored["status"].as_str().unwrap()) {
                return stored;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("submission {id} is neither accepted nor rejected after 60 s");
    }

    /// Returns the sequence number that the next transaction signed by `key` must have.
    pub fn sequence(&self, key: &SessionKey) -> u64 {
        let account = self.get(&format!("/cosmos/auth/v1beta1/accounts/{}", key.address()));
        account["account"]["sequence"].as_str().unwrap().parse().unwrap()
    }

    /// Returns the balance of an address in micro-units.
    pub fn balance(&self, address: &str) -> u64 {
        let balances = self.get(&format!("/cosmos/bank/v1beta1/balances/{address}"));
        balances["balances"][0]["amount"].as_str().map_or(0, |amount| amount.parse().unwrap())
    }

    /// Sends a transaction with one message and no fee, signed by `key`. Returns the transaction's code and log.
    pub fn signed(&self, key: &SessionKey, message: Message) -> (u64, String) {
        self.pay(key, &Fee::default(), &[message])
    }

    /// Sends one transaction with several messages and a fee, signed by `key`. Returns the transaction's code and log.
    pub fn pay(&self, key: &SessionKey, fee: &Fee, messages: &[Message]) -> (u64, String) {
        self.send(&key.sign(CHAIN, self.sequence(key), fee, messages).unwrap())
    }

    /// Returns the ID of the first chunk that can be claimed.
    pub fn next_chunk(&self) -> u64 {
        let chunks = self.get("/remes/remes/v1/task_pool/0/available_chunks?limit=1");
        chunks["chunks"][0]["chunk_id"].as_str().unwrap().parse().unwrap()
    }
}

impl NodeProcess {
    /// Returns the ID that the operating system gave to the node's process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Checks that a transaction failed with the code `code` and a log that contains `words`. `answer` is the code and the
/// log that the node returned.
pub fn refused(answer: (u64, String), code: u64, words: &str) {
    assert_eq!(answer.0, code, "{}", answer.1);
    assert!(answer.1.contains(words), "{}", answer.1);
}

/// Returns the message with which the owner of `key` claims the chunk with the ID `chunk_id`.
pub fn claim(key: &SessionKey, chunk_id: u64) -> Message {
    Message::ClaimTask(MsgClaimTask { miner: key.address().to_owned(), pool_id: 0, chunk_id })
}
