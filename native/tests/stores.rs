//! A miner whose store does not respond or returns wrong CIDs: nothing is submitted, and the work file is kept.

mod face;
mod place;

use face::Node;
use place::{Place, accepted};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Output},
};

fn mine(home: &Place, node: &Node, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    command.args(["mine", "--json", "--backend", "cpu", "--max-tasks", "1", "--node", &node.url]).args(more);
    command.arg("--data-dir").arg(home.data()).output().unwrap()
}

/// A server that answers every request with these bytes of JSON.
fn liar(json: &'static str) -> String {
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
fn without_its_store_nothing_is_submitted_and_the_work_is_kept() {
    let (place, home) = (Place::new("stores-node"), Place::new("stores-miner"));
    let node = Node::start(&place);
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let lies = liar(r#"{"Key":"bafkreiaxnnnb7qz2focittuqq3ya25q7rcv3bqynnczfzako47346wosmu","Size":3}"#);
    for (store, reason) in [(&closed, "does not respond"), (&lies, "not those of the blocks")] {
        let output = mine(&home, &node, &["--time-limit", "3", "--ipfs", store]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && accepted(&output.stdout).is_empty(), "{said}");
        assert!(said.contains("not submitted") && said.contains(reason) && said.contains(store.as_str()), "{said}");
        assert_eq!(node.get("/stats")["accepted_total"], 0);
    }
    let output = mine(&home, &node, &[]);
    let events = accepted(&output.stdout);
    assert_eq!(events.len(), 1, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(events[0]["tokens_per_second"].is_null(), "it was computed before");
}

#[test]
fn invalid_flags_are_named() {
    let (place, home) = (Place::new("stores-flags"), Place::new("stores-flags-miner"));
    let node = Node::start(&place);
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
