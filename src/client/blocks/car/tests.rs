//! Tests that a fetch yields the correct DAG or an error, no matter whether the CARs from the gateways are correct,
//! incomplete or malicious. Tests that the fetch sends the expected number of requests.

use super::*;
use crate::{
    client::{Blocks, ChunkSink, NoResponse, Response},
    numbers::lora::LoraAdapter,
    protocol::AdapterState,
    store::{Dag, MAX_BLOCK_BYTES, car_header, car_section},
};
use pollster::block_on;
use std::cell::{Cell, RefCell};

/// How a gateway responds to a request for a CAR (an archive of blocks).
#[derive(Clone)]
enum Cars {
    /// The gateway responds with an error status.
    None,
    /// The gateway responds with a body that consists of the given bytes, repeated the given number of times.
    Bytes(Vec<u8>, usize),
    /// The gateway does not respond.
    NoResponse,
}

impl Cars {
    fn once(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes, 1)
    }
}

/// The cache of a client, and gateways that have the same blocks but return different CARs.
#[derive(Default)]
struct Gateways {
    cars: Vec<Cars>,
    blocks: BTreeMap<String, Vec<u8>>,
    cache: RefCell<BTreeMap<Cid, Vec<u8>>>,
    /// The requests in the order in which they were sent: index of the gateway, and path.
    requests: RefCell<Vec<(usize, String)>>,
    failures: RefCell<Vec<(usize, ClientError)>>,
    /// The number of bytes of CARs that the client received before it stopped reading.
    received: Cell<usize>,
}

impl Gateways {
    fn new(cars: &[Cars]) -> Self {
        let blocks = dag().blocks.iter().map(|block| (block.cid().to_string(), block.bytes().to_vec())).collect();
        Self { cars: cars.to_vec(), blocks, ..Self::default() }
    }

    /// Returns how many CARs and how many single blocks were requested since the last call of this method.
    fn request_counts(&self) -> (usize, usize) {
        let requests = self.requests.take();
        let cars = requests.iter().filter(|(_, path)| path.ends_with("?format=car")).count();
        (cars, requests.len() - cars)
    }

    fn fetch(&self) -> Result<Blocks, FetchError> {
        block_on(Blocks::of_adapter(self, &dag().root))
    }

    /// Fetches the DAG and asserts that all its blocks arrive.
    fn deliver_all(&self) {
        let mut expected = dag().blocks;
        expected.sort_unstable_by_key(Block::cid);
        assert_eq!(self.fetch().unwrap().into_blocks(), Ok(expected));
    }
}

impl BlockSource for Gateways {
    async fn get(&self, at: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        self.cars.get(at)?;
        self.requests.borrow_mut().push((at, path.to_owned()));
        let cid = path.strip_prefix("/ipfs/").and_then(|rest| rest.strip_suffix("?format=raw")).expect("a block");
        Some(Ok(match self.blocks.get(cid) {
            Some(bytes) => Response { status: 200, body: bytes.clone() },
            None => Response { status: 404, body: Vec::new() },
        }))
    }

    async fn stream(&self, at: usize, path: &str, sink: ChunkSink<'_>) -> Option<Result<u16, NoResponse>> {
        let cars = self.cars.get(at)?;
        self.requests.borrow_mut().push((at, path.to_owned()));
        let (bytes, times) = match cars {
            Cars::None => return Some(Ok(406)),
            Cars::NoResponse => return Some(Err(NoResponse("timed out".to_owned()))),
            Cars::Bytes(bytes, times) => (bytes, *times),
        };
        for piece in (0..times).flat_map(|_| bytes.chunks(4000)) {
            self.received.set(self.received.get() + piece.len());
            if sink(piece).is_break() {
                break;
            }
        }
        Some(Ok(200))
    }

    fn gateway_failed(&self, at: usize, reason: &ClientError) {
        self.failures.borrow_mut().push((at, reason.clone()));
    }
}

impl BlockCache for Gateways {
    async fn load_block(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.cache.borrow().get(cid).cloned()
    }

    async fn cache_block(&self, cid: &Cid, bytes: &[u8]) {
        let before = self.cache.borrow_mut().insert(*cid, bytes.to_vec());
        assert_ne!(before.as_deref(), Some(bytes), "a block is not cached a second time");
    }
}

/// Returns the DAG of an adapter. Its manifest has eight links, two of which lead to the same leaf.
fn dag() -> Dag {
    let shapes = [("layers.0.attention.q".to_owned(), 600, 500), ("layers.0.attention.v".to_owned(), 700, 500)];
    let adapter = LoraAdapter::seeded(4, 8, &shapes, [4; 32]).unwrap();
    let optimizer = (0..3 * MAX_BLOCK_BYTES as u32 + 5).map(|at| (at >> 16 ^ at) as u8).collect();
    AdapterState { adapter, optimizer }.dag().unwrap()
}

const LINKS: usize = 8;

/// Returns the blocks of the DAG in the order of a CAR, without duplicates: the manifest, then the leaves.
fn in_order() -> Vec<Block> {
    let mut blocks = dag().blocks;
    blocks.rotate_right(1);
    assert_eq!((blocks[0].cid(), AdapterState::links(blocks[0].bytes()).unwrap().len()), (dag().root, LINKS));
    blocks
}

fn car(blocks: &[Block]) -> Vec<u8> {
    let sections = blocks.iter().flat_map(car_section);
    car_header(dag().root).into_iter().chain(sections).collect()
}

fn foreign() -> Block {
    Block::new(Codec::Raw, b"not a part of the DAG".to_vec()).unwrap()
}

#[test]
fn one_request_fetches_a_dag_and_cached_blocks_are_not_requested_again() {
    let gateways = Gateways::new(&[Cars::once(car(&in_order()))]);
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (1, 0));
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (0, 0), "all blocks are cached");
    let blocks = in_order();
    gateways.cache.borrow_mut().remove(&blocks[3].cid());
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (0, 1), "one block is missing");
    blocks[1..6].iter().for_each(|block| drop(gateways.cache.borrow_mut().remove(&block.cid())));
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (1, 0), "most blocks are missing");
    // blocks from the cache are checked against their CIDs too
    gateways.cache.replace(BTreeMap::from([(dag().root, vec![1])]));
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (1, 0));
}

#[test]
fn blocks_are_requested_one_by_one_from_a_gateway_without_cars() {
    let number = in_order().len();
    let page = b"<!doctype html><title>a gateway</title>".to_vec();
    for cars in [Cars::None, Cars::once(Vec::new()), Cars::once(page), Cars::once(in_order()[0].bytes().to_vec())] {
        let gateways = Gateways::new(&[cars]);
        gateways.deliver_all();
        assert_eq!((gateways.request_counts(), gateways.failures.take()), ((1, number), vec![]));
    }
}

#[test]
fn after_a_car_that_breaks_off_only_the_rest_is_requested() {
    let blocks = in_order();
    for come in 0..blocks.len() {
        let whole = car(&blocks[..=come]);
        // the CAR breaks off within its last block
        let gateways = Gateways::new(&[Cars::once(whole[..whole.len() - 1].to_vec()), Cars::None]);
        gateways.deliver_all();
        let cars = if come == 0 { 2 } else { 1 };
        assert_eq!(gateways.request_counts(), (cars, blocks.len() - come), "the first {come} blocks arrived");
        assert!(gateways.failures.take().is_empty(), "an incomplete CAR is not reported as a failure");
    }
}

#[test]
fn blocks_outside_the_dag_are_not_accepted() {
    let blocks = in_order();
    let with = |at: usize| [&blocks[..at], &[foreign()], &blocks[at..]].concat();
    for at in 1..blocks.len() {
        let gateways = Gateways::new(&[Cars::once(car(&with(at)))]);
        gateways.deliver_all();
        assert_eq!(gateways.request_counts(), (1, blocks.len() - at), "{at} blocks come before the foreign one");
        assert!(!gateways.cache.borrow().contains_key(&foreign().cid()));
    }
    // a CAR that does not start with the manifest is not accepted
    let gateways =
        Gateways::new(&[Cars::once(car(&dag().blocks)), Cars::once(car(&with(0))), Cars::once(car(&blocks))]);
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (3, 0));
}

#[test]
fn a_gateway_that_returns_wrong_bytes_is_reported_and_the_next_one_is_used() {
    let blocks = in_order();
    let mut wrong = car(&blocks);
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let gateways = Gateways::new(&[Cars::once(wrong.clone())]);
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (1, 1), "the blocks before the wrong one are accepted");
    let liars = |gateways: &Gateways| -> Vec<usize> {
        let failures = gateways.failures.take();
        let is_mismatch = |reason: &ClientError| matches!(reason, ClientError::Store(StoreError::Mismatch { .. }));
        assert!(failures.iter().all(|(_, reason)| is_mismatch(reason)), "{failures:?}");
        failures.into_iter().map(|(at, _)| at).collect()
    };
    assert_eq!(liars(&gateways), [0]);
    let manifest = car(&blocks[..1]).len() - 1;
    wrong[manifest] ^= 1;
    let gateways = Gateways::new(&[Cars::once(wrong), Cars::once(car(&blocks))]);
    gateways.deliver_all();
    assert_eq!((gateways.request_counts(), liars(&gateways)), ((2, 0), vec![0]));
}

#[test]
fn a_gateway_that_does_not_respond_is_skipped() {
    let gateways = Gateways::new(&[Cars::NoResponse, Cars::once(car(&in_order()))]);
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (2, 0));
    assert!(matches!(gateways.failures.take()[..], [(0, ClientError::NoResponse(_))]));
}

/// Tests that a CAR may repeat blocks, but that the client stops reading it when more blocks have followed the manifest
/// than the manifest has links.
#[test]
fn repeated_blocks_are_accepted_up_to_the_number_of_links() {
    let blocks = in_order();
    let again: Vec<Block> = blocks.iter().chain([&blocks[1]]).cloned().collect();
    let gateways = Gateways::new(&[Cars::once(car(&[&blocks[..2], &again[1..]].concat()))]);
    gateways.deliver_all();
    assert_eq!(gateways.request_counts(), (1, 0));

    for different in [1, 2] {
        let some: Vec<u8> = blocks[..different].iter().flat_map(car_section).collect();
        let gateways = Gateways::new(&[Cars::once([car_header(dag().root), some.repeat(1000)].concat())]);
        gateways.deliver_all();
        assert!(gateways.received.get() <= (1 + LINKS) * some.len() + 8000, "{} bytes read", gateways.received.get());
        assert_eq!(gateways.request_counts(), (1, blocks.len() - different));
    }
}

#[test]
fn a_dag_over_the_size_limit_is_an_error() {
    let blocks = in_order();
    let huge = |promise: &[u8]| [&car(&blocks[..2])[..], promise].concat();
    // the CAR declares a size over the limit, first for a block, then for its header
    for (start, missing) in
        [(huge(&[0xff, 0xff, 0xff, 0x7f]), blocks.len() - 2), (vec![0xff, 0xff, 0x7f], blocks.len())]
    {
        let prefix_bytes = start.len();
        let gateways = Gateways::new(&[Cars::Bytes([start, vec![0; 1 << 20]].concat(), 1000)]);
        gateways.deliver_all();
        assert!(gateways.received.get() <= prefix_bytes + 8000);
        assert_eq!(gateways.request_counts(), (1, missing));
    }
    let bytes = dag().bytes();
    for (most, cars) in
        [(bytes, Cars::once(car(&blocks))), (bytes - 1, Cars::once(car(&blocks))), (bytes - 1, Cars::None)]
    {
        let gateways = Gateways::new(&[cars]);
        let got = block_on(DagFetch::new(dag().root, AdapterState::links, most).run(&gateways));
        match most == bytes {
            true => assert!(got.is_ok()),
            false => assert!(matches!(got, Err(FetchError::TooLarge { root }) if *root == dag().root)),
        }
        assert!(gateways.received.get() <= most + 4000);
    }
}

/// Tests that a malformed manifest ends the fetch with an error: no other gateway is asked for the manifest.
#[test]
fn a_malformed_manifest_is_an_error_at_once() {
    let block = Block::new(Codec::DagCbor, vec![0xa0]).unwrap();
    let bytes = [car_header(block.cid()), car_section(&block)].concat();
    let gateways = Gateways::new(&[Cars::once(bytes), Cars::None]);
    let got = block_on(Blocks::of_adapter(&gateways, &block.cid()));
    assert!(matches!(got, Err(FetchError::Manifest(_))), "{got:?}");
    assert_eq!(gateways.request_counts(), (1, 0));
}
