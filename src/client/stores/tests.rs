//! Tests that every failure of a store is reported as an error: wrong data, lost blocks, refusals, and missing
//! responses.

use super::*;
use crate::{
    client::{NoResponse, Request, Response},
    store::{Block, Codec, dag_cbor},
};
use pollster::block_on;
use serde_json::{Value, json};
use std::{cell::RefCell, collections::BTreeMap};

/// A simulated Kubo daemon and pinning service. The function `change`, if given, alters or replaces each response.
#[derive(Default)]
struct Peer {
    blocks: RefCell<BTreeMap<String, Vec<u8>>>,
    requests: RefCell<Vec<String>>,
    /// The statuses that the simulated service reports for a pin, one for each request. Once only one is left, the
    /// service reports it again and again.
    statuses: RefCell<Vec<&'static str>>,
    #[expect(clippy::type_complexity, reason = "the type of the function is written only once")]
    change: Option<Box<dyn Fn(&str, Response) -> Result<Response, NoResponse>>>,
}

impl Peer {
    fn answer(&self, path: &str, body: &[u8]) -> Response {
        let ok = |body: Value| Response { status: 200, body: body.to_string().into_bytes() };
        let no = |message: &str| Response { status: 500, body: message.as_bytes().to_vec() };
        let argument = path.split_once("arg=").map(|(_, rest)| rest.split('&').next().unwrap().to_owned());
        let command = path.split('?').next().unwrap();
        match command {
            "/api/v0/block/put" => {
                let codec = Codec::ALL.into_iter().find(|codec| path.contains(&format!("cid-codec={}&", codec.name())));
                let mut lines = String::new();
                for bytes in files(body) {
                    let cid = codec.unwrap().cid(&bytes);
                    lines += &format!("{}\n", json!({ "Key": cid.to_string(), "Size": bytes.len() }));
                    self.blocks.borrow_mut().insert(cid.to_string(), bytes);
                }
                Response { status: 200, body: lines.into_bytes() }
            }
            "/api/v0/block/get" => match self.blocks.borrow().get(&argument.unwrap()) {
                Some(bytes) => Response { status: 200, body: bytes.clone() },
                None => no("ipld: could not find it"),
            },
            "/api/v0/pin/add" => ok(json!({ "Pins": [argument.unwrap()] })),
            "/api/v0/id" => ok(json!({ "ID": "12D3", "Addresses": ["/ip4/127.0.0.1/tcp/4001/p2p/12D3"] })),
            "/pins" if body.is_empty() => ok(json!({ "count": 0, "results": [] })),
            "/pins" => {
                let pin: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(pin["origins"], json!(["/ip4/127.0.0.1/tcp/4001/p2p/12D3"]));
                ok(self.status(pin["cid"].as_str().unwrap()))
            }
            _ => ok(self.status(command.strip_prefix("/pins/request-").unwrap())),
        }
    }

    fn status(&self, cid: &str) -> Value {
        let mut statuses = self.statuses.borrow_mut();
        let status = if statuses.len() > 1 { statuses.remove(0) } else { statuses[0] };
        json!({ "requestid": format!("request-{cid}"), "status": status, "pin": { "cid": cid } })
    }
}

/// Returns the content of each file in the body of a `multipart/form-data` request, in the order of the body.
fn files(body: &[u8]) -> Vec<Vec<u8>> {
    let at = |from: usize, part: &[u8]| (from..=body.len() - part.len()).find(|at| body[*at..].starts_with(part));
    let boundary = &body[..at(0, b"\r\n").unwrap()];
    let (mut files, mut from) = (Vec::new(), 0);
    while let Some(start) = at(from, b"\r\n\r\n") {
        let end = at(start, &[b"\r\n", boundary].concat()).unwrap();
        files.push(body[start + 4..end].to_vec());
        from = end;
    }
    files
}

impl Connection for Peer {
    async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse> {
        self.requests.borrow_mut().push(request.path.to_owned());
        let answer = self.answer(request.path, request.body.map_or(&[][..], |(_, body)| body));
        match &self.change {
            Some(change) => change(request.path, answer),
            None => Ok(answer),
        }
    }
}

impl Timer for Peer {
    async fn sleep(&self, _milliseconds: u32) {}
}

fn dag() -> Dag {
    let leaves: Vec<Block> = (1..4).map(|byte| Block::new(Codec::Raw, vec![byte; 1000]).unwrap()).collect();
    let links: Vec<Cid> = leaves.iter().map(Block::cid).chain([Codec::DagCbor.cid(b"the task")]).collect();
    Dag::new(dag_cbor::block("test", &links).unwrap(), leaves)
}

/// Uploads a DAG to a simulated daemon whose responses are altered by `change`, and returns the result of the upload.
fn put(change: impl Fn(&str, Response) -> Result<Response, NoResponse> + 'static) -> Result<(), StorageFailure> {
    let peer = Peer { change: Some(Box::new(change)), ..Peer::default() };
    let stores = Stores::new(vec![Kubo::new("http://kubo".into(), peer)], None);
    block_on(stores.put(&dag())).map_err(|error| {
        assert_eq!(error.store, "http://kubo");
        *error.failure
    })
}

#[test]
fn an_honest_daemon_stores_every_block_and_pins_the_pin_list() {
    let kubo = Kubo::new("http://kubo".into(), Peer::default());
    block_on(kubo.put_dag(&dag())).unwrap();
    let kept = kubo.connection.blocks.borrow();
    let pin_list = dag().pin_list().unwrap();
    assert!(dag().blocks.iter().chain([&pin_list]).all(|block| kept[&block.cid().to_string()] == block.bytes()));
    let raw: Vec<Cid> = dag().blocks.iter().map(|block| Codec::Raw.cid(block.bytes())).collect();
    assert_eq!(crate::store::links(&pin_list), Ok(raw), "the pin list links only to blocks of the artifact");
    assert!(
        kubo.connection.requests.borrow().contains(&format!("/api/v0/pin/add?arg={}&offline=true", pin_list.cid()))
    );
}

#[test]
fn a_daemon_that_returns_another_cid_is_an_error() {
    let other = Codec::Raw.cid(b"other").to_string();
    let named = other.clone();
    let refused = put(move |path, answer| {
        let body = json!({ "Key": &named, "Size": 5 }).to_string().into_bytes();
        Ok(if path.contains("block/put") { Response { body, ..answer } } else { answer })
    });
    assert!(
        matches!(&refused, Err(StorageFailure::InvalidResponse(reason)) if reason.contains("not those of the blocks")),
        "{refused:?}"
    );
    let refused = put(move |path, answer| {
        let body = json!({ "Pins": [&other] }).to_string().into_bytes();
        Ok(if path.contains("pin/add") { Response { body, ..answer } } else { answer })
    });
    assert!(matches!(refused, Err(StorageFailure::OtherCid { .. })), "{refused:?}");
}

#[test]
fn a_daemon_that_loses_a_block_or_returns_other_bytes_is_an_error() {
    for leaf in [false, true] {
        let root = dag().root.to_string();
        let hit = move |path: &str| path.contains("block/get") && path.contains(&root) != leaf;
        let is_hit = hit.clone();
        let refused = put(move |path, answer| {
            Ok(if is_hit(path) { Response { status: 500, body: b"not found\n".to_vec() } } else { answer })
        });
        assert!(
            matches!(&refused, Err(StorageFailure::BlockLost { reason, .. }) if reason == "500: not found"),
            "{refused:?}"
        );
        let changes: [fn(&mut Vec<u8>); 4] =
            [|body| body.truncate(9), |body| body[0] ^= 1, |body| body.push(0), |body| *body = vec![0; 2 << 20]];
        for change in changes {
            let is_hit = hit.clone();
            let refused = put(move |path, mut answer| {
                if is_hit(path) {
                    change(&mut answer.body);
                }
                Ok(answer)
            });
            assert!(matches!(refused, Err(StorageFailure::BlockLost { .. })), "{refused:?}");
        }
    }
}

#[test]
fn no_response_refusal_redirection_and_invalid_responses_are_distinguished() {
    for part in ["block/put", "pin/add", "block/get"] {
        let refused = put(
            move |path, answer| {
                if path.contains(part) { Err(NoResponse("timed out".to_owned())) } else { Ok(answer) }
            },
        );
        assert_eq!(refused, Err(StorageFailure::NoResponse("timed out".to_owned())));
    }
    for status in [301, 307, 403, 404, 500] {
        let refused = put(move |_, _| Ok(Response { status, body: b"\x1b[31mno".to_vec() }));
        assert_eq!(
            refused,
            Err(StorageFailure::Refused { status, message: "[31mno".to_owned() }),
            "the message has no control characters"
        );
    }
    for body in [&b""[..], b"{}", b"null", b"<html>", &[0xff; 100]] {
        let refused = put(move |_, _| Ok(Response { status: 200, body: body.to_vec() }));
        assert!(matches!(refused, Err(StorageFailure::InvalidResponse(_))), "{refused:?}");
    }
}

fn pin(statuses: Vec<&'static str>) -> (Result<(), StorageFailure>, usize) {
    let kubo = Kubo::new("http://kubo".into(), Peer::default());
    let service = Peer { statuses: RefCell::new(statuses), ..Peer::default() };
    let stores = Stores::new(vec![kubo], Some(PinningService::new("https://pins".into(), service)));
    let done = block_on(stores.put(&dag())).map_err(|error| {
        assert_eq!(error.store, "https://pins");
        *error.failure
    });
    let requests = stores.service.unwrap().host.requests.borrow().len();
    (done, requests)
}

#[test]
fn the_service_is_polled_until_it_has_pinned() {
    assert_eq!(pin(vec!["pinned"]), (Ok(()), 2));
    assert_eq!(pin(vec!["queued", "pinning", "pinned"]), (Ok(()), 4));
    let cid = dag().pin_list().unwrap().cid();
    for (status, looks) in [("failed", 2), ("", 2), ("queued", 32)] {
        let not_pinned = StorageFailure::NotPinned { cid, status: status.to_owned() };
        assert_eq!(pin(vec![status]), (Err(not_pinned), looks));
    }
}

#[test]
fn a_service_that_pins_another_cid_or_returns_an_unsafe_request_id_is_an_error() {
    let ask = |change: fn(&mut Value)| {
        let change = move |_: &str, answer: Response| {
            let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
            change(&mut body);
            Ok(Response { body: body.to_string().into_bytes(), ..answer })
        };
        let service =
            Peer { statuses: RefCell::new(vec!["queued"]), change: Some(Box::new(change)), ..Peer::default() };
        let origins = ["/ip4/127.0.0.1/tcp/4001/p2p/12D3".to_owned()];
        block_on(PinningService::new("https://pins".into(), service).pin(&dag().root, "name", &origins))
    };
    let other = ask(|body| {
        if !body["pin"].is_null() {
            body["pin"]["cid"] = json!("bafkqaaa");
        }
    });
    assert!(matches!(other, Err(StorageFailure::OtherCid { .. })), "{other:?}");
    for name in ["", "../../v1/token", "a b", "%2e"] {
        let refused = match name {
            "" => ask(|body| body["requestid"] = json!("")),
            "a b" => ask(|body| body["requestid"] = json!("a b")),
            "%2e" => ask(|body| body["requestid"] = json!("%2e")),
            _ => ask(|body| body["requestid"] = json!("../../v1/token")),
        };
        assert!(
            matches!(&refused, Err(StorageFailure::InvalidResponse(reason)) if reason.contains(name)),
            "{refused:?}"
        );
    }
}
