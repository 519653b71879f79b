//! Replicas of the same chain. A replica consists of two processes: a node, and CometBFT (the consensus engine). All
//! replicas of a network share one genesis.

use super::work_dir::{SMALL_MODEL, WorkDir};
use r3mes_wgpu::tx::SessionKey;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for one condition before it fails.
const TIMEOUT: Duration = Duration::from_secs(240);

/// The stake of the operator of each replica that is a validator, in micro-units.
pub const OPERATOR_STAKE: u64 = 1_000_000_000;
/// The initial balance of the operator of each other replica, in micro-units.
pub const OTHER_COINS: u64 = 1_000_000_000;

/// A network of replicas: their folders, their ports and their common genesis.
pub struct ReplicaNetwork {
    pub work_dir: WorkDir,
    ports: Vec<Ports>,
    /// The peer-to-peer address of each replica's CometBFT, in the form `ID@ADDRESS:PORT`.
    peers: Vec<String>,
}

/// The four ports on which a replica listens at 127.0.0.1.
struct Ports {
    http: u16,
    abci: u16,
    rpc: u16,
    p2p: u16,
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"))
}

fn cometbft(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("R3MES_COMETBFT").expect("R3MES_COMETBFT names a CometBFT"));
    command.args(arguments);
    command
}

/// Runs a command, checks that it succeeds, and returns what it wrote to stdout.
fn stdout_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl ReplicaNetwork {
    /// Prepares a network. Its first `validators` replicas vote on blocks as validators of CometBFT, with a voting power
    /// that follows the stake of their operators in the ledger. The next `others` replicas have neither votes nor
    /// stakes, but their operators own [`OTHER_COINS`]. `change` edits the genesis of the ledger.
    pub fn new(name: &str, validators: usize, others: usize, change: impl FnOnce(&mut Value)) -> Self {
        let work_dir = WorkDir::new(name);
        let all = validators + others;
        // all ports are bound at the same time, so that no port is given out twice
        let free: Vec<_> = (0..4 * all).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let free: Vec<u16> = free.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let ports: Vec<Ports> =
            free.chunks(4).map(|four| Ports { http: four[0], abci: four[1], rpc: four[2], p2p: four[3] }).collect();
        let mut network = Self { work_dir, ports, peers: Vec::new() };
        let folder = network.folder();
        let (v, n, o) = (validators.to_string(), others.to_string(), folder.to_str().unwrap());
        stdout_of(&mut cometbft(&["testnet", "--v", &v, "--n", &n, "--o", o, "--populate-persistent-peers=false"]));
        for (at, ports) in network.ports.iter().enumerate() {
            let home = network.home(at);
            let id = stdout_of(cometbft(&["show-node-id", "--home"]).arg(&home));
            network.peers.push(format!("{id}@127.0.0.1:{}", ports.p2p));
            let path = home.join("config/genesis.json");
            let mut genesis: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            genesis["chain_id"] = json!(CHAIN);
            fs::write(path, genesis.to_string()).unwrap();
        }
        let mut command = binary();
        command.args(["genesis", "--rank", "4", "--chain-id", CHAIN, "--data-dir"]).arg(network.data(0));
        command.args(["--model", SMALL_MODEL, "--text"]).arg(network.work_dir.text());
        for at in 0..all {
            let operator = stdout_of(binary().args(["wallet", "operator", "--data-dir"]).arg(network.data(at)));
            if at < validators {
                command.args(["--operator", &format!("{operator}={OPERATOR_STAKE}")]);
                command.args(["--consensus-key", &format!("{operator}={}", network.consensus_key(at))]);
            } else {
                command.args(["--account", &format!("{operator}={OTHER_COINS}")]);
            }
        }
        let mut genesis = serde_json::from_str(&stdout_of(&mut command)).unwrap();
        change(&mut genesis);
        fs::write(network.genesis(), genesis.to_string()).unwrap();
        network
    }

    fn folder(&self) -> PathBuf {
        self.work_dir.data()
    }

    fn home(&self, at: usize) -> PathBuf {
        self.folder().join(format!("node{at}"))
    }

    fn data(&self, at: usize) -> PathBuf {
        self.home(at).join("r3mes")
    }

    /// Returns the public key of the CometBFT of the replica with index `at`, in base64.
    pub fn consensus_key(&self, at: usize) -> String {
        let key = stdout_of(cometbft(&["show-validator", "--home"]).arg(self.home(at)));
        serde_json::from_str::<Value>(&key).unwrap()["value"].as_str().unwrap().to_owned()
    }

    /// Returns the key of the operator of the replica with index `at`.
    pub fn operator(&self, at: usize) -> SessionKey {
        let secret = fs::read(self.data(at).join("operator.key")).unwrap();
        SessionKey::new(&secret.try_into().unwrap()).unwrap()
    }

    fn genesis(&self) -> PathBuf {
        self.folder().join("genesis.json")
    }

    fn url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[at].http)
    }

    /// Starts the replica with index `at`. `settings` are additional environment variables of its CometBFT.
    pub fn start(&self, at: usize, settings: &[(&str, String)]) -> Replica {
        let (node, engine) = (self.node(at), self.engine(at, settings));
        let rpc = format!("http://127.0.0.1:{}", self.ports[at].rpc);
        Replica { url: self.url(at), rpc, home: self.home(at), node, engine }
    }

    fn node(&self, at: usize) -> Child {
        let (Ports { http, abci, rpc, .. }, log) = (&self.ports[at], self.home(at).join("node.log"));
        let mut node = binary();
        node.args(["node", "--json", "--backend", "cpu", "--threads", "1", "--snapshot-blocks", "10"]);
        node.args(["--model", SMALL_MODEL, "--text"]).arg(self.work_dir.text());
        node.arg("--genesis").arg(self.genesis()).arg("--data-dir").arg(self.data(at));
        node.args(["--listen", &format!("127.0.0.1:{http}"), "--abci", &format!("127.0.0.1:{abci}")]);
        node.args(["--consensus", &format!("http://127.0.0.1:{rpc}")]);
        for other in self.others(at) {
            node.args(["--gateway", &self.url(other)]);
        }
        let mut node = node.stderr(append_to(&log)).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line} {}", tail(&log));
        node
    }

    /// Starts the CometBFT of the replica with index `at`, but not its node. `settings` are additional environment
    /// variables.
    pub fn engine(&self, at: usize, settings: &[(&str, String)]) -> Child {
        let (Ports { abci, rpc, p2p, .. }, home) = (&self.ports[at], self.home(at));
        let peers: Vec<&str> = self.others(at).map(|other| self.peers[other].as_str()).collect();
        let mut engine = cometbft(&["start", "--home"]);
        engine.arg(&home).args(["--proxy_app", &format!("tcp://127.0.0.1:{abci}")]);
        engine.args(["--rpc.laddr", &format!("tcp://127.0.0.1:{rpc}")]);
        engine.args(["--p2p.laddr", &format!("tcp://127.0.0.1:{p2p}"), "--p2p.persistent_peers", &peers.join(",")]);
        // short timeouts, because CometBFT waits for a dead validator whenever that validator should propose a block
        engine.env("CMT_CONSENSUS_TIMEOUT_PROPOSE", "1s").env("CMT_CONSENSUS_TIMEOUT_COMMIT", "300ms");
        engine.envs(settings.iter().map(|(key, value)| (key, value)));
        engine.stdout(append_to(&home.join("cometbft.log"))).stderr(Stdio::null()).spawn().unwrap()
    }

    fn others(&self, at: usize) -> impl Iterator<Item = usize> {
        (0..self.ports.len()).filter(move |other| *other != at)
    }

    /// Returns a `mine` command that uses the node of the replica with index `at`. The miner has its own data folder
    /// and key.
    pub fn miner(&self, name: &str, at: usize, tasks: &str) -> Command {
        let mut command = binary();
        command.args(["mine", "--json", "--backend", "cpu", "--threads", "1", "--max-tasks", tasks, "--node"]);
        command.arg(self.url(at)).arg("--data-dir").arg(self.folder().join(name));
        command.stderr(append_to(&self.folder().join(format!("{name}.log")))).stdout(Stdio::piped());
        command
    }
}

/// The chain ID of every network of replicas.
pub const CHAIN: &str = "r3mes-test-1";

/// A running replica. Dropping this value kills both of its processes.
pub struct Replica {
    /// The base URL of the node's HTTP interface, without a slash at the end.
    pub url: String,
    /// The URL of CometBFT's RPC.
    pub rpc: String,
    home: PathBuf,
    pub node: Child,
    /// The process of CometBFT, the consensus engine.
    pub engine: Child,
}

impl Replica {
    /// Kills both processes of the replica, CometBFT and the node.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits until CometBFT exits by itself, as it does when its application (the node) has been killed.
    pub fn wait_for_engine_exit(&mut self) {
        let end = Instant::now() + TIMEOUT;
        while self.engine.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "CometBFT still runs without its application");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the log of the replica's CometBFT, including the lines from earlier runs.
    pub fn engine_log(&self) -> String {
        fs::read_to_string(self.home.join("cometbft.log")).unwrap()
    }

    fn end(&mut self) {
        for process in [&mut self.engine, &mut self.node] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Returns the voting power of a public key, which is in base64. Returns `None` if it has none, or if the request
    /// fails.
    pub fn voting_power(&self, key: &str) -> Option<u64> {
        let validators = self.call("validators", &json!({ "per_page": "100" }))?["validators"].as_array()?.clone();
        let found = validators.into_iter().find(|validator| validator["pub_key"]["value"] == key)?;
        found["voting_power"].as_str()?.parse().ok()
    }

    /// Returns the stake of an address in micro-units.
    pub fn stake(&self, address: &str) -> u64 {
        let found = self.get(&format!("/remes/remes/v1/node_registration/{address}")).unwrap();
        found["node_registration"]["stake"].as_str().unwrap().parse().unwrap()
    }

    /// Sends a GET request to the node. Returns the JSON body of the response, or `None` if the request fails.
    pub fn get(&self, path: &str) -> Option<Value> {
        let body = self.bytes(path)?;
        serde_json::from_slice(&body).ok()
    }

    /// Sends a GET request to the node. Returns the body of the response, or `None` if the request fails.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().ok()?;
        answer.body_mut().with_config().limit(64 << 20).read_to_vec().ok()
    }

    /// Calls a JSON-RPC method of the node. Returns the result, or `None` if the call fails.
    pub fn call(&self, method: &str, params: &Value) -> Option<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
        let mut answer = ureq::post(&self.url).header("content-type", "application/json").send(request).ok()?;
        let answer: Value = serde_json::from_slice(&answer.body_mut().read_to_vec().ok()?).ok()?;
        answer.get("result").cloned()
    }

    /// Returns the height of the last block in the ledger, or 0 if the node does not answer.
    pub fn height(&self) -> u64 {
        self.get("/health").map_or(0, |health| health["height"].as_u64().unwrap())
    }

    /// Returns the number of closed rounds, or 0 if the node does not answer.
    pub fn round(&self) -> u64 {
        self.get("/stats").map_or(0, |stats| stats["round"].as_u64().unwrap())
    }

    /// Returns the height and the root of the ledger, as ABCI's `Info` reports them (the root in base64). Returns
    /// `None` if the call fails.
    pub fn root(&self) -> Option<(u64, String)> {
        let response = self.call("abci_info", &json!({}))?["response"].clone();
        let height = response["last_block_height"].as_str()?.parse().ok()?;
        Some((height, response["last_block_app_hash"].as_str()?.to_owned()))
    }

    /// Calls `poll` until it returns a value. Panics after [`TIMEOUT`], with a message that contains `what`, the name
    /// of the awaited value.
    pub fn wait_for<T>(&self, what: &str, mut poll: impl FnMut(&Self) -> Option<T>) -> T {
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            if let Some(found) = poll(self) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let (node, engine) = (tail(&self.home.join("node.log")), tail(&self.home.join("cometbft.log")));
        panic!("{}: no {what} in time; log of the node:\n{node}\nlog of CometBFT:\n{engine}", self.home.display());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.end();
    }
}

/// Opens a log file for appending, so that it keeps the lines of earlier runs.
fn append_to(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

/// Returns the last 12 lines of a file, or an empty string if it cannot be read.
fn tail(path: &Path) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
