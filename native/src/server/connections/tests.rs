//! Tests of the limits of connections, with clients that send and receive too slowly.

use super::*;
use axum::routing::get;
use std::{
    io::{Read, Write},
    net::TcpStream as Socket,
    thread,
};

const LIMITS: ConnectionLimits = ConnectionLimits {
    total: 4,
    per_client: 2,
    head: Duration::from_millis(500),
    silence: Duration::from_secs(60),
    answer: Duration::from_secs(60),
    buffer: 8192,
};

/// Starts a server that answers `GET /` at once, but never answers `GET /never`. Returns its address.
fn server(limits: ConnectionLimits) -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let never = get(async || std::future::pending::<()>().await);
    let router = Router::new().route("/", get(async || "answer")).route("/never", never);
    thread::spawn(move || runtime.block_on(serve(listener, router, limits)));
    address
}

fn send(server: SocketAddr, text: &str) -> Socket {
    let mut socket = Socket::connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    socket
}

/// Returns what the server sends until it closes the connection.
fn received(mut socket: Socket) -> String {
    let mut bytes = Vec::new();
    // a connection that the server has closed early may be reset
    let _ = socket.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

const ONCE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn the_head_of_a_request_must_arrive_in_time_and_within_the_buffer() {
    let server = server(LIMITS);
    assert!(received(send(server, ONCE)).ends_with("answer"));
    let half = received(send(server, "GET / HTTP/1.1\r\nHost: a\r\n"));
    assert!(!half.contains("answer"), "{half}");
    let long = received(send(server, &format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(9000))));
    assert!(long.starts_with("HTTP/1.1 431"), "{long}");
}

#[test]
fn a_new_connection_takes_the_place_of_the_one_that_was_idle_for_longest() {
    let server = server(ConnectionLimits { head: Duration::from_secs(60), ..LIMITS });
    let idle: Vec<Socket> = (0..4)
        .map(|_| {
            thread::sleep(Duration::from_millis(20));
            send(server, "GET / HTTP/1.1\r\n")
        })
        .collect();
    assert!(received(send(server, ONCE)).ends_with("answer"));
    thread::sleep(Duration::from_millis(100));
    let open = idle.iter().map(|socket| {
        socket.set_nonblocking(true).unwrap();
        (&mut &*socket).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    assert_eq!(open.collect::<Vec<_>>(), [false, true, true, true]);
}

#[test]
fn connections_whose_requests_are_being_answered_are_spared() {
    let server = server(LIMITS);
    let busy: Vec<Socket> = (0..4).map(|_| send(server, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(received(send(server, ONCE)), "", "there is no place for another");
    drop(busy);
    thread::sleep(Duration::from_millis(100));
    assert!(received(send(server, ONCE)).ends_with("answer"));
}

#[test]
fn a_connection_on_which_nothing_moves_is_closed() {
    let server = server(ConnectionLimits { silence: Duration::from_millis(100), ..LIMITS });
    let began = std::time::Instant::now();
    assert_eq!(received(send(server, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n")), "");
    assert!(began.elapsed() < Duration::from_secs(9), "closed by the server, and not by the test's own timeout");
}

#[test]
fn one_client_cannot_take_all_places() {
    let open = Mutex::<Open>::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let add = |id: u64, client: &str, written_s: u64, is_answering: bool| {
        let activity = Arc::new(Activity::new(Instant::now() - Duration::from_secs(written_s)));
        activity.set_answering(is_answering);
        let task = runtime.spawn(std::future::pending::<()>()).abort_handle();
        let client = Client::of(client.parse().unwrap());
        open.lock().unwrap().connections.insert(id, Connection { client, activity, task });
    };
    add(1, "192.0.2.1", 5, false);
    add(2, "192.0.2.2", 9, false);
    add(3, "192.0.2.2", 7, false);
    add(4, "192.0.2.2", 1, true);
    let client = Client::of("192.0.2.2".parse().unwrap());
    let close = || {
        let (now, answer) = (Duration::from_secs(10), Duration::from_secs(10));
        open.lock().unwrap().close_one(Some(client), now, answer)
    };
    assert!(close() && close() && !close(), "a request that is being answered stays");
    assert_eq!(open.lock().unwrap().connections.keys().copied().collect::<Vec<_>>(), [1, 4]);
}
