//! Tests of a miner whose block store does not respond or returns wrong CIDs. The miner must submit nothing, and must
//! keep the artifact for a later run.

use crate::node_process::NodeProcess;
use crate::work_dir::{WorkDir, accepted};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::Output,
};

/// Runs `mine` for one task until it exits. The miner keeps its data in `home`, and `more` are additional arguments.
fn mine(home: &WorkDir, node: &NodeProcess, more: &[&str]) -> Output {
    home.mine_for(&node.url, "1").args(more).output().unwrap()
}

/// Starts an HTTP server that answers every request with the body `json`. Returns the server's URL.
fn start_json_server(json: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                let lower = line.to_lowercase();
                if let Some(bytes) = lower.strip_prefix("content-length:") {
                    length = bytes.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = reader.take(length).read_to_end(&mut Vec::new());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", json.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(json.as_bytes()));
        }
    });
    url
}

#[test]
fn without_its_block_store_a_miner_submits_nothing_and_keeps_its_work() {
    let (work_dir, home) = (WorkDir::new("stores-node"), WorkDir::new("stores-miner"));
    let node = NodeProcess::start(&work_dir);
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let wrong = start_json_server(r#"{"Key":"bafkreiaxnnnb7qz2focittuqq3ya25q7rcv3bqynnczfzako47346wosmu","Size":3}"#);
    for (store, reason) in [(&closed, "does not respond"), (&wrong, "not those of the blocks")] {
        let output = mine(&home, &node, &["--time-limit", "3", "--ipfs", store]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && accepted(&output.stdout).is_empty(), "{said}");
        assert!(said.contains("not submitted") && said.contains(reason) && said.contains(store.as_str()), "{said}");
        assert_eq!(node.get("/stats")["accepted_total"], 0);
    }
    let output = mine(&home, &node, &[]);
    let events = accepted(&output.stdout);
    assert_eq!(events.len(), 1, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(events[0]["tokens_per_second"].is_null(), "the gradient is not computed again");
}

#[test]
fn invalid_store_flags_are_named() {
    let (work_dir, home) = (WorkDir::new("stores-flags"), WorkDir::new("stores-flags-miner"));
    let node = NodeProcess::start(&work_dir);
    for (flags, words) in [
        (&["--ipfs", "/ip4/127.0.0.1/tcp/5001"][..], "not an http(s) URL"),
        (&["--gateway", "ipfs.example"], "not an http(s) URL"),
        (&["--pin-service", "https://pins.example"], "--ipfs"),
        (&["--ipfs", "http://127.0.0.1:1", "--pin-service", "https://pins.example"], "R3MES_PIN_TOKEN"),
    ] {
        let output = mine(&home, &node, flags);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{flags:?}: {said}");
    }
}
