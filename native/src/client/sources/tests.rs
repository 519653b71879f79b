//! Gateways and stores at their worst, over real sockets.

use super::*;
use pollster::block_on;
use r3mes_wgpu::{
    client::{Blocks, Host, Request, gateway},
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

/// A server that does with each connection what it is told, and counts them. It ends with the tests.
fn serve(answer: impl Fn(&mut TcpStream, &str) + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut head).is_ok_and(|bytes| bytes > 2) {}
            count.fetch_add(1, Ordering::SeqCst);
            answer(&mut stream, &head);
        }
    });
    (url, asked)
}

fn say(stream: &mut TcpStream, status: &str, claimed: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {claimed}\r\nconnection: close\r\n\r\n");
    // a client that has heard enough may have left
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn block() -> Block {
    Block::new(Codec::Raw, vec![7; 5000]).unwrap()
}

fn missing() -> (String, Arc<AtomicUsize>) {
    serve(|stream, _| say(stream, "404 Not Found", 0, b""))
}

fn honest() -> (String, Arc<AtomicUsize>) {
    serve(|stream, _| say(stream, "200 OK", 5000, block().bytes()))
}

/// A node that lacks every block, and gateways.
fn host(gateways: &[&str]) -> Remote {
    waiting(gateways, SHORT)
}

/// The same, that waits so long for an answer.
fn waiting(gateways: &[&str], timeout: Duration) -> Remote {
    let gateways = gateways.iter().map(|url| Gateway::new(url, timeout).unwrap()).collect();
    let quota = Quota { loose_bytes: 1 << 20, total_bytes: 1 << 20 };
    let sources = Sources { gateways, cache: Some(BlockStore::in_memory(quota).unwrap()), waiting: RefCell::default() };
    Remote::store("--node", &missing().0, None).unwrap().with_sources(sources)
}

fn get(host: &Remote) -> Result<Vec<u8>, ClientError> {
    block_on(gateway::block(host, Codec::Raw, &block().cid()))
}

#[test]
fn a_bad_gateway_is_passed_over_for_a_good_one() {
    let kinds: [fn(&mut TcpStream, &str); 8] = [
        // cut short within the length that was promised
        |stream, _| say(stream, "200 OK", 5000, &block().bytes()[..3000]),
        // cut short without a promise
        |stream, _| say(stream, "200 OK", 3000, &block().bytes()[..3000]),
        // other bytes, as many
        |stream, _| say(stream, "200 OK", 5000, &[8; 5000]),
        // without end
        |stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(&[7; 1 << 16]).is_ok() {}
        },
        // nothing ever
        |_, _| std::thread::sleep(4 * SHORT),
        // a byte now and then
        |stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n");
            while stream.write_all(&[7]).is_ok() {
                std::thread::sleep(SHORT / 5);
            }
        },
        |stream, _| say(stream, "500 Internal Server Error", 2, b"no"),
        |stream, _| {
            let _ = stream.write_all(b"SSH-2.0-x\r\n\r\n");
        },
    ];
    for (at, kind) in kinds.into_iter().enumerate() {
        let (bad, good) = (serve(kind), honest());
        let host = host(&[&bad.0, &good.0]);
        let start = Instant::now();
        assert_eq!(get(&host).unwrap(), block().bytes(), "kind {at}");
        assert!(start.elapsed() < 20 * SHORT, "kind {at} is not waited for");
        assert_eq!((bad.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, 1), "kind {at}");
    }
}

#[test]
fn what_was_got_once_is_not_fetched_again_and_a_liar_is_asked_once() {
    let (liar, good) = (serve(|stream, _| say(stream, "200 OK", 3, b"lie")), honest());
    let host = host(&[&liar.0, &good.0]);
    for _ in 0..3 {
        assert_eq!(get(&host).unwrap(), block().bytes());
    }
    assert_eq!((liar.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, 1));
    let other = Block::new(Codec::Raw, vec![9; 10]).unwrap().cid();
    assert!(block_on(gateway::block(&host, Codec::Raw, &other)).is_err());
    assert_eq!((liar.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, 2));
}

#[test]
fn what_is_cached_outlives_the_program() {
    let folder = std::env::temp_dir().join(format!("r3mes-cache-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let node = || Remote::store("--node", &missing().0, None).unwrap();
    let host = node().with_sources(Sources::open(&[honest().0], &folder).unwrap());
    assert_eq!(get(&host).unwrap(), block().bytes());
    drop(host);
    assert_eq!(get(&node().with_sources(Sources::open(&[], &folder).unwrap())).unwrap(), block().bytes());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn where_nobody_has_it_the_reason_is_the_one_that_may_pass() {
    let nobody = get(&host(&[&missing().0])).unwrap_err();
    assert_eq!(nobody, ClientError::Store(StoreError::Missing(block().cid())));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let offline = get(&host(&[&format!("http://{closed}"), &missing().0])).unwrap_err();
    assert!(offline.is_temporary(), "{offline}");
}

#[test]
fn a_gateway_s_redirections_are_followed_but_not_in_a_circle() {
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

/// Neither blocks nor the token go where a store points.
#[test]
fn a_store_can_not_send_its_customers_elsewhere() {
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

/// The manifest first.
fn car() -> Vec<u8> {
    let sections = dag().blocks.into_iter().rev().flat_map(|block| car_section(&block));
    car_header(dag().root).into_iter().chain(sections).collect()
}

/// A gateway that begins its CAR so, as if more would come, and gives blocks.
fn begins(car: Vec<u8>, then: Duration) -> (String, Arc<AtomicUsize>) {
    serve(move |stream, head| {
        let path = head.split(' ').nth(1).unwrap();
        if path.ends_with("?format=car") {
            assert!(head.to_lowercase().contains("accept: application/vnd.ipld.car; version=1; order=dfs"), "{head}");
            say(stream, "200 OK", 1 << 20, &car);
            std::thread::sleep(then);
            return;
        }
        let named = |block: &&Block| path == format!("/ipfs/{}?format=raw", block.cid());
        match dag().blocks.iter().find(named) {
            Some(block) => say(stream, "200 OK", block.bytes().len(), block.bytes()),
            None => say(stream, "404 Not Found", 0, b""),
        }
    })
}

fn whole(host: &Remote) {
    let blocks = block_on(Blocks::of_adapter(host, &dag().root)).unwrap().into_blocks().unwrap();
    assert_eq!(blocks.len(), dag().blocks.len());
}

#[test]
fn a_dag_comes_in_one_answer_that_is_not_waited_for_to_its_end() {
    let gateway = begins(car(), 40 * SHORT);
    let host = waiting(&[&gateway.0], 80 * SHORT);
    let start = Instant::now();
    whole(&host);
    assert!(start.elapsed() < 40 * SHORT, "enough is enough");
    whole(&host);
    assert_eq!(gateway.1.load(Ordering::SeqCst), 1, "and it is kept");
}

#[test]
fn a_dag_that_breaks_off_costs_the_rest_and_a_liar_is_asked_no_more() {
    let number = dag().blocks.len();
    let two = car_header(dag().root).len()
        + dag().blocks.iter().rev().take(2).map(|block| car_section(block).len()).sum::<usize>();
    for then in [Duration::ZERO, SHORT] {
        let gateway = begins(car()[..two + 5].to_vec(), then);
        whole(&host(&[&gateway.0]));
        assert_eq!(gateway.1.load(Ordering::SeqCst), 1 + number - 2);
    }
    let mut wrong = car();
    wrong[two - 1] ^= 1;
    let (liar, good) = (begins(wrong, Duration::ZERO), begins(car(), Duration::ZERO));
    whole(&host(&[&liar.0, &good.0]));
    assert_eq!((liar.1.load(Ordering::SeqCst), good.1.load(Ordering::SeqCst)), (1, number - 1));
}
