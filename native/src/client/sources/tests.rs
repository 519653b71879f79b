//! Tests, over real sockets, that blocks are fetched intact and secrets are not disclosed even if gateways and stores
//! misbehave.

use super::*;
use pollster::block_on;
use r3mes_wgpu::{
    client::{Blocks, Classify, Connection, Request, blocks},
    numbers::lora::LoraAdapter,
    protocol::AdapterState,
    store::{Codec, Dag, car_header, car_section},
};
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

const SHORT: Duration = Duration::from_millis(500);

/// Starts a server that calls `respond` for each connection. Returns the server's URL and a counter of its connections.
/// The server runs until the test process ends.
fn serve(respond: impl Fn(&mut TcpStream, &str) + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut head).is_ok_and(|bytes| bytes > 2) {}
            count.fetch_add(1, Ordering::SeqCst);
            respond(&mut stream, &head);
        }
    });
    (url, connections)
}

fn send(stream: &mut TcpStream, status: &str, claimed: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {claimed}\r\nconnection: close\r\n\r\n");
    // writing fails if the client has closed the connection, which is no error here
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn block() -> Block {
    Block::new(Codec::Raw, vec![7; 5000]).unwrap()
}

fn missing() -> (String, Arc<AtomicUsize>) {
    serve(|stream, _| send(stream, "404 Not Found", 0, b""))
}

fn honest() -> (String, Arc<AtomicUsize>) {
    serve(|stream, _| send(stream, "200 OK", 5000, block().bytes()))
}

/// Returns a connection to a node that lacks every block. The connection fetches blocks from `gateways` instead.
fn host(gateways: &[&str]) -> Remote {
    host_with_timeout(gateways, SHORT)
}

/// Returns a connection to a node that lacks every block. The connection fetches blocks from `gateways` instead. Each
/// request to a gateway has the timeout `timeout`.
fn host_with_timeout(gateways: &[&str], timeout: Duration) -> Remote {
    let gateways = gateways.iter().map(|url| Gateway::new(url, timeout).unwrap()).collect();
    let quota = Quota { unpinned_bytes: 1 << 20, total_bytes: 1 << 20 };
    let cache = Some(BlockStore::in_memory(quota).unwrap());
    let sources = BlockSources { gateways, ignores_absence: false, cache, unwritten: RefCell::default() };
    Remote::store("--node", &missing().0, None).unwrap().with_sources(sources)
}

fn get(host: &Remote) -> Result<Vec<u8>, ClientError> {
    block_on(blocks::block(host, Codec::Raw, &block().cid()))
}

#[test]
fn a_gateway_that_fails_is_skipped_for_one_that_works() {
    let kinds: [fn(&mut TcpStream, &str); 8] = [
        // the body is shorter than its content-length
        |stream, _| send(stream, "200 OK", 5000, &block().bytes()[..3000]),
        // the block is cut short, with the matching content-length
        |stream, _| send(stream, "200 OK", 3000, &block().bytes()[..3000]),
        // the bytes have the right length but differ
        |stream, _| send(stream, "200 OK", 5000, &[8; 5000]),
        // the body is endless
        |stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(&[7; 1 << 16]).is_ok() {}
        },
        // there is no response
        |_, _| std::thread::sleep(4 * SHORT),
        // one byte arrives every 100 ms
        |stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n");
            while stream.write_all(&[7]).is_ok() {
                std::thread::sleep(SHORT / 5);
            }
        },
        |stream, _| send(stream, "500 Internal Server Error", 2, b"no"),
        |stream, _| {
            let _ = stream.write_all(b"SSH-2.0-x\r\n\r\n");
        },
    ];
    for (at, kind) in kinds.into_iter().enumerate() {
        let (bad, good) = (serve(kind), honest());
        let host = host(&[&bad.0, &good.0]);
        let start = Instant::now();
        assert_eq!(get(&host).unwrap(), block().bytes(), "gateway {at}");
        assert!(start.elapsed() < 20 * SHORT, "gateway {at} takes too long");
        assert_eq!((bad.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, 1), "gateway {at}: requests");
    }
}

#[test]
fn cached_blocks_are_not_requested_again_and_a_gateway_with_wrong_bytes_is_used_once() {
    let (liar, good) = (serve(|stream, _| send(stream, "200 OK", 3, b"lie")), honest());
    let host = host(&[&liar.0, &good.0]);
    for _ in 0..3 {
        assert_eq!(get(&host).unwrap(), block().bytes());
    }
    assert_eq!((liar.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, 1));
    let other = Block::new(Codec::Raw, vec![9; 10]).unwrap().cid();
    assert!(block_on(blocks::block(&host, Codec::Raw, &other)).is_err());
    assert_eq!((liar.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, 2));
}

#[test]
fn the_cache_survives_a_restart() {
    let folder = std::env::temp_dir().join(format!("r3mes-cache-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let node = || Remote::store("--node", &missing().0, None).unwrap();
    let host = node().with_sources(BlockSources::open(&[honest().0], &folder).unwrap());
    assert_eq!(get(&host).unwrap(), block().bytes());
    drop(host);
    assert_eq!(get(&node().with_sources(BlockSources::open(&[], &folder).unwrap())).unwrap(), block().bytes());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn if_no_gateway_has_a_block_a_retryable_error_is_preferred() {
    let missing_everywhere = get(&host(&[&missing().0])).unwrap_err();
    assert_eq!(missing_everywhere, ClientError::Store(StoreError::Missing(block().cid())));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let no_response = get(&host(&[&format!("http://{closed}"), &missing().0])).unwrap_err();
    assert!(no_response.is_retryable(), "{no_response}");
}

#[test]
fn redirects_of_a_gateway_are_followed_up_to_a_limit() {
    let good = honest().0;
    let to_good = serve(move |stream, head| {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let head =
            format!("HTTP/1.1 301 Moved\r\nlocation: {good}{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    });
    assert_eq!(get(&host(&[&to_good.0])).unwrap(), block().bytes());
    let circle = serve(|stream, head| {
        let path = head.split(' ').nth(1).unwrap();
        let head = format!("HTTP/1.1 307 Moved\r\nlocation: {path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    });
    assert!(get(&host(&[&circle.0])).is_err());
    assert_eq!(circle.1.load(Ordering::SeqCst), 1 + REDIRECTS as usize);
}

/// Tests that a redirect from a store is not followed, so that the server to which it points receives neither blocks
/// nor the access token.
#[test]
fn redirects_of_a_store_are_not_followed() {
    let elsewhere = honest();
    let target = elsewhere.0.clone();
    let store = serve(move |stream, head| {
        assert!(head.to_lowercase().contains("authorization: bearer secret"), "{head}");
        let head =
            format!("HTTP/1.1 307 Moved\r\nlocation: {target}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    });
    let host = Remote::store("--ipfs", &store.0, Some(secrets::Secret::of("secret"))).unwrap();
    for body in [None, Some(("text/plain", &b"x"[..]))] {
        let answer = block_on(host.request(Request { path: "/pins", body })).unwrap();
        assert_eq!(answer.status, 307);
    }
    assert_eq!((store.1.load(Ordering::SeqCst), elsewhere.1.load(Ordering::SeqCst)), (2, 0));
}

fn dag() -> Dag {
    let shapes = [("layers.0.attention.q".to_owned(), 60, 50)];
    let adapter = LoraAdapter::seeded(4, 8, &shapes, [4; 32]).unwrap();
    AdapterState { adapter, optimizer: vec![7; 5000] }.dag().unwrap()
}

/// Returns a CAR (an archive) of all blocks of the tests' adapter, starting with its root block, the manifest.
fn car() -> Vec<u8> {
    let sections = dag().blocks.into_iter().rev().flat_map(|block| car_section(&block));
    car_header(dag().root).into_iter().chain(sections).collect()
}

/// Starts a gateway. It responds to a request for a CAR with only the bytes `car`, keeps the connection open for the
/// duration `then`, and closes it. It responds to requests for single blocks in full.
fn breaking_off(car: Vec<u8>, then: Duration) -> (String, Arc<AtomicUsize>) {
    serve(move |stream, head| {
        let path = head.split(' ').nth(1).unwrap();
        if path.ends_with("?format=car") {
            assert!(head.to_lowercase().contains("accept: application/vnd.ipld.car; version=1; order=dfs"), "{head}");
            send(stream, "200 OK", 1 << 20, &car);
            std::thread::sleep(then);
            return;
        }
        let named = |block: &&Block| path == format!("/ipfs/{}?format=raw", block.cid());
        match dag().blocks.iter().find(named) {
            Some(block) => send(stream, "200 OK", block.bytes().len(), block.bytes()),
            None => send(stream, "404 Not Found", 0, b""),
        }
    })
}

fn fetch_all(host: &Remote) {
    let blocks = block_on(Blocks::of_adapter(host, &dag().root)).unwrap().into_blocks().unwrap();
    assert_eq!(blocks.len(), dag().blocks.len());
}

#[test]
fn a_dag_is_fetched_by_one_request_without_waiting_for_the_end_of_the_body() {
    let gateway = breaking_off(car(), 40 * SHORT);
    let host = host_with_timeout(&[&gateway.0], 80 * SHORT);
    let start = Instant::now();
    fetch_all(&host);
    assert!(start.elapsed() < 40 * SHORT, "the client does not wait for the rest of the body");
    fetch_all(&host);
    assert_eq!(gateway.1.load(Ordering::SeqCst), 1, "the second time, all blocks come from the cache");
}

#[test]
fn after_a_car_that_breaks_off_the_rest_is_requested_and_wrong_bytes_end_the_use_of_a_gateway() {
    let number = dag().blocks.len();
    let two = car_header(dag().root).len()
        + dag().blocks.iter().rev().take(2).map(|block| car_section(block).len()).sum::<usize>();
    for then in [Duration::ZERO, SHORT] {
        let gateway = breaking_off(car()[..two + 5].to_vec(), then);
        fetch_all(&host(&[&gateway.0]));
        assert_eq!(gateway.1.load(Ordering::SeqCst), 1 + number - 2);
    }
    let mut wrong = car();
    wrong[two - 1] ^= 1;
    let (liar, good) = (breaking_off(wrong, Duration::ZERO), breaking_off(car(), Duration::ZERO));
    fetch_all(&host(&[&liar.0, &good.0]));
    assert_eq!((liar.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, number - 1));
}
