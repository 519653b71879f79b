//! Tests of the IPFS routes. They send requests over a real socket, as clients of Kubo and of gateways do, and check
//! the responses.

mod kubo;

use super::*;
use crate::{
    blocks::{BlockStore, Quota},
    client::transport::Remote,
    wallet::secrets::Secret,
};
use pollster::block_on;
use proptest::prelude::*;
use r3mes_wgpu::{
    client::{BlockStore as _, stores::Kubo},
    store::{Block, Cid, Codec, Dag, dag_cbor, unixfs::FileLayout},
};
use serde_json::Value;
use std::net::SocketAddr;

const AMPLE: Quota = Quota { unpinned_bytes: 1 << 30, total_bytes: 1 << 30 };

/// A node that serves the IPFS routes at `url`, and an HTTP client for it. The node runs until the tests end.
struct TestNode {
    url: String,
    agent: ureq::Agent,
    /// The token that the client sends if it acts as the node's owner.
    token: Option<&'static str>,
}

struct TestResponse {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl TestResponse {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

const TOKEN: &str = "the token of the owner";

/// Starts a node. Returns it with a client that sends the owner's token.
fn owner(quota: Quota) -> TestNode {
    TestNode { token: Some(TOKEN), ..stranger(quota) }
}

/// Starts a node. Returns it with a client that does not send the owner's token.
fn stranger(quota: Quota) -> TestNode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let origins = vec![HeaderValue::from_static("https://wallet.example")];
    let router: Router = routes(
        Arc::new(BlockStore::in_memory(quota).unwrap()),
        OwnerToken::new(TOKEN, "folder/owner-token".to_owned()),
        origins,
    );
    std::thread::spawn(move || runtime.block_on(async { axum::serve(listener, router).await }));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections(0).build().new_agent();
    TestNode { url: format!("http://{address}"), agent, token: None }
}

impl TestNode {
    fn respond(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> TestResponse {
        let mut response = response.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        TestResponse { status, headers, body }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> TestResponse {
        let request = self.agent.get(format!("{}{path}", self.url));
        self.respond(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call())
    }

    fn command(&self, command: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let request = self.agent.post(format!("{}/api/v0/{command}", self.url));
        match self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn post(&self, command: &str) -> TestResponse {
        self.respond(self.command(command).send_empty())
    }

    fn upload(&self, command: &str, files: &[&[u8]]) -> TestResponse {
        let body = form(files);
        let request = self.command(command).header("content-type", "multipart/form-data; boundary=b");
        self.respond(request.send(&body[..]))
    }

    fn kubo(&self) -> Kubo<Remote> {
        Kubo::new(self.url.clone(), Remote::store("--ipfs", &self.url, self.token.map(Secret::of)).unwrap())
    }
}

fn form(files: &[&[u8]]) -> Vec<u8> {
    let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name\"\r\n\r\n";
    let parts = files.iter().flat_map(|file| [&head[..], file, b"\r\n"]);
    parts.chain([&b"--b--\r\n"[..]]).collect::<Vec<_>>().concat()
}

fn numbered(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).take(bytes).collect()
}

/// Returns a DAG of four blocks: a DAG-CBOR root that links to three raw blocks.
fn dag() -> Dag {
    let leaves: Vec<Block> = (1..4).map(|byte| Block::new(Codec::Raw, vec![byte; 1000]).unwrap()).collect();
    let links: Vec<Cid> = leaves.iter().map(Block::cid).collect();
    let root = dag_cbor::block("test", &links).unwrap();
    Dag { root: root.cid(), blocks: leaves.into_iter().chain([root]).collect() }
}

#[test]
fn the_kubo_client_of_the_library_works_with_these_routes() {
    let node = owner(AMPLE);
    block_on(node.kubo().put_dag(&dag())).unwrap();
    let pin_list = dag().pin_list().unwrap().cid();
    let pins = node.post("pin/ls?type=recursive").json();
    assert_eq!(pins["Keys"][pin_list.to_string()]["Type"], "recursive");
    assert_eq!(node.post("repo/gc").body, b"", "everything is pinned");
    assert_eq!(node.post(&format!("pin/rm?arg={pin_list}")).json()["Pins"][0], pin_list.to_string());
    assert_eq!(node.post(&format!("pin/rm?arg={pin_list}")).status, 500);
    assert_eq!(node.post("repo/stat").json()["NumObjects"], 5);
    assert_eq!(node.post("repo/gc").text().lines().count(), 5);
    assert_eq!(node.post(&format!("block/stat?arg={}", dag().root)).status, 404);
}

#[test]
fn a_dag_imported_as_a_car_is_exported_unchanged() {
    let node = owner(AMPLE);
    let file = Dag::file(FileLayout::default(), &numbered(600_000)).unwrap();
    for dag in [dag(), file] {
        let result = node.upload("dag/import?stats=true", &[&dag.to_car()]);
        let lines: Vec<Value> = result.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["Root"]["Cid"]["/"], dag.root.to_string());
        assert_eq!(lines[0]["Root"]["PinErrorMsg"], "");
        assert_eq!(lines[1]["Stats"]["BlockCount"], dag.blocks.len());
        let exported = node.post(&format!("dag/export?arg={}", dag.root));
        let got = node.get(&format!("/ipfs/{}?format=car", dag.root), &[]);
        assert_eq!((exported.body, got.header("x-ipfs-roots")), (got.body.clone(), &*dag.root.to_string()));
        let mut read = Dag::from_car(&got.body).unwrap();
        assert_eq!(read.blocks[0].cid(), dag.root, "the root comes first");
        read.blocks.sort_unstable_by_key(Block::cid);
        let mut blocks = dag.blocks.clone();
        blocks.sort_unstable_by_key(Block::cid);
        assert_eq!(read.blocks, blocks);
        let alone = node.get(&format!("/ipfs/{}?format=car&dag-scope=block", dag.root), &[]);
        assert_eq!(Dag::from_car(&alone.body).unwrap().blocks.len(), 1);
    }
}

#[test]
fn a_car_with_wrong_bytes_or_cut_short_is_rejected() {
    let node = owner(AMPLE);
    let car = dag().to_car();
    let flipped = [&car[..car.len() - 1], &[car[car.len() - 1] ^ 1]].concat();
    for bad in [&flipped[..], &car[..car.len() - 5], b"", b"nonsense"] {
        assert_eq!(node.upload("dag/import", &[bad]).status, 400);
    }
}

#[test]
fn a_root_with_missing_parts_is_stored_but_not_pinned() {
    let node = owner(AMPLE);
    let root_alone = Dag { blocks: vec![dag().blocks[3].clone()], ..dag() };
    let result = node.upload("dag/import", &[&root_alone.to_car()]).json();
    let missing = dag().blocks[0].cid().to_string();
    assert!(result["Root"]["PinErrorMsg"].as_str().unwrap().contains(&missing), "{result}");
    assert_eq!(
        node.get(&format!("/ipfs/{}?format=car", dag().root), &[]).status,
        404,
        "an incomplete DAG is not served"
    );
}

#[test]
fn files_are_added_and_read_back_whole_and_in_part() {
    let node = owner(AMPLE);
    for bytes in [0, 1, 262_144, 262_145, 1_000_000] {
        let file = numbered(bytes);
        let result = node.upload("add?cid-version=1&raw-leaves=true", &[&file]).json();
        let root = Dag::file(FileLayout::default(), &file).unwrap().root.to_string();
        assert_eq!((result["Hash"].as_str(), result["Name"].as_str()), (Some(root.as_str()), Some("name")));
        assert_eq!(node.post(&format!("cat?arg={root}")).body, file);
        let part = node.post(&format!("cat?arg=/ipfs/{root}&offset=262140&length=10")).body;
        assert_eq!(part, file[262_140.min(bytes)..262_150.min(bytes)]);
    }
    let hashed = node.upload("add?cid-version=1&only-hash=true", &[b"nowhere"]).json();
    assert_eq!(node.post(&format!("cat?arg={}", hashed["Hash"].as_str().unwrap())).status, 404);
    let cbor = dag();
    node.upload("dag/import", &[&cbor.to_car()]);
    assert_eq!(node.post(&format!("cat?arg={}", cbor.root)).status, 400, "this DAG is not a file");
}

#[test]
fn the_gateway_follows_its_specification() {
    let node = stranger(AMPLE);
    let (dag, leaf) = (dag(), Block::new(Codec::Raw, vec![1; 1000]).unwrap());
    let imported = node.upload("dag/import?pin-roots=false", &[&dag.to_car()]);
    assert_eq!(imported.status, 200, "{}", imported.text());
    let raw = format!("/ipfs/{}?format=raw", leaf.cid());
    let got = node.get(&raw, &[]);
    assert_eq!((got.status, &got.body[..]), (200, leaf.bytes()));
    assert_eq!(got.header("content-type"), "application/vnd.ipld.raw");
    assert!(got.header("cache-control").contains("immutable"));
    assert_eq!(got.header("etag"), format!("\"{}.raw\"", leaf.cid()));
    assert_eq!(node.get(&raw, &[("if-none-match", got.header("etag"))]).status, 304);
    let plain = format!("/ipfs/{}", dag.root);
    for (accept, status, kind) in [
        ("application/vnd.ipld.raw", 200, "application/vnd.ipld.raw"),
        (
            "application/vnd.ipld.car;version=1;order=dfs;dups=y",
            200,
            "application/vnd.ipld.car; version=1; order=dfs; dups=n",
        ),
        ("text/html, application/vnd.ipld.raw;q=0.5", 200, "application/vnd.ipld.raw"),
        ("Application/VND.IPLD.Raw", 200, "application/vnd.ipld.raw"),
        (
            "application/vnd.ipld.raw;q=0.4, application/vnd.ipld.car; q=0.9",
            200,
            "application/vnd.ipld.car; version=1; order=dfs; dups=n",
        ),
        ("application/vnd.ipld.raw;q=0, text/html", 406, "application/json"),
        ("application/vnd.ipld.car;version=2", 406, "application/json"),
        ("text/html", 406, "application/json"),
    ] {
        let got = node.get(&plain, &[("accept", accept)]);
        assert_eq!((got.status, got.header("content-type")), (status, kind), "{accept}");
    }
    let head = node.agent.head(format!("{}{raw}", node.url)).call().unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "1000"));
    let absent = Codec::Raw.cid(b"absent");
    assert_eq!(node.get(&format!("/ipfs/{absent}"), &[]).status, 404);
    assert_eq!(node.get(&format!("/ipfs/{absent}"), &[("cache-control", "only-if-cached")]).status, 412);
    assert_eq!(node.get(&format!("/ipfs/{absent}?format=car"), &[]).status, 404);
    assert_eq!(node.get(&format!("/ipfs/{}?format=tar", dag.root), &[]).status, 406);
    for bad in [
        "/ipfs/nonsense",
        &format!("{plain}/path"),
        &format!("{plain}?entity-bytes=0:9"),
        &format!("{plain}?format=car&dag-scope=x"),
    ] {
        assert_eq!(node.get(bad, &[]).status, 400, "{bad}");
    }
    for (inline, bytes) in [("bafkqaaa", &b""[..]), ("bafkqabtimvwgy3yk", b"hello\n")] {
        let got = node.get(&format!("/ipfs/{inline}?format=raw"), &[]);
        assert_eq!((got.status, &got.body[..]), (200, bytes));
        assert_eq!(node.post(&format!("block/get?arg={inline}")).body, bytes);
        assert_eq!(node.post(&format!("cat?arg={inline}")).body, bytes);
    }
    assert_eq!(node.get(&format!("{plain}/?format=raw"), &[]).status, 200);
    let weak = format!("W/\"{}.raw\", \"other\"", leaf.cid());
    assert_eq!(node.get(&raw, &[("if-none-match", &weak)]).status, 304);
}

#[test]
fn clients_that_are_not_the_owner_may_store_and_read_but_not_pin() {
    let node = stranger(AMPLE);
    block_on(node.kubo().put_dag(&dag())).unwrap_err();
    assert_eq!(node.post(&format!("block/get?arg={}", dag().root)).status, 200, "the blocks are stored");
    for owner in [format!("pin/add?arg={}", dag().root), format!("pin/rm?arg={}", dag().root), "repo/gc".to_owned()] {
        assert_eq!(node.post(&owner).status, 403, "{owner}");
    }
    for pinning in ["dag/import?pin-roots=true", "add?cid-version=1&pin=true"] {
        let refused = node.upload(pinning, &[b"x"]);
        assert_eq!(refused.status, 403, "{pinning}");
        assert!(refused.text().contains("the token in folder/owner-token"), "{}", refused.text());
    }
    // what the owner pins by default is stored without a pin
    assert_eq!(node.upload("dag/import", &[&dag().to_car()]).status, 200);
    assert_eq!(node.upload("add?cid-version=1", &[b"x"]).status, 200);
    assert_eq!(node.post("pin/ls").json()["Keys"], serde_json::json!({}));
    let wrong = TestNode { token: Some("another token"), ..node };
    assert_eq!(wrong.post("repo/gc").status, 403);
    let node = TestNode { token: None, ..wrong };
    assert_eq!(node.upload("block/put?pin=true", &[b"x"]).status, 403);
}

/// Tests that the node stores blocks and files under the CIDs that Kubo's clients expect. The requests are those of
/// kubo-rpc-client and of older clients: blocks in various formats, files without options, and CIDs of version 0.
#[test]
fn cids_are_those_that_the_client_asks_for() {
    let node = owner(AMPLE);
    let key = |options: &str| node.upload(&format!("block/put{options}"), &[b"\x12\x00"]).json()["Key"].clone();
    let (node_1, raw) = (Codec::DagPb.cid(b"\x12\x00"), Codec::Raw.cid(b"\x12\x00"));
    let node_0 = Cid::new_v0(*node_1.hash()).unwrap();
    for (options, cid) in [
        ("", raw),
        ("?format=raw&version=1", raw),
        ("?format=dag-pb", node_1),
        ("?format=protobuf", node_1),
        ("?format=v0", node_0),
        ("?format=dag-pb&version=0", node_0),
        ("?cid-codec=dag-pb&mhlen=-1&allow-big-block=true", node_1),
    ] {
        assert_eq!(key(options), cid.to_string(), "{options}");
    }
    for bad in ["?format=git", "?format=raw&cid-codec=raw", "?format=raw&version=0", "?mhlen=20", "?unknown=1"] {
        assert_eq!(node.upload(&format!("block/put{bad}"), &[b"x"]).status, 400, "{bad}");
    }
    let added = node.upload("add", &[b"hello world"]).json();
    let hello = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD";
    assert_eq!((added["Hash"].as_str(), added["Size"].as_str()), (Some(hello), Some("19")));
    assert_eq!(node.post(&format!("cat?arg={hello}")).body, b"hello world");
    assert!(node.post("pin/ls").json()["Keys"][hello].is_object());
    assert_eq!(node.post(&format!("pin/rm?arg={hello}")).json()["Pins"][0], hello);
    assert_eq!(node.post(&format!("pin/add?arg={hello}")).json()["Pins"][0], hello);
    assert_eq!(node.post(&format!("block/stat?arg={hello}")).json()["Key"], hello);
    let car = node.get(&format!("/ipfs/{hello}?format=car"), &[]);
    assert_eq!(car.header("x-ipfs-roots"), hello);
    assert_eq!(Dag::from_car(&car.body).unwrap().root.to_string(), hello);
    assert!(Cid::try_from(node.post("id").json()["ID"].as_str().unwrap()).is_ok());
    let folder = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%2Fb\"\r\n\r\nx\r\n--b--\r\n";
    let request = node.command("add").header("content-type", "multipart/form-data; boundary=b").send(&folder[..]);
    assert_eq!(node.respond(request).status, 400);
}

#[test]
fn pages_of_other_websites_may_not_send_commands() {
    let node = owner(AMPLE);
    let from = |origin: &str| {
        let request = node.command("repo/gc").header("origin", origin);
        node.respond(request.send_empty()).status
    };
    assert_eq!([from(&node.url), from("https://wallet.example")], [200, 200]);
    assert_eq!(["https://evil.example", "null", "http://127.0.0.1"].map(from), [403; 3]);
    assert_eq!(node.get("/api/v0/repo/gc", &[]).status, 405);
}

#[test]
fn sizes_are_limited_and_errors_name_what_is_wrong() {
    let node = owner(Quota { unpinned_bytes: 3000, total_bytes: 3000 });
    let big = vec![0; (1 << 20) + 1];
    let assert_error = |response: TestResponse, status: u16, text: &str| {
        assert_eq!(response.status, status, "{}", response.text());
        assert!(response.json()["Message"].as_str().unwrap().contains(text), "{}", response.text());
    };
    assert_error(node.upload("block/put", &[&big]), 400, "limit of 1048576");
    assert_error(node.upload("block/put", &[&big[..5000]]), 507, "full");
    assert_error(node.upload("block/put?cid-codec=git-raw", &[b"x"]), 400, "git-raw");
    assert_error(node.upload("block/put?mhtype=blake3", &[b"x"]), 400, "blake3");
    assert_error(node.upload("block/put?pin=perhaps", &[b"x"]), 400, "perhaps");
    assert_error(node.upload("add?cid-version=2", &[b"x"]), 400, "cid-version=2");
    assert_error(node.upload("add?nocopy=true", &[b"x"]), 400, "nocopy=true");
    assert_error(node.upload("add?cid-version=1&chunker=rabin", &[b"x"]), 400, "size-");
    assert_error(node.upload("add?cid-version=1&chunker=size-2000000", &[b"x"]), 400, "1048576");
    assert_error(node.upload("add?cid-version=1&max-file-links=1", &[b"x"]), 400, "links");
    assert_error(node.upload("add?cid-version=1&trickle=true", &[b"x"]), 400, "trickle");
    assert_error(node.post("block/get"), 400, "arguments");
    assert_error(node.post("block/get?arg=nonsense"), 400, "nonsense");
    assert_error(node.post(&format!("block/get?{}", "arg=bafkqaaa&".repeat(1025))), 400, "1025");
    assert_error(node.post("pin/add?recursive=false&arg=bafkqaaa"), 400, "recursive");
    assert_error(node.post(&format!("pin/add?arg={}", dag().root)), 404, &dag().root.to_string());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Tests that no request causes an internal error, whatever its query, body and headers are.
    #[test]
    fn arbitrary_requests_never_cause_an_internal_error(
        command in prop::sample::select(vec!["block/put", "block/get", "dag/import", "dag/export", "add", "cat", "pin/add", "pin/ls"]),
        query in "[a-z0-9=&%/-]{0,40}",
        body in prop::collection::vec(any::<u8>(), 0..400),
        cut in 0..600usize,
        accept in "[ -~]{0,40}",
    ) {
        use std::sync::LazyLock;
        static NODE: LazyLock<TestNode> = LazyLock::new(|| owner(AMPLE));
        let car = dag().to_car();
        let spliced = [&car[..cut.min(car.len())], &body].concat();
        // like Kubo, the node responds with status 500 if a CID is not pinned
        let not_pinned = |response: &TestResponse| String::from_utf8_lossy(&response.body).contains("is not pinned");
        let served = |response: TestResponse| response.status < 500 || not_pinned(&response);
        let uploaded = NODE.upload(&format!("{command}?{query}"), &[&spliced]);
        prop_assert!(served(uploaded));
        let request = NODE.agent.post(format!("{}/api/v0/{command}?arg={}&{query}", NODE.url, dag().root));
        let request = request.header("content-type", "multipart/form-data; boundary=b");
        let cut_off = NODE.respond(request.send(&form(&[&car])[cut.min(200)..]));
        prop_assert!(served(cut_off));
        let got = NODE.get(&format!("/ipfs/{}?{query}", dag().root), &[("accept", &accept)]);
        prop_assert!(served(got));
    }
}
