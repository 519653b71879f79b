//! Tests with a real daemon of Kubo, an IPFS node, which `scripts/interop` starts. They check that Kubo and this
//! library compute the same CIDs and exchange blocks and CAR files, and that Kubo stores a miner's artifacts.

use crate::node_process::NodeProcess;
use crate::scripted_miner::HttpHost;
use crate::work_dir::{WorkDir, accepted};
use pollster::block_on;
use r3mes_wgpu::{
    client::{
        BlockCache, BlockSource, BlockStore as _, Connection, NoResponse, Request, Response, blocks,
        stores::{Kubo, StorageFailure},
    },
    protocol::Artifact,
    store::{
        Block, Cid, Codec, Dag, dag_cbor, links,
        unixfs::{FileBuilder, FileLayout, FilePart},
    },
};
use serde_json::Value;

/// One of Kubo's two HTTP interfaces, the RPC or the gateway, to which the tests send requests.
struct Peer(HttpHost);

impl Peer {
    /// Returns the HTTP interface whose URL is the value of the environment variable `variable`.
    fn of(variable: &str) -> Self {
        let url = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: scripts/interop sets it"));
        Self(HttpHost::new(&url))
    }

    fn rpc() -> Self {
        Self::of("R3MES_KUBO")
    }

    /// Calls a command of Kubo's RPC, such as `repo/gc`.
    fn post(&self, command: &str) -> Response {
        let body = Some(("application/octet-stream", &[][..]));
        block_on(self.0.request(Request { path: &format!("/api/v0/{command}"), body })).unwrap()
    }

    /// Calls a command of Kubo's RPC, such as `add`, with a file as its input. Returns the response as text.
    fn upload(&self, command: &str, file: &[u8]) -> String {
        let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name\"\r\n\r\n";
        let body = [&head[..], file, b"\r\n--b--\r\n"].concat();
        let request =
            Request { path: &format!("/api/v0/{command}"), body: Some(("multipart/form-data; boundary=b", &body)) };
        let Response { status, body } = block_on(self.0.request(request)).unwrap();
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, 200, "{command}: {text}");
        text
    }

    fn kubo(self) -> Kubo<HttpHost> {
        Kubo::new(self.0.url.clone(), self.0)
    }
}

/// Returns `bytes` bytes in which no 32-bit word occurs twice, so that all blocks of a file with this content differ.
fn numbered(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).take(bytes).collect()
}

/// Builds a UnixFS file with this library. Returns the root: its CID and the total size of the file's blocks.
fn file(layout: FileLayout, bytes: &[u8]) -> FilePart {
    let (mut builder, mut blocks) = (FileBuilder::new(layout), Vec::new());
    builder.push(bytes, &mut blocks).unwrap();
    builder.finish(&mut blocks).unwrap()
}

/// Checks that Kubo and this library compute the same CID, and the same total size of blocks, for a file of `bytes`
/// bytes.
fn compare(kubo: &Peer, layout: FileLayout, options: &str, bytes: usize) {
    let bytes = numbered(bytes);
    let there = kubo.upload(&format!("add?cid-version=1&raw-leaves=true&only-hash=true{options}"), &bytes);
    let there: Value = serde_json::from_str(&there).unwrap();
    let here = file(layout, &bytes);
    let (cid, size) = (here.cid.to_string(), here.blocks.to_string());
    assert_eq!((there["Hash"].as_str(), there["Size"].as_str()), (Some(&*cid), Some(&*size)), "{} bytes", bytes.len());
}

#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn kubo_computes_the_same_cids_for_files_around_every_size_boundary() {
    const CHUNK: usize = 262_144;
    let kubo = Peer::rpc();
    for boundary in [CHUNK, 2 * CHUNK, 174 * CHUNK, 175 * CHUNK] {
        for bytes in boundary - 1..=boundary + 1 {
            compare(&kubo, FileLayout::default(), "", bytes);
        }
    }
    for bytes in [0, 1, 3_000_001] {
        compare(&kubo, FileLayout::default(), "", bytes);
    }
}

/// Checks that Kubo and this library compute the same CIDs for files whose trees have three or more levels. The chunks
/// are small, because a file with large chunks and so many levels would be too large for a test.
#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn kubo_computes_the_same_cids_for_deep_files() {
    let kubo = Peer::rpc();
    let small = FileLayout::new(10, 3).unwrap();
    for bytes in 0..=300 {
        compare(&kubo, small, "&chunker=size-10&max-file-links=3", bytes);
    }
    let layout = FileLayout::new(16, 174).unwrap();
    for leaves in [174, 175, 174 * 174, 174 * 174 + 1, 174 * 175] {
        for bytes in 16 * leaves - 1..=16 * leaves + 1 {
            compare(&kubo, layout, "&chunker=size-16", bytes);
        }
    }
    let newer = FileLayout::new(1 << 20, 1024).unwrap();
    for bytes in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 7] {
        compare(&kubo, newer, "&chunker=size-1048576&max-file-links=1024", bytes);
    }
}

/// Returns four blocks: a manifest, and the three leaves (blocks without links) to which it links. The manifest also
/// links to a task, which is not stored anywhere.
fn dag(seed: u8) -> Dag {
    let leaves: Vec<Block> =
        [1, 1000, 1 << 20].iter().map(|bytes| Block::new(Codec::Raw, vec![seed; *bytes]).unwrap()).collect();
    let links: Vec<Cid> = leaves.iter().map(Block::cid).chain([Codec::DagCbor.cid(&[seed])]).collect();
    let root = dag_cbor::block("test", &links).unwrap();
    Dag { root: root.cid(), blocks: leaves.into_iter().chain([root]).collect() }
}

#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn kubo_keeps_stored_blocks_until_their_pin_is_removed() {
    let (rpc, dag) = (Peer::rpc(), dag(3));
    let pin_list = dag.pin_list().unwrap().cid();
    block_on(Peer::rpc().kubo().put_dag(&dag)).unwrap();
    let there = || {
        let get = |block: &Block| rpc.post(&format!("block/get?arg={}&offline=true", block.cid()));
        dag.blocks.iter().filter(|block| get(block).body == block.bytes()).count()
    };
    assert_eq!(rpc.post("repo/gc").status, 200);
    assert_eq!(there(), dag.blocks.len());
    let pins: Value = serde_json::from_slice(&rpc.post(&format!("pin/ls?arg={pin_list}")).body).unwrap();
    assert_eq!(pins["Keys"][pin_list.to_string()]["Type"], "recursive");
    assert_eq!(rpc.post(&format!("pin/rm?arg={pin_list}")).status, 200);
    assert_eq!(rpc.post("repo/gc").status, 200);
    assert_eq!(there(), 0);
    let lost = block_on(Peer::rpc().kubo().read_back(&dag.root)).unwrap_err();
    assert!(matches!(lost, StorageFailure::BlockLost { .. }), "{lost}");
    let missing = block_on(Peer::rpc().kubo().pin(&dag.root)).unwrap_err();
    assert!(
        matches!(missing, StorageFailure::Refused { status: 500, .. }),
        "an immediate failure, not a timeout: {missing}"
    );
}

#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn kubo_and_this_library_read_each_others_cars() {
    let kubo = Peer::rpc();
    let small = Dag::file(FileLayout::default(), &numbered(700_001)).unwrap();
    let report = kubo.upload("dag/import?stats=true", &small.to_car());
    let lines: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["Root"]["Cid"]["/"], small.root.to_string());
    assert_eq!((lines[0]["Root"]["PinErrorMsg"].as_str(), &lines[1]["Stats"]["BlockCount"]), (Some(""), &4.into()));
    let mut back = Dag::from_car(&kubo.post(&format!("dag/export?arg={}", small.root)).body).unwrap();
    back.blocks.sort_unstable_by_key(Block::cid);
    let mut blocks = small.blocks.clone();
    blocks.sort_unstable_by_key(Block::cid);
    assert_eq!((back.root, back.blocks), (small.root, blocks));
    // a directory with CIDs of version 0, the version that `ipfs add` makes by default
    let report = kubo.upload("add?wrap-with-directory=true&quieter=true", &numbered(700_002));
    let root: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    let root = root["Hash"].as_str().unwrap();
    assert!(root.starts_with("Qm"));
    let old = Dag::from_car(&kubo.post(&format!("dag/export?arg={root}")).body).unwrap();
    assert_eq!(links(&Block::check(old.root, old.get(&old.root).unwrap()).unwrap()).unwrap().len(), 1);
    assert_eq!(old.blocks.len(), 5);
}

/// The sources from which a client fetches blocks. Source 0 stands for a node that has no blocks, and source 1 is
/// Kubo's gateway. There is no other source.
struct EmptyNodeWithGateway(Peer);

impl BlockSource for EmptyNodeWithGateway {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        match gateway {
            0 => Some(Ok(Response { status: 404, body: Vec::new() })),
            1 => Some(self.0.0.request(Request::get(path)).await),
            _ => None,
        }
    }
}

impl BlockCache for EmptyNodeWithGateway {}

#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn blocks_that_a_node_lacks_come_from_kubos_gateway() {
    let dag = dag(4);
    block_on(Peer::rpc().kubo().put_dag(&dag)).unwrap();
    let host = EmptyNodeWithGateway(Peer::of("R3MES_KUBO_GATEWAY"));
    for block in &dag.blocks {
        let codec = Codec::of(&block.cid()).unwrap();
        assert_eq!(block_on(blocks::block(&host, codec, &block.cid())).as_deref(), Ok(block.bytes()));
    }
    let absent = Codec::Raw.cid(b"absent");
    assert!(block_on(blocks::block(&host, Codec::Raw, &absent)).is_err());
}

#[test]
#[ignore = "needs a Kubo daemon: scripts/interop"]
fn kubo_stores_every_accepted_artifact() {
    let (work_dir, home) = (WorkDir::new("kubo-node"), WorkDir::new("kubo-miner"));
    let (node, kubo) = (NodeProcess::start(&work_dir), Peer::rpc());
    let output = home.mine_for(&node.url, "3").args(["--ipfs", &kubo.0.url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = accepted(&output.stdout);
    assert_eq!(events.len(), 3);
    let store = Peer::rpc().kubo();
    for event in &events {
        let root = Cid::try_from(event["cid"].as_str().unwrap()).unwrap();
        let manifest = block_on(store.read_back(&root)).unwrap();
        let leaves = Artifact::links(&manifest).unwrap();
        assert!(!leaves.is_empty());
        leaves.iter().for_each(|leaf| assert!(block_on(store.read_back(leaf)).is_ok(), "{leaf} of {root}"));
    }
}
