//! A fuzz test of the HTTP interface. It sends requests for each route, and then random mutations of these requests,
//! over a socket to a real node. The node must keep running and must not answer with an internal error.

use crate::node_process::{CHAIN, NodeProcess, claim};
use crate::work_dir::WorkDir;
use proptest::{prelude::*, sample::Index, strategy::ValueTree, test_runner::TestRunner};
use r3mes_wgpu::{
    store::{Block, Codec, Dag, unixfs::FileLayout},
    tx::{Fee, SessionKey},
};
use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// The number of mutated requests that the test sends. The environment variable `R3MES_REQUESTS` overrides this number.
const REQUESTS: u32 = 1500;
/// How long, at most, the test waits for the node to answer or to close the connection.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP request as a pair: a string with the request line and the headers (without `Host`, `Connection` and
/// `Content-Length`), and the bytes of the body.
type RawRequest = (String, Vec<u8>);

/// Returns a multipart body with the boundary `b`. A part is a pair: the parameters of its `Content-Disposition`, and
/// its content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, bytes) in parts {
        body.extend_from_slice(format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

/// Returns at least one request for each route. The test sends these requests, and then mutations of them.
fn seed_requests(key: &SessionKey) -> Vec<RawRequest> {
    let address = key.address();
    let block = Block::new(Codec::Raw, vec![7; 50]).unwrap();
    let cid = block.cid();
    let file = Dag::file(FileLayout::new(16, 3).unwrap(), &[9; 200]).unwrap();
    let get = |path: &str| (format!("GET {path} HTTP/1.1\r\n"), Vec::new());
    let mut seeds: Vec<RawRequest> = [
        "/health",
        "/stats",
        "/metrics",
        "/r3mes/wgpu/v1/job",
        "/r3mes/wgpu/v1/model/config.json",
        "/r3mes/wgpu/v1/model/../config.json",
        "/remes/remes/v1/params",
        "/remes/remes/v1/reward_formula",
        "/remes/remes/v1/model_params",
        "/remes/remes/v1/task_pool/active",
        "/remes/remes/v1/task_pool/0/available_chunks?limit=3",
        "/remes/remes/v1/stored_gradient/1",
        "/remes/remes/v1/global_seed/0",
        "/cosmos/tx/v1beta1/txs/ABCDEF",
        "/cosmos/tx/v1beta1/txs?query=tx.height%3E=1%20AND%20message.module='bank'&page=1&limit=3&order_by=2",
        "/cosmos/bank/v1beta1/supply?pagination.limit=1&pagination.key=AAAA",
        "/cosmos/bank/v1beta1/supply/by_denom?denom=uremes",
        "/cosmos/bank/v1beta1/denoms_metadata",
        "/cosmos/bank/v1beta1/denoms_metadata/uremes",
        "/cosmos/bank/v1beta1/params",
        "/cosmos/auth/v1beta1/params",
        "/cosmos/base/node/v1beta1/config",
        "/cosmos/base/tendermint/v1beta1/validatorsets/latest",
        "/cosmos/base/tendermint/v1beta1/node_info",
        "/cosmos/base/tendermint/v1beta1/syncing",
        "/cosmos/base/tendermint/v1beta1/blocks/latest",
        "/cosmos/base/tendermint/v1beta1/blocks/1",
        "/status",
        "/",
        "/index.html",
    ]
    .map(get)
    .to_vec();
    for path in [
        "/r3mes/wgpu/v1/tasks/",
        "/r3mes/wgpu/v1/challenges/",
        "/r3mes/wgpu/v1/aggregations/",
        "/remes/remes/v1/miner_score/",
        "/remes/remes/v1/miner_fraud_score/",
        "/remes/remes/v1/node_registration/",
        "/cosmos/auth/v1beta1/accounts/",
        "/cosmos/bank/v1beta1/balances/",
        "/cosmos/bank/v1beta1/spendable_balances/",
    ] {
        seeds.push(get(&format!("{path}{address}")));
    }
    seeds.push(get(&format!("/cosmos/authz/v1beta1/grants?granter={address}&grantee={address}")));
    seeds.push(get(&format!("/cosmos/feegrant/v1beta1/allowance/{address}/{address}")));
    for query in ["?format=raw", "?format=car", "?format=car&dag-scope=entity&entity-bytes=0:9", ""] {
        seeds.push(get(&format!("/ipfs/{cid}{query}")));
        let (line, _) = get(&format!("/ipfs/{cid}{query}"));
        seeds.push((line + "Accept: application/vnd.ipld.car; version=1; order=dfs; dups=y\r\n", Vec::new()));
    }
    let post =
        |path: &str, kind: &str, body: Vec<u8>| (format!("POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\n"), body);
    let tx = key.sign(CHAIN, 0, &Fee::default(), &[claim(key, 0)]).unwrap();
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let tx = BASE64.encode(tx);
    let json = |text: String| text.into_bytes();
    let broadcast = format!(r#"{{"tx_bytes":"{tx}","mode":"BROADCAST_MODE_SYNC"}}"#);
    seeds.push(post("/cosmos/tx/v1beta1/txs", "application/json", json(broadcast)));
    let simulation = format!(r#"{{"tx_bytes":"{tx}"}}"#);
    seeds.push(post("/cosmos/tx/v1beta1/simulate", "application/json", json(simulation)));
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"status","params":{}},{"id":"a","method":"health"}]"#;
    seeds.push(post("/", "application/json", json(batch.to_owned())));
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    seeds.push((get("/websocket").0 + upgrade, Vec::new()));
    for (method, params) in [
        ("status", "{}".to_owned()),
        ("abci_info", "[]".to_owned()),
        ("broadcast_tx_sync", format!(r#"{{"tx":"{tx}"}}"#)),
        ("abci_query", r#"{"path":"/cosmos.auth.v1beta1.Query/Account","data":"0a0161","height":"0"}"#.to_owned()),
        ("tx_search", r#"{"query":"tx.height>=1 AND message.module='remes'","page":"1","per_page":"30"}"#.to_owned()),
        ("block", r#"{"height":"1"}"#.to_owned()),
        ("tx", r#"{"hash":"q80=","prove":false}"#.to_owned()),
    ] {
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        seeds.push(post("/", "application/json", json(call)));
    }
    let multipart = "multipart/form-data; boundary=b";
    let data = r#"name="data"; filename="block""#;
    for (path, parts) in [
        ("/api/v0/block/put?cid-codec=raw&mhtype=sha2-256", vec![(data, block.bytes())]),
        ("/api/v0/block/put?cid-codec=dag-cbor", vec![(data, &[0xa0][..]), (data, &[0xa0])]),
        (
            "/api/v0/add?cid-version=1&raw-leaves=true&chunker=size-262144",
            vec![(r#"name="file"; filename="a""#, &[1; 40][..])],
        ),
        ("/api/v0/dag/import?pin-roots=false", vec![(r#"name="file""#, &file.to_car()[..])]),
    ] {
        seeds.push(post(path, multipart, form(&parts)));
    }
    for command in ["block/get", "block/stat", "dag/export", "cat", "pin/add", "pin/rm"] {
        seeds.push(post(&format!("/api/v0/{command}?arg={cid}"), "application/octet-stream", Vec::new()));
    }
    for command in ["pin/ls?type=recursive", "repo/stat", "repo/gc", "id", "version"] {
        seeds.push(post(&format!("/api/v0/{command}"), "application/octet-stream", Vec::new()));
    }
    seeds
}

/// Sends a request. Returns the first bytes of the answer (at most 64), or an empty vector if the node closes the
/// connection without an answer.
fn send(node: &NodeProcess, (head, body): &RawRequest) -> Vec<u8> {
    let host = node.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let head = format!("{head}Host: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    // writing can fail, because the node may answer and close before it has read everything
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = vec![0; 64];
    match stream.read(&mut answer) {
        Ok(bytes) => answer.truncate(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => answer.clear(),
        Err(error) => panic!("{error}: {head}"),
    }
    answer
}

/// Sends a request, and checks that the node does not answer with an internal error.
fn assert_answered(node: &NodeProcess, seed: &RawRequest) {
    let answer = send(node, seed);
    let line = String::from_utf8_lossy(&answer);
    // 501 means that the route is unknown, 503 that the page is not built, and Kubo's RPC refuses requests with 500
    let unknown = line.starts_with("HTTP/1.1 501") && !seed.0.contains("/api/");
    let refused =
        unknown || line.starts_with("HTTP/1.1 503") || line.starts_with("HTTP/1.1 500") && seed.0.contains("/api/");
    let broken = line.starts_with("HTTP/1.1 5") && !refused;
    assert!(!broken, "{line}\n{}\n{}", seed.0, String::from_utf8_lossy(&seed.1));
}

/// Returns a `proptest` strategy that picks one of the requests `seeds` and mutates it in 1 to 4 places. Each mutation
/// replaces, inserts or removes one byte of the request's head or body.
fn mutated(seeds: Vec<RawRequest>) -> impl Strategy<Value = RawRequest> {
    let change = (any::<bool>(), any::<Index>(), 0..3u8, any::<u8>());
    (prop::sample::select(seeds), prop::collection::vec(change, 1..5)).prop_map(|((head, mut body), changes)| {
        let mut head = head.into_bytes();
        for (of_body, at, kind, byte) in changes {
            let (bytes, byte) = match of_body && !body.is_empty() {
                true => (&mut body, byte),
                // a head with these characters gets further through the parser than one with arbitrary bytes
                false => (&mut head, b" %&/0=?Aa{\"\r\n"[usize::from(byte) % 13]),
            };
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        (String::from_utf8_lossy(&head).into_owned(), body)
    })
}

#[test]
fn every_request_is_answered_or_refused_and_the_node_keeps_running() {
    let work_dir = WorkDir::new("requests");
    let node = NodeProcess::start(&work_dir);
    let seeds = seed_requests(&SessionKey::new(&[41; 32]).unwrap());
    for seed in &seeds {
        assert!(send(&node, seed).starts_with(b"HTTP/1.1 "), "{}", seed.0);
        assert_answered(&node, seed);
    }
    let requests = env::var("R3MES_REQUESTS").map_or(REQUESTS, |count| count.parse().unwrap());
    let (strategy, mut runner) = (mutated(seeds), TestRunner::default());
    for _ in 0..requests {
        assert_answered(&node, &strategy.new_tree(&mut runner).unwrap().current());
    }
    assert_eq!(node.get("/health")["status"], "ok");
}
