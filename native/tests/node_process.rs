//! What the tests of the node over HTTP share: a node's process, asked as its clients ask it.

use super::work_dir::WorkDir;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::tx::{Fee, Message, MsgClaimTask, SessionKey};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub const CHAIN: &str = "r3mes-local-1";

/// A node in a process of its own; killed with the value.
pub struct NodeProcess {
    process: Child,
    pub url: String,
    pub agent: ureq::Agent,
}

impl NodeProcess {
    pub fn start(work_dir: &WorkDir) -> Self {
        Self::run(&mut work_dir.node("0"))
    }

    pub fn run(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = serde_json::from_str::<Value>(&line).unwrap()["url"].as_str().unwrap().to_owned();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        Self { process, url, agent }
    }

    pub fn bytes(&self, path: &str) -> (u16, Vec<u8>) {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, bytes) = self.bytes(path);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The code of a transaction, and its log: as checked, or as settled.
    pub fn send(&self, tx: &[u8]) -> (u64, String) {
        let body = json!({ "tx_bytes": BASE64.encode(tx), "mode": "BROADCAST_MODE_SYNC" }).to_string();
        let url = format!("{}/cosmos/tx/v1beta1/txs", self.url);
        let mut response = self.agent.post(url).header("content-type", "application/json").send(&body).unwrap();
        let answer: Value = serde_json::from_slice(&response.body_mut().read_to_vec().unwrap()).unwrap();
        let parts = |answer: &Value| {
            let response = &answer["tx_response"];
            (response["code"].as_u64().unwrap(), response["raw_log"].as_str().unwrap().to_owned())
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
        panic!("the transaction is never settled");
    }

    /// A submission, once it is settled.
    pub fn stored(&self, id: u64) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let stored = self.get(&format!("/remes/remes/v1/stored_gradient/{id}"))["stored_gradient"].clone();
            if ["accepted", "rejected"].contains(&stored["status"].as_str().unwrap()) {
                return stored;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("submission {id} is never settled");
    }

    pub fn sequence(&self, key: &SessionKey) -> u64 {
        let account = self.get(&format!("/cosmos/auth/v1beta1/accounts/{}", key.address()));
        account["account"]["sequence"].as_str().unwrap().parse().unwrap()
    }

    pub fn balance(&self, address: &str) -> u64 {
        let balances = self.get(&format!("/cosmos/bank/v1beta1/balances/{address}"));
        balances["balances"][0]["amount"].as_str().map_or(0, |amount| amount.parse().unwrap())
    }

    pub fn signed(&self, key: &SessionKey, message: Message) -> (u64, String) {
        self.pay(key, &Fee::default(), &[message])
    }

    pub fn pay(&self, key: &SessionKey, fee: &Fee, messages: &[Message]) -> (u64, String) {
        self.send(&key.sign(CHAIN, self.sequence(key), fee, messages).unwrap())
    }

    pub fn next_chunk(&self) -> u64 {
        let chunks = self.get("/remes/remes/v1/task_pool/0/available_chunks?limit=1");
        chunks["chunks"][0]["chunk_id"].as_str().unwrap().parse().unwrap()
    }
}

impl NodeProcess {
    /// Number of its process.
    #[allow(dead_code, reason = "only the benchmark `load` asks")]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn claim(key: &SessionKey, chunk_id: u64) -> Message {
    Message::ClaimTask(MsgClaimTask { miner: key.address().to_owned(), pool_id: 0, chunk_id })
}
