//! Servers of CARs, honest and not, and how often they are asked.

use super::*;
use crate::{
    client::{Blocks, Offline, Request, Response, Take},
    numbers::lora::LoraAdapter,
    protocol::AdapterState,
    store::{Dag, MAX_BLOCK_BYTES, car_header, car_section},
};
use pollster::block_on;
use std::cell::{Cell, RefCell};

/// What a gateway answers where a CAR is wanted.
#[derive(Clone)]
enum Cars {
    /// That it gives none.
    None,
    /// This, so often.
    Bytes(Vec<u8>, usize),
    /// Nothing.
    Offline,
}

impl Cars {
    fn once(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes, 1)
    }
}

/// Gateways that have the same blocks and different CARs.
#[derive(Default)]
struct Gateways {
    cars: Vec<Cars>,
    blocks: BTreeMap<String, Vec<u8>>,
    kept: RefCell<BTreeMap<Cid, Vec<u8>>>,
    /// Number and path of each request.
    asked: RefCell<Vec<(usize, String)>>,
    passed_over: RefCell<Vec<(usize, ClientError)>>,
    /// Bytes of CARs that were taken.
    taken: Cell<usize>,
}

impl Gateways {
    fn new(cars: &[Cars]) -> Self {
        let blocks = dag().blocks.iter().map(|block| (block.cid().to_string(), block.bytes().to_vec())).collect();
        Self { cars: cars.to_vec(), blocks, ..Self::default() }
    }

    /// Requests for CARs and for blocks, since the last time.
    fn asked(&self) -> (usize, usize) {
        let asked = self.asked.take();
        let cars = asked.iter().filter(|(_, path)| path.ends_with("?format=car")).count();
        (cars, asked.len() - cars)
    }

    fn get(&self) -> Result<Blocks, FetchError> {
        block_on(Blocks::of_adapter(self, &dag().root))
    }

    /// That all came, whatever the CARs were.
    fn gives_all(&self) {
        let mut expected = dag().blocks;
        expected.sort_unstable_by_key(Block::cid);
        assert_eq!(self.get().unwrap().into_blocks(), Ok(expected));
    }
}

impl Host for Gateways {
    async fn request(&self, _request: Request<'_>) -> Result<Response, Offline> {
        unreachable!("gateways alone are asked")
    }

    async fn gateway(&self, at: usize, path: &str) -> Option<Result<Response, Offline>> {
        self.cars.get(at)?;
        self.asked.borrow_mut().push((at, path.to_owned()));
        let cid = path.strip_prefix("/ipfs/").and_then(|rest| rest.strip_suffix("?format=raw")).expect("a block");
        Some(Ok(match self.blocks.get(cid) {
            Some(bytes) => Response { status: 200, body: bytes.clone() },
            None => Response { status: 404, body: Vec::new() },
        }))
    }

    async fn dag(&self, at: usize, path: &str, take: Take<'_>) -> Option<Result<u16, Offline>> {
        let cars = self.cars.get(at)?;
        self.asked.borrow_mut().push((at, path.to_owned()));
        let (bytes, times) = match cars {
            Cars::None => return Some(Ok(406)),
            Cars::Offline => return Some(Err(Offline("nobody there".to_owned()))),
            Cars::Bytes(bytes, times) => (bytes, *times),
        };
        for piece in (0..times).flat_map(|_| bytes.chunks(4000)) {
            self.taken.set(self.taken.get() + piece.len());
            if take(piece).is_break() {
                break;
            }
        }
        Some(Ok(200))
    }

    fn passed_over(&self, at: usize, why: &ClientError) {
        self.passed_over.borrow_mut().push((at, why.clone()));
    }

    async fn sleep(&self, _milliseconds: u32) {}

    async fn kept(&self, cid: &Cid) -> Option<Vec<u8>> {
        self.kept.borrow().get(cid).cloned()
    }

    async fn keep(&self, cid: &Cid, bytes: &[u8]) {
        let before = self.kept.borrow_mut().insert(*cid, bytes.to_vec());
        assert_ne!(before.as_deref(), Some(bytes), "it is kept once");
    }
}

/// An adapter: its manifest links one leaf twice, and eight in all.
fn dag() -> Dag {
    let shapes = [("layers.0.attention.q".to_owned(), 600, 500), ("layers.0.attention.v".to_owned(), 700, 500)];
    let adapter = LoraAdapter::seeded(4, 8, &shapes, [4; 32]).unwrap();
    let optimizer = (0..3 * MAX_BLOCK_BYTES as u32 + 5).map(|at| (at >> 16 ^ at) as u8).collect();
    AdapterState { adapter, optimizer }.dag().unwrap()
}

const LINKS: usize = 8;

/// The blocks that differ: the manifest, then the rest.
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
    Block::new(Codec::Raw, b"nobody asked for this".to_vec()).unwrap()
}

#[test]
fn one_request_gets_all_and_what_was_got_is_not_asked_for_again() {
    let host = Gateways::new(&[Cars::once(car(&in_order()))]);
    host.gives_all();
    assert_eq!(host.asked(), (1, 0));
    host.gives_all();
    assert_eq!(host.asked(), (0, 0), "it is at hand");
    let blocks = in_order();
    host.kept.borrow_mut().remove(&blocks[3].cid());
    host.gives_all();
    assert_eq!(host.asked(), (0, 1), "one is lacking");
    blocks[1..6].iter().for_each(|block| drop(host.kept.borrow_mut().remove(&block.cid())));
    host.gives_all();
    assert_eq!(host.asked(), (1, 0), "most are lacking");
    // what is kept is not believed
    host.kept.replace(BTreeMap::from([(dag().root, vec![1])]));
    host.gives_all();
    assert_eq!(host.asked(), (1, 0));
}

#[test]
fn a_server_without_cars_is_asked_for_blocks() {
    let number = in_order().len();
    let page = b"<!doctype html><title>a gateway</title>".to_vec();
    for cars in [Cars::None, Cars::once(Vec::new()), Cars::once(page), Cars::once(in_order()[0].bytes().to_vec())] {
        let host = Gateways::new(&[cars]);
        host.gives_all();
        assert_eq!((host.asked(), host.passed_over.take()), ((1, number), vec![]));
    }
}

#[test]
fn of_a_car_that_breaks_off_the_rest_alone_is_asked_for() {
    let blocks = in_order();
    for come in 0..blocks.len() {
        let whole = car(&blocks[..=come]);
        // within the last block
        let host = Gateways::new(&[Cars::once(whole[..whole.len() - 1].to_vec()), Cars::None]);
        host.gives_all();
        let cars = if come == 0 { 2 } else { 1 };
        assert_eq!(host.asked(), (cars, blocks.len() - come), "{come} came");
        assert!(host.passed_over.take().is_empty(), "it is no lie");
    }
}

#[test]
fn blocks_of_others_are_not_taken() {
    let blocks = in_order();
    let with = |at: usize| [&blocks[..at], &[foreign()], &blocks[at..]].concat();
    for at in 1..blocks.len() {
        let host = Gateways::new(&[Cars::once(car(&with(at)))]);
        host.gives_all();
        assert_eq!(host.asked(), (1, blocks.len() - at), "{at} came before it");
        assert!(!host.kept.borrow().contains_key(&foreign().cid()));
    }
    // the manifest comes first
    let host = Gateways::new(&[Cars::once(car(&dag().blocks)), Cars::once(car(&with(0))), Cars::once(car(&blocks))]);
    host.gives_all();
    assert_eq!(host.asked(), (3, 0));
}

#[test]
fn wrong_bytes_are_told_of_and_another_is_asked() {
    let blocks = in_order();
    let mut wrong = car(&blocks);
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let host = Gateways::new(&[Cars::once(wrong.clone())]);
    host.gives_all();
    assert_eq!(host.asked(), (1, 1), "those before are good");
    let liars = |host: &Gateways| -> Vec<usize> {
        let passed_over = host.passed_over.take();
        let lie = |why: &ClientError| matches!(why, ClientError::Store(StoreError::Mismatch { .. }));
        assert!(passed_over.iter().all(|(_, why)| lie(why)), "{passed_over:?}");
        passed_over.into_iter().map(|(at, _)| at).collect()
    };
    assert_eq!(liars(&host), [0]);
    let manifest = car(&blocks[..1]).len() - 1;
    wrong[manifest] ^= 1;
    let host = Gateways::new(&[Cars::once(wrong), Cars::once(car(&blocks))]);
    host.gives_all();
    assert_eq!((host.asked(), liars(&host)), ((2, 0), vec![0]));
}

#[test]
fn who_does_not_answer_is_passed_over() {
    let host = Gateways::new(&[Cars::Offline, Cars::once(car(&in_order()))]);
    host.gives_all();
    assert_eq!(host.asked(), (2, 0));
    assert!(matches!(host.passed_over.take()[..], [(0, ClientError::Offline(_))]));
}

/// As often as it is linked, and no more: what has no end is left.
#[test]
fn blocks_that_come_again_are_no_harm_and_come_to_an_end() {
    let blocks = in_order();
    let again: Vec<Block> = blocks.iter().chain([&blocks[1]]).cloned().collect();
    let host = Gateways::new(&[Cars::once(car(&[&blocks[..2], &again[1..]].concat()))]);
    host.gives_all();
    assert_eq!(host.asked(), (1, 0));

    for different in [1, 2] {
        let some: Vec<u8> = blocks[..different].iter().flat_map(car_section).collect();
        let host = Gateways::new(&[Cars::once([car_header(dag().root), some.repeat(1000)].concat())]);
        host.gives_all();
        assert!(host.taken.get() <= (1 + LINKS) * some.len() + 8000, "{} bytes", host.taken.get());
        assert_eq!(host.asked(), (1, blocks.len() - different));
    }
}

#[test]
fn more_than_may_be_there_is_refused() {
    let blocks = in_order();
    let huge = |promise: &[u8]| [&car(&blocks[..2])[..], promise].concat();
    // a block of more bytes than any has, and a header of more
    for (start, lacking) in
        [(huge(&[0xff, 0xff, 0xff, 0x7f]), blocks.len() - 2), (vec![0xff, 0xff, 0x7f], blocks.len())]
    {
        let came = start.len();
        let host = Gateways::new(&[Cars::Bytes([start, vec![0; 1 << 20]].concat(), 1000)]);
        host.gives_all();
        assert!(host.taken.get() <= came + 8000);
        assert_eq!(host.asked(), (1, lacking));
    }
    let bytes = dag().bytes();
    for (most, cars) in
        [(bytes, Cars::once(car(&blocks))), (bytes - 1, Cars::once(car(&blocks))), (bytes - 1, Cars::None)]
    {
        let (host, mut came) = (Gateways::new(&[cars]), BTreeMap::new());
        let got = block_on(Incoming::new(dag().root, AdapterState::links, &mut came, most).get(&host));
        match most == bytes {
            true => assert!(got.is_ok()),
            false => assert!(matches!(got, Err(FetchError::TooLarge { root }) if *root == dag().root)),
        }
        assert!(host.taken.get() <= most + 4000);
    }
}

/// A manifest that is none is not asked for again.
#[test]
fn what_is_no_manifest_is_an_error_at_once() {
    let block = Block::new(Codec::DagCbor, vec![0xa0]).unwrap();
    let bytes = [car_header(block.cid()), car_section(&block)].concat();
    let host = Gateways::new(&[Cars::once(bytes), Cars::None]);
    let got = block_on(Blocks::of_adapter(&host, &block.cid()));
    assert!(matches!(got, Err(FetchError::Manifest(_))), "{got:?}");
    assert_eq!(host.asked(), (1, 0));
}
