//! Tests of a node's HTTP interface. They check that the node answers the requests of miners, wallets and explorers,
//! and that it refuses invalid requests.

use crate::node_process::{CHAIN, NodeProcess, claim, refused};
use crate::work_dir::{WorkDir, accepted};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use r3mes_wgpu::{
    store::{Cid, Codec},
    tx::{Fee, Message, MsgSetPayout, MsgSubmitGradient, SessionKey, tx_hash},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    time::Duration,
};

#[test]
fn remote_miners_are_paid_at_the_address_that_they_name() {
    let work_dir = WorkDir::new("node-mine");
    let node = NodeProcess::start(&work_dir);
    let payee = SessionKey::new(&[3; 32]).unwrap();
    let home = WorkDir::new("node-miner");
    let output = home.mine_for(&node.url, "6").args(["--address", payee.address()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = accepted(&output.stdout);
    assert_eq!(events.len(), 6);
    assert_eq!(events[5]["balance"].as_u64(), Some(6_000_000));
    assert_eq!(node.balance(payee.address()), 6_000_000);
    let stats = node.get("/stats");
    assert_eq!((stats["accepted_total"].as_u64(), stats["round"].as_u64()), (Some(6), Some(1)));
    for event in &events {
        let cid = Cid::try_from(event["cid"].as_str().unwrap()).unwrap();
        let (status, bytes) = node.bytes(&format!("/ipfs/{cid}?format=raw"));
        assert_eq!((status, Codec::DagCbor.cid(&bytes)), (200, cid), "the node serves the artifact under its CID");
        let hash = event["transaction"].as_str().unwrap();
        let tx = node.get(&format!("/cosmos/tx/v1beta1/txs/{hash}"));
        let events = tx["tx_response"]["events"].as_array().unwrap();
        let mut attributes = events.iter().flat_map(|event| event["attributes"].as_array().unwrap());
        assert!(attributes.any(|one| one["key"] == "artifact" && one["value"] == event["cid"]), "{tx}");
    }
}

#[test]
fn a_miner_on_probation_sees_its_escrow() {
    let network = crate::scripted_miner::TestNetwork::new("escrow", &["--rules", "embedded"], |terms| {
        terms["params"]["probation"] = 3.into()
    });
    let home = WorkDir::new("escrow-miner");
    let events = accepted(&home.mine_for(&network.node.url, "4").output().unwrap().stdout);
    let reported: Vec<_> = events.iter().map(|event| (event["escrow"].as_u64(), event["balance"].as_u64())).collect();
    let million = |escrow: u64, balance: u64| (Some(escrow * 1_000_000), Some(balance * 1_000_000));
    assert_eq!(reported, [million(1, 0), million(2, 0), million(3, 0), million(3, 1)]);
}

#[test]
fn routes_that_wallets_and_explorers_use_are_answered() {
    let work_dir = WorkDir::new("node-asked");
    let node = NodeProcess::start(&work_dir);
    let payee = SessionKey::new(&[3; 32]).unwrap();
    let home = WorkDir::new("node-asked-miner");
    let mined = home.mine_for(&node.url, "1").args(["--address", payee.address()]).status().unwrap();
    assert!(mined.success());
    let job = node.get("/r3mes/wgpu/v1/job");
    let trained = node.get("/remes/remes/v1/model_params");
    assert_eq!(
        (trained["model_version"].clone(), trained["training_round_id"].as_str()),
        (job["model"].clone(), Some("0"))
    );
    let pools = node.get("/remes/remes/v1/task_pool/active");
    assert_eq!(trained["model_ipfs_hash"], pools["pools"][0]["adapter"]);
    let formulas = node.get("/remes/remes/v1/reward_formula");
    let formulas: Value = serde_json::from_str(formulas["formulas"].as_str().unwrap()).unwrap();
    assert_eq!(formulas["accepted_gradient"], json!({ "amount": "1000000", "denom": "uremes" }));
    let base = "/cosmos/base/tendermint/v1beta1";
    assert_eq!(node.get(&format!("{base}/node_info"))["default_node_info"]["network"], CHAIN);
    assert_eq!(node.get("/status")["result"]["node_info"]["network"], CHAIN);
    assert_eq!(node.get(&format!("{base}/syncing"))["syncing"], false);
    let last = node.get(&format!("{base}/blocks/latest"));
    let height = last["block"]["header"]["height"].as_str().unwrap();
    assert!(height.parse::<u64>().unwrap() <= node.get("/health")["height"].as_u64().unwrap());
    assert_eq!(node.get(&format!("{base}/blocks/{height}")), last);
    assert_eq!(BASE64.decode(last["block_id"]["hash"].as_str().unwrap()).unwrap().len(), 32);
    assert_eq!(node.bytes(&format!("{base}/blocks/999999")).0, 400, "as a Cosmos node answers");
    let coins = |denom| node.get(&format!("/cosmos/bank/v1beta1/balances/{}/by_denom?denom={denom}", payee.address()));
    assert_eq!(
        (&coins("uremes")["balance"]["amount"], &coins("uatom")["balance"]["amount"]),
        (&"1000000".into(), &"0".into())
    );
    let miner = SessionKey::new(&[4; 32]).unwrap();
    let score = node.get(&format!("/remes/remes/v1/miner_fraud_score/{}", miner.address()));
    assert_eq!(score["fraud_score"], "0.000000");
}

#[test]
fn a_miner_waits_for_a_killed_node_and_no_gradient_counts_twice() {
    let work_dir = WorkDir::new("node-kill");
    let mut node = NodeProcess::start(&work_dir);
    let port = node.url.rsplit(':').next().unwrap().to_owned();
    let home = WorkDir::new("node-kill-miner");
    let mut mining = home.mine_for(&node.url, "12").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(mining.stdout.take().unwrap());
    let mut printed = Vec::new();
    for kill in 0..3u64 {
        stdout.read_until(b'\n', &mut printed).unwrap();
        std::thread::sleep(Duration::from_millis(37 * kill));
        drop(node);
        node = NodeProcess::run(&mut work_dir.node(&port));
    }
    stdout.read_to_end(&mut printed).unwrap();
    assert!(mining.wait().unwrap().success());
    let events = accepted(&printed);
    let balances: Vec<_> = events.iter().map(|event| event["balance"].as_u64().unwrap()).collect();
    assert_eq!(balances.last(), Some(&(node.get("/stats")["accepted_total"].as_u64().unwrap() * 1_000_000)));
    assert!(balances.is_sorted(), "{balances:?}");
}

#[test]
fn an_invalid_transaction_is_refused_with_a_reason_and_changes_nothing() {
    let work_dir = WorkDir::new("node-wrong");
    let node = NodeProcess::start(&work_dir);
    let (key, other) = (SessionKey::new(&[5; 32]).unwrap(), SessionKey::new(&[6; 32]).unwrap());
    let chunk = node.next_chunk();
    refused(node.send(b"nonsense"), 2, "malformed");
    refused(node.send(&key.sign("another-chain", 0, &Fee::default(), &[claim(&key, chunk)]).unwrap()), 4, "signature");
    refused(node.send(&key.sign(CHAIN, 0, &Fee::default(), &[claim(&other, chunk)]).unwrap()), 4, "signed");
    refused(node.send(&key.sign(CHAIN, 1, &Fee::default(), &[claim(&key, chunk)]).unwrap()), 32, "expected 0");
    let payout = MsgSetPayout { miner: key.address().to_owned(), payout: "cosmos1nobody".to_owned() };
    refused(node.signed(&key, Message::SetPayout(payout)), 2, "not an address");
    assert_eq!(node.sequence(&key), 0, "refused transactions are in no block");
    let unavailable = key.sign(CHAIN, 0, &Fee::default(), &[claim(&key, chunk + 4)]).unwrap();
    refused(node.send(&unavailable), 1101, "not available");
    let rpc = |method: &str, params: Value| -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let mut response = node.agent.post(&node.url).header("content-type", "application/json").send(call).unwrap();
        serde_json::from_slice(&response.body_mut().read_to_vec().unwrap()).unwrap()
    };
    let refusal = rpc("broadcast_tx_sync", json!({ "tx": "AA==" }));
    assert_eq!((&refusal["result"]["code"], &refusal["result"]["codespace"]), (&2.into(), &"sdk".into()));
    let found = rpc("tx_search", json!({ "query": format!("tx.hash='{}'", tx_hash(&unavailable)) }));
    let result = &found["result"]["txs"][0]["tx_result"];
    assert_eq!((&result["code"], &result["codespace"]), (&1101.into(), &"remes".into()));
    let submit = |held: &Value, cid: &str, hash: &str| {
        Message::SubmitGradient(Box::new(MsgSubmitGradient {
            miner: key.address().to_owned(),
            ipfs_hash: cid.to_owned(),
            gradient_hash: hash.to_owned(),
            model_version: node.get("/r3mes/wgpu/v1/job")["model"].as_str().unwrap().to_owned(),
            token_count: 2048,
            shard_id: held["shard_id"].as_u64().unwrap_or_default(),
            global_seed: held["global_seed"].as_str().map_or(0, |seed| seed.parse().unwrap()),
            nonce: 1,
            ..Default::default()
        }))
    };
    let (cid, hash) = (Codec::DagCbor.cid(b"nowhere").to_string(), "ab".repeat(32));
    refused(node.signed(&key, submit(&Value::Null, "QmNo", &hash)), 1102, "not a CID");
    refused(node.signed(&key, submit(&Value::Null, &cid, "xyz")), 1102, "64 hexadecimal");
    refused(node.signed(&key, submit(&Value::Null, &cid, &hash)), 1102, "shard_id");
    assert_eq!(node.signed(&key, claim(&key, chunk)), (0, String::new()));
    let held = node.get(&format!("/r3mes/wgpu/v1/tasks/{}", key.address()))["held"].clone();
    assert_eq!(node.signed(&key, submit(&held, &cid, &hash)), (0, String::new()));
    assert_eq!(node.sequence(&key), 6, "executed transactions are in a block, failed ones too");
    let stored = node.settled_gradient(1);
    assert_eq!((stored["status"].as_str(), stored["finding"].as_str()), (Some("rejected"), Some("mismatch")));
    assert_eq!((node.balance(key.address()), node.get("/stats")["accepted_total"].as_u64()), (0, Some(0)));

    let again = key.sign(CHAIN, 6, &Fee::default(), &[claim(&key, chunk)]).unwrap();
    assert_eq!((node.send(&again), node.send(&again)), ((0, String::new()), (0, String::new())));
    assert_eq!(node.sequence(&key), 7, "a transaction that is sent twice is executed once");
}

#[test]
fn block_put_names_blocks_by_their_hash_and_refuses_other_formats() {
    let work_dir = WorkDir::new("node-blocks");
    let node = NodeProcess::start(&work_dir);
    let put = |query: &str, bytes: &[u8]| {
        let body = [b"--b\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n", bytes, b"\r\n--b--\r\n"].concat();
        let request = node.agent.post(format!("{}/api/v0/block/put{query}", node.url));
        let mut response = request.header("content-type", "multipart/form-data; boundary=b").send(&body[..])?;
        Ok::<_, ureq::Error>((response.status().as_u16(), response.body_mut().read_to_vec()?))
    };
    let (status, answer) = put("?cid-codec=raw&mhtype=sha2-256", b"some bytes").unwrap();
    let key = serde_json::from_slice::<Value>(&answer).unwrap()["Key"].as_str().unwrap().to_owned();
    assert_eq!((status, key.as_str()), (200, Codec::Raw.cid(b"some bytes").to_string().as_str()));
    assert_eq!(node.bytes(&format!("/ipfs/{key}?format=raw")), (200, b"some bytes".to_vec()));
    assert_eq!(put("?cid-codec=dag-json", b"x").unwrap().0, 400);
    assert_eq!(put("?cid-codec=raw&mhtype=blake3", b"x").unwrap().0, 400);
    // the data is too large for a block; the node may close the connection before it has read all of it
    assert!(put("?cid-codec=raw", &vec![0; (1 << 20) + 1]).map_or(true, |(status, _)| status == 400));
    assert_eq!(node.bytes(&format!("/ipfs/{}", Codec::Raw.cid(b"absent"))).0, 404);
    assert_eq!(node.bytes("/ipfs/nonsense").0, 400);
}

#[test]
fn requests_for_other_hosts_and_from_other_origins_are_refused() {
    let work_dir = WorkDir::new("node-sites");
    let node = NodeProcess::run(work_dir.node("0").args(["--allow-origin", "https://wallet.example"]));
    let ask = |header: &str, value: &str| {
        node.agent.get(format!("{}/health", node.url)).header(header, value).call().unwrap()
    };
    assert_eq!(ask("host", "evil.example").status(), 421, "a host name that is not the node's own");
    let allowed = |origin: &str| {
        let response = ask("origin", origin);
        response.headers().get("access-control-allow-origin").map(|origin| origin.to_str().unwrap().to_owned())
    };
    assert_eq!(allowed("https://wallet.example").as_deref(), Some("https://wallet.example"));
    assert_eq!(allowed("https://evil.example"), None);
    assert_eq!(node.bytes("/cosmos/none").0, 501, "as a Cosmos node answers");
    let (status, metrics) = node.bytes("/metrics");
    assert_eq!(status, 200);
    assert!(String::from_utf8(metrics).unwrap().contains("r3mes_accepted_total 0"));
}
