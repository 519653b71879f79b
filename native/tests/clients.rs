//! Tests of what clients of Cosmos chains rely on: the errors of the REST routes and of the JSON-RPC, batches,
//! simulations, the search for transactions, and the WebSocket. `tests/browser/stargate.test.mjs` tests the same with
//! CosmJS.

use crate::node_process::{CHAIN, NodeProcess};
use crate::scripted_miner::{ScriptedMiner, TestNetwork, key};
use crate::work_dir::WorkDir;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::tx::{Fee, Message as TxMessage, Transfer};
use serde_json::{Value, json};
use std::{
    net::TcpStream,
    time::{Duration, Instant},
};
use tungstenite::{Message, WebSocket, client::IntoClientRequest, handshake::client::Response};

/// The initial balance of the account that sends coins, in micro-units.
const COINS: u64 = 1_000_000_000;

/// Starts a network in which account 7 has coins.
fn network(name: &str) -> TestNetwork {
    TestNetwork::new(name, &[], |genesis| {
        genesis["accounts"].as_array_mut().unwrap().push(json!([ScriptedMiner::address_of(7), COINS]));
    })
}

/// Returns the signed transaction with which account 7 sends coins to account 8. [`key`] returns the keys of both
/// accounts.
fn transfer(sequence: u64, amount: u64) -> Vec<u8> {
    let (from, to) = (ScriptedMiner::address_of(7), ScriptedMiner::address_of(8));
    let message = TxMessage::Send(Transfer { from, to, amount });
    key(7).sign(CHAIN, sequence, &Fee { amount: 20_000, granter: None }, &[message]).unwrap()
}

/// Sends a request on a connection of its own, because the node closes a connection after a refusal if it has not read
/// the whole body. Returns the status and the JSON of the response.
fn post(node: &NodeProcess, path: &str, kind: &str, body: &str) -> (u16, Value) {
    let request = node.agent.post(format!("{}{path}", node.url)).header("content-type", kind);
    let mut response = request.header("connection", "close").send(body).unwrap();
    let body = response.body_mut().read_to_vec().unwrap();
    let json = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body)));
    (response.status().as_u16(), json)
}

/// Checks that a response is an error in the format of a Cosmos node. `expected` is its HTTP status and its gRPC code,
/// and its message must contain `words`.
fn assert_error((status, error): (u16, Value), expected: (u16, u32), words: &str, context: &str) {
    assert_eq!((status, &error["code"]), (expected.0, &json!(expected.1)), "{context}: {error}");
    assert!(error["message"].as_str().unwrap().contains(words), "{context}: {error}");
    assert_eq!(error["details"], json!([]), "{context}");
}

#[test]
fn malformed_requests_are_refused_as_a_cosmos_node_refuses_them() {
    let work_dir = WorkDir::new("refusals");
    let node = NodeProcess::start(&work_dir);
    let get = |path: &str| {
        let (status, body) = node.bytes(path);
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{path}: {}", String::from_utf8_lossy(&body))))
    };
    let (address, hash) = (ScriptedMiner::address_of(7), "AB".repeat(32));
    for path in [
        "/cosmos/auth/v1beta1/accounts/nobody",
        "/cosmos/bank/v1beta1/balances/nobody",
        "/cosmos/bank/v1beta1/balances/nobody/by_denom?denom=uremes",
        "/cosmos/bank/v1beta1/spendable_balances/nobody",
        "/cosmos/bank/v1beta1/spendable_balances/nobody/by_denom?denom=uremes",
        &format!("/cosmos/authz/v1beta1/grants?granter=nobody&grantee={address}"),
        &format!("/cosmos/authz/v1beta1/grants?granter={address}&grantee=nobody"),
        &format!("/cosmos/feegrant/v1beta1/allowance/{address}/nobody"),
        &format!("/r3mes/wgpu/v1/sessions/nobody/{address}"),
        "/r3mes/wgpu/v1/tasks/nobody",
        "/r3mes/wgpu/v1/challenges/nobody",
        "/r3mes/wgpu/v1/aggregations/nobody",
        "/remes/remes/v1/miner_score/nobody",
        "/remes/remes/v1/miner_fraud_score/nobody",
        "/remes/remes/v1/node_registration/nobody",
    ] {
        assert_error(get(path), (400, 3), "not an address of this chain", path);
    }
    let own = format!("/cosmos/bank/v1beta1/balances/{address}");
    for (path, expected, words) in [
        (format!("{own}/by_denom"), (400, 3), "missing field `denom`"),
        (format!("{own}/by_denom?denom="), (400, 3), "invalid denom"),
        (format!("{own}/by_denom?denom=u!remes"), (400, 3), "invalid denom"),
        (format!("{own}?pagination.limit=many"), (400, 3), "pagination.limit"),
        (format!("{own}?pagination.key=%21"), (400, 3), "not base64"),
        (format!("{own}?pagination.key=AAAA&pagination.offset=1"), (400, 3), "either offset or key"),
        ("/cosmos/bank/v1beta1/balances/%FF".to_owned(), (400, 3), "UTF-8"),
        ("/cosmos/bank/v1beta1/supply/by_denom".to_owned(), (400, 3), "denom"),
        ("/cosmos/bank/v1beta1/denoms_metadata/1".to_owned(), (400, 3), "invalid denom"),
        ("/cosmos/bank/v1beta1/denoms_metadata/atom".to_owned(), (404, 5), "denom atom"),
        ("/cosmos/authz/v1beta1/grants".to_owned(), (400, 3), "granter"),
        (format!("/cosmos/feegrant/v1beta1/allowance/{address}/{address}"), (404, 5), "not found"),
        ("/cosmos/tx/v1beta1/txs/xyz".to_owned(), (400, 3), "64 hexadecimal digits"),
        (format!("/cosmos/tx/v1beta1/txs/{hash}"), (404, 5), "tx not found"),
        ("/cosmos/tx/v1beta1/txs".to_owned(), (400, 3), "query cannot be empty"),
        ("/cosmos/tx/v1beta1/txs?query=height".to_owned(), (400, 3), "invalid query"),
        ("/cosmos/tx/v1beta1/txs?query=tx.height=1&page=x".to_owned(), (400, 3), "page: invalid digit"),
        ("/cosmos/tx/v1beta1/txs?query=tx.height=1&page=2".to_owned(), (400, 3), "within [1, 1]"),
        ("/cosmos/tx/v1beta1/txs?query=tx.height=1&order_by=up".to_owned(), (400, 3), "ORDER_BY_ASC"),
        ("/cosmos/base/tendermint/v1beta1/blocks/high".to_owned(), (400, 3), "parameter: height"),
        ("/cosmos/base/tendermint/v1beta1/blocks/-1".to_owned(), (400, 3), "parameter: height"),
        ("/cosmos/base/tendermint/v1beta1/blocks/0".to_owned(), (400, 3), "greater than 0"),
        ("/cosmos/base/tendermint/v1beta1/blocks/99999".to_owned(), (400, 3), "bigger then the chain length"),
        ("/cosmos/base/tendermint/v1beta1/validatorsets/high".to_owned(), (400, 3), "parameter: height"),
        ("/remes/remes/v1/stored_gradient/first".to_owned(), (400, 3), "first"),
        ("/remes/remes/v1/stored_gradient/99".to_owned(), (404, 5), "not found"),
        ("/remes/remes/v1/global_seed/-1".to_owned(), (400, 3), "-1"),
        ("/remes/remes/v1/global_seed/99".to_owned(), (404, 5), "has not started"),
        ("/remes/remes/v1/task_pool/0/available_chunks?limit=all".to_owned(), (400, 3), "limit"),
        ("/remes/remes/v1/task_pool/9/available_chunks".to_owned(), (404, 5), "pool 9"),
        ("/cosmos/staking/v1beta1/validators".to_owned(), (501, 12), "Not Implemented"),
        ("/cosmos/auth/v1beta1/accounts".to_owned(), (501, 12), "Not Implemented"),
        ("/remes/remes/v1/nothing".to_owned(), (501, 12), "Not Implemented"),
        ("/r3mes/wgpu/v1/nothing".to_owned(), (501, 12), "Not Implemented"),
        ("/cosmos/tx/v1beta1/simulate".to_owned(), (501, 12), "Method Not Allowed"),
        ("/elsewhere".to_owned(), (404, 5), "not found"),
        ("/websocket".to_owned(), (400, 3), "upgrade"),
    ] {
        assert_error(get(&path), expected, words, &path);
    }
    for path in ["/cosmos/tx/v1beta1/txs", "/cosmos/tx/v1beta1/simulate"] {
        for (kind, body, status, words) in [
            ("application/json", "{", 400, "parse"),
            ("application/json", "{}", 400, "missing field `tx_bytes`"),
            ("application/json", r#"{"tx_bytes":5,"mode":"BROADCAST_MODE_SYNC"}"#, 400, "tx_bytes"),
            ("application/json", r#"{"tx_bytes":"","mode":"BROADCAST_MODE_SYNC"}"#, 400, "empty"),
            ("application/json", r#"{"tx_bytes":"?","mode":"BROADCAST_MODE_SYNC"}"#, 400, "not base64"),
            ("text/plain", r#"{"tx_bytes":"AA==","mode":"BROADCAST_MODE_SYNC"}"#, 415, "application/json"),
        ] {
            assert_error(post(&node, path, kind, body), (status, 3), words, &format!("{path} {body}"));
        }
    }
    let mode = r#"{"tx_bytes":"AA==","mode":"BROADCAST_MODE_BLOCK"}"#;
    let refused = post(&node, "/cosmos/tx/v1beta1/txs", "application/json", mode);
    assert_error(refused, (400, 3), "BROADCAST_MODE_SYNC", mode);
    assert_error(post(&node, &own, "application/json", "{}"), (501, 12), "Method Not Allowed", &own);
}

#[test]
fn the_json_rpc_answers_batches_and_refuses_malformed_calls() {
    let work_dir = WorkDir::new("batches");
    let node = NodeProcess::start(&work_dir);
    let rpc = |body: &Value| post(&node, "/", "application/json", &body.to_string());
    let call = |id: Value, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": {} });
    let code = |answer: &Value| answer["error"]["code"].as_i64().unwrap_or_default();

    let ids = [json!(1), json!("a"), json!(1.5), json!(null), json!(true), json!([1]), json!({ "a": 1 })];
    let (_, answers) = rpc(&ids.iter().map(|id| call(id.clone(), "health")).collect());
    let answered: Vec<Value> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(answered, ids);

    let notification = json!({ "jsonrpc": "2.0", "method": "health" });
    let mixed = json!([call(json!(1), "status"), notification, call(json!(2), "nothing"), 5, { "id": 3 }]);
    let (status, answers) = rpc(&mixed);
    let codes: Vec<(Value, i64)> =
        answers.as_array().unwrap().iter().map(|answer| (answer["id"].clone(), code(answer))).collect();
    let expected = [(json!(1), 0), (json!(2), -32601), (json!(null), -32600), (json!(3), -32600)];
    assert_eq!((status, codes), (200, expected.to_vec()));
    assert_eq!(answers[0]["result"]["node_info"]["network"], CHAIN);

    let url = format!("{}/", node.url);
    for silent in [notification.clone(), json!([notification])] {
        let request = node.agent.post(&url).header("content-type", "application/json");
        let mut response = request.send(silent.to_string()).unwrap();
        assert_eq!((response.status().as_u16(), response.body_mut().read_to_vec().unwrap()), (200, Vec::new()));
    }
    let many: Value = (0..21).map(|id| call(json!(id), "health")).collect();
    for (body, words) in [(json!([]), "empty"), (many, "21 calls, but may have at most 20"), (json!(5), "JSON-RPC")] {
        let (_, answer) = rpc(&body);
        assert_eq!((code(&answer), &answer["id"]), (-32600, &json!(null)), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{answer}");
    }
    let (status, answer) = post(&node, "/", "application/json", "[{");
    assert_eq!((status, code(&answer), &answer["id"]), (400, -32700, &json!(null)));
    let (status, answer) = post(&node, "/", "text/plain", "{}");
    assert_eq!((status, code(&answer)), (415, -32600));

    for (method, params, words) in [
        ("block", json!([5]), "an object that names them"),
        ("block", json!({ "height": "high" }), "height is not a whole number"),
        ("block", json!({ "height": -1 }), "height is not a whole number"),
        ("tx", json!({}), "32 bytes in base64"),
        ("tx", json!({ "hash": "q80=" }), "32 bytes in base64"),
        ("tx", json!({ "hash": 5 }), "hash is not a text"),
        ("tx", json!({ "hash": BASE64.encode([1; 32]), "prove": true }), "leave out `prove`"),
        ("tx_search", json!({}), "the query is empty"),
        ("tx_search", json!({ "query": "tx.height=1", "page": 0 }), "at least 1"),
        ("tx_search", json!({ "query": "tx.height=1", "page": "18446744073709551615", "per_page": 1 }), "[1, 1]"),
        ("tx_search", json!({ "query": "tx.height=1", "order_by": "up" }), "`asc` or `desc`"),
        ("tx_search", json!({ "query": "transfer.amount>5" }), "work only with tx.height"),
        ("abci_query", json!({ "path": "/a", "data": "xyz" }), "hexadecimal"),
        ("abci_query", json!({ "path": 5 }), "path is not a text"),
        ("broadcast_tx_sync", json!({ "tx": "?" }), "base64"),
    ] {
        let (status, answer) = rpc(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
        assert_eq!((status, code(&answer)), (200, -32602), "{method} {params}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{method} {params}: {answer}");
    }
    assert_eq!(code(&rpc(&call(json!(1), "subscribe")).1), -32601);
}

#[test]
fn transactions_are_simulated_and_found_by_their_events() {
    let network = network("search");
    let node = &network.node;
    let (from, to) = (ScriptedMiner::address_of(7), ScriptedMiner::address_of(8));
    let simulate = |tx: &[u8]| {
        let body = json!({ "tx_bytes": BASE64.encode(tx) }).to_string();
        post(node, "/cosmos/tx/v1beta1/simulate", "application/json", &body)
    };
    let (status, simulated) = simulate(&transfer(0, 1000));
    assert_eq!(status, 200, "{simulated}");
    let gas: f64 = simulated["gas_info"]["gas_used"].as_str().unwrap().parse().unwrap();
    let price = node.get("/cosmos/base/node/v1beta1/config")["minimum_gas_price"].as_str().unwrap().to_owned();
    let fee = gas * price.strip_suffix("uremes").unwrap().parse::<f64>().unwrap();
    assert!(fee > 5_300.0 && fee < 5_400.0, "a transfer of about 300 bytes that adds one row: {fee}");
    let kinds = |events: &Value| -> Vec<String> {
        events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let sent = ["message", "coin_spent", "coin_received", "transfer", "message"];
    assert_eq!(kinds(&simulated["result"]["events"])[5..], sent);
    assert_error(simulate(&transfer(0, COINS)), (400, 2), "insufficient funds With gas wanted", "too many coins");
    assert_error(simulate(&transfer(1, 1)), (400, 2), "account sequence mismatch", "wrong sequence");
    assert_error(simulate(&[1, 2]), (400, 3), "malformed", "no transaction");

    let heights: Vec<u64> = (0..5)
        .map(|sequence| {
            let tx = transfer(sequence, 1000 + sequence);
            assert_eq!(node.send(&tx), (0, String::new()));
            let path = format!("/cosmos/tx/v1beta1/txs/{}", r3mes_wgpu::tx::tx_hash(&tx));
            node.get(&path)["tx_response"]["height"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    let search = |params: Value| {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tx_search", "params": params });
        let answer = post(node, "/", "application/json", &call.to_string()).1["result"].clone();
        let found = answer["txs"].as_array().unwrap().iter().map(|tx| tx["height"].as_str().unwrap().parse().unwrap());
        (answer["total_count"].as_str().unwrap().to_owned(), found.collect::<Vec<u64>>())
    };
    let by_sender = format!("message.sender='{from}'");
    assert_eq!(search(json!({ "query": by_sender })), ("5".to_owned(), heights.clone()));
    let second = json!({ "query": by_sender, "page": "2", "per_page": "2", "order_by": "desc" });
    assert_eq!(search(second), ("5".to_owned(), vec![heights[2], heights[1]]));
    for (query, expected) in [
        (format!("transfer.recipient='{to}' AND tx.height>{}", heights[2]), &heights[3..]),
        (format!("coin_received.receiver='{to}' AND tx.height<={}", heights[1]), &heights[..2]),
        (format!("coin_spent.spender='{from}' AND transfer.sender='{from}'"), &heights),
        ("message.action='/cosmos.bank.v1beta1.MsgSend' AND message.module='bank'".to_owned(), &heights),
        (format!("tx.height={}", heights[4]), &heights[4..]),
        ("transfer.amount='1003uremes'".to_owned(), &heights[3..4]),
        (format!("tx.hash='{}'", r3mes_wgpu::tx::tx_hash(&transfer(0, 1000))), &heights[..1]),
        (format!("message.sender='{to}'"), &[]),
    ] {
        assert_eq!(search(json!({ "query": query })), (expected.len().to_string(), expected.to_vec()), "{query}");
    }

    let rest = |query: &str| node.get(&format!("/cosmos/tx/v1beta1/txs?{query}"));
    for query in [
        format!("query={by_sender}%20AND%20tx.height%3E={}&order_by=ORDER_BY_DESC&limit=2", heights[1]),
        format!("events={by_sender}&events=tx.height%3E={}&pagination.reverse=true&pagination.limit=2", heights[1]),
    ] {
        let found = rest(&query);
        assert_eq!(found["total"], "4");
        let found =
            found["tx_responses"].as_array().unwrap().iter().map(|tx| tx["height"].as_str().unwrap().to_owned());
        assert_eq!(found.collect::<Vec<_>>(), [heights[4].to_string(), heights[3].to_string()], "{query}");
    }
    let found = rest(&format!("query=tx.height={}", heights[0]))["tx_responses"][0].clone();
    assert_eq!(kinds(&found["events"])[5..], sent);
    assert!(found["timestamp"].as_str().unwrap().ends_with('Z'), "{found}");
}

#[test]
fn the_bank_reports_balances_the_supply_and_the_coin() {
    let network = network("bank");
    let get = |path: &str| network.node.get(&format!("/cosmos/bank/v1beta1/{path}"));
    let address = ScriptedMiner::address_of(7);
    let coin = json!({ "denom": "uremes", "amount": COINS.to_string() });
    let one = json!({ "next_key": null, "total": "1" });
    let spendable = get(&format!("spendable_balances/{address}"));
    assert_eq!(spendable, json!({ "balances": [coin], "pagination": one }));
    assert_eq!(get(&format!("spendable_balances/{address}/by_denom?denom=uremes"))["balance"], coin);
    assert_eq!(get(&format!("balances/{address}/by_denom?denom=atom"))["balance"]["amount"], "0");
    assert_eq!(get(&format!("balances/{address}?pagination.offset=1"))["balances"], json!([]));
    let supply = (COINS + network.operator.1).to_string();
    let supply = json!({ "denom": "uremes", "amount": supply });
    assert_eq!(get("supply"), json!({ "supply": [supply], "pagination": one }));
    assert_eq!(get("supply/by_denom?denom=uremes")["amount"], supply);
    let metadata = get("denoms_metadata/uremes")["metadata"].clone();
    assert_eq!(
        (&metadata["base"], &metadata["display"], &metadata["symbol"]),
        (&"uremes".into(), &"remes".into(), &"R3MES".into())
    );
    assert_eq!(get("denoms_metadata")["metadatas"], json!([metadata]));
    assert_eq!(get("params")["params"]["default_send_enabled"], true);
    let set = network.node.get("/cosmos/base/tendermint/v1beta1/validatorsets/latest");
    assert_eq!(set["validators"], json!([]));
    assert_eq!(network.node.get("/cosmos/auth/v1beta1/params")["params"]["tx_sig_limit"], "7");
}

/// A WebSocket connection to a node.
type Socket = WebSocket<TcpStream>;

/// Opens a connection. If `origin` is not empty, the request has an `Origin` header with this value, as if a web page
/// of this origin had sent it.
fn connect(node: &NodeProcess, origin: &str) -> Result<(Socket, Response), u16> {
    let host = node.url.strip_prefix("http://").unwrap();
    let mut request = format!("ws://{host}/websocket").into_client_request().unwrap();
    if !origin.is_empty() {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    let stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tungstenite::client(request, stream).map_err(|error| match error {
        tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response)) => response.status().as_u16(),
        error => panic!("{error}"),
    })
}

/// Sends a call, without waiting for its answer.
fn send(socket: &mut Socket, id: u64, method: &str, params: &Value) {
    let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    socket.send(Message::text(call.to_string())).unwrap();
}

/// Returns the next text message, parsed as JSON.
fn next(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// Sends a call and returns its answer. Events of subscriptions that arrive before the answer are dropped.
fn ask(socket: &mut Socket, id: u64, method: &str, params: &Value) -> Value {
    send(socket, id, method, params);
    std::iter::repeat_with(|| next(socket)).find(|message| message["id"] == id).unwrap()
}

#[test]
fn a_websocket_reports_blocks_and_transactions_to_its_subscribers() {
    let network = network("websocket");
    let node = &network.node;
    let (mut socket, _) = connect(node, "").unwrap();
    assert_eq!(ask(&mut socket, 99, "status", &json!({}))["result"]["node_info"]["network"], CHAIN);
    socket.send(Message::text("{")).unwrap();
    assert_eq!(next(&mut socket)["error"]["code"], -32700);
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));

    let of = |recipient: &str| json!({ "query": format!("tm.event='Tx' AND transfer.recipient='{recipient}'") });
    let (to, other) = (of(&ScriptedMiner::address_of(8)), of(&ScriptedMiner::address_of(9)));
    let blocks = json!({ "query": "tm.event='NewBlock'" });
    let headers = json!({ "query": "tm.event='NewBlockHeader'" });
    // once the connection is subscribed to blocks, an event may arrive before any answer
    for (id, query) in (1..).zip([&to, &other, &headers, &blocks]) {
        let answer = ask(&mut socket, id, "subscribe", query);
        assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
    }
    let words = |answer: Value| answer["error"]["message"].as_str().unwrap().to_owned();
    assert!(words(ask(&mut socket, 99, "subscribe", &to)).contains("already subscribed"));
    assert!(words(ask(&mut socket, 99, "subscribe", &json!({ "query": "Tx" }))).contains("invalid query"));
    assert!(words(ask(&mut socket, 99, "subscribe", &json!({}))).contains("the query is empty"));
    assert_eq!(ask(&mut socket, 99, "subscribe", &json!({ "query": "tx.height>1000000" }))["result"], json!({}));
    let sixth = ask(&mut socket, 99, "subscribe", &json!({ "query": "tx.height=1" }));
    assert!(words(sixth).contains("already has 5 subscriptions"));

    let tx = transfer(0, 5);
    node.send(&tx);
    let mut received = Vec::new();
    let found = loop {
        let message = next(&mut socket);
        let result = message["result"].clone();
        let data = result["data"]["type"].as_str().unwrap().to_owned();
        received.push((message["id"].as_u64().unwrap(), data));
        if message["id"] == 1 {
            break result;
        }
    };
    assert!(received.contains(&(4, "tendermint/event/NewBlock".to_owned())), "{received:?}");
    assert!(received.contains(&(3, "tendermint/event/NewBlockHeader".to_owned())), "{received:?}");
    assert!(received.iter().all(|(id, _)| *id != 2), "{received:?}");
    let result = &found["data"]["value"]["TxResult"];
    assert_eq!((&found["query"], &result["tx"]), (&to["query"], &json!(BASE64.encode(&tx))));
    assert_eq!(result["result"]["code"], 0);
    assert_eq!(found["events"]["tx.hash"], json!([r3mes_wgpu::tx::tx_hash(&tx)]));
    assert_eq!(found["events"]["tx.height"], json!([result["height"]]));

    assert_eq!(ask(&mut socket, 99, "unsubscribe", &to)["result"], json!({}));
    assert!(words(ask(&mut socket, 99, "unsubscribe", &to)).contains("not found"));
    assert_eq!(ask(&mut socket, 99, "unsubscribe_all", &json!({}))["result"], json!({}));
    node.send(&transfer(1, 5));
    send(&mut socket, 99, "health", &json!({}));
    assert_eq!(next(&mut socket)["id"], 99, "no event arrives before the answer");
}

#[test]
fn a_websocket_is_closed_if_its_client_breaks_the_limits() {
    let work_dir = WorkDir::new("websocket-limits");
    let node = NodeProcess::start(&work_dir);
    assert_eq!(connect(&node, "https://example.org").unwrap_err(), 403);
    let (mut socket, _) = connect(&node, &node.url).unwrap();
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))), "the node answers the close frame");

    let (mut socket, _) = connect(&node, "").unwrap();
    let _ = socket.send(Message::text("x".repeat((1 << 20) + 1)));
    let closed = std::iter::repeat_with(|| socket.read()).find(|message| !matches!(message, Ok(Message::Ping(_))));
    assert!(!matches!(closed, Some(Ok(Message::Text(_)))), "{closed:?}");

    // a client that sends calls but does not read the answers
    let (mut socket, _) = connect(&node, "").unwrap();
    socket.get_ref().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let batch: Value = (0..20).map(|id| json!({ "id": id, "method": "status" })).collect();
    let (batch, start) = (Message::text(batch.to_string()), Instant::now());
    let closed = loop {
        assert!(start.elapsed() < Duration::from_secs(60), "the connection is still open");
        match socket.send(batch.clone()) {
            Ok(()) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => break error,
        }
    };
    assert!(start.elapsed() > Duration::from_secs(4), "{closed}");
    assert_eq!(node.get("/health")["status"], "ok");
}
