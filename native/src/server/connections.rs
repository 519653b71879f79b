//! Accepts HTTP connections, and limits the resources of the node that slow clients can use.
//!
//! A client that sends the head of a request byte by byte, or never reads its response, occupies a file descriptor and
//! a few buffers. The number of connections is therefore limited, in total and for each client. If a new connection
//! would exceed a limit, the server closes an old one: the connection on which it has written nothing for the longest
//! time. A new client is therefore answered, however many slow clients there are.

use super::peer::{Client, Peer};
use axum::{Router, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{Instant, interval, sleep},
};
use tower_service::Service;
use tracing::{debug, error};

/// The limits of a server's connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// The maximum number of open connections.
    pub(super) total: usize,
    /// The maximum number of open connections of each client, except for clients on this machine.
    pub(super) per_client: usize,
    /// The maximum time until the head of the next request is complete. It is measured from the end of the previous
    /// request, or from the start of the connection.
    pub(super) head: Duration,
    /// A connection is closed if no byte has been sent or received on it for this time.
    pub(super) silence: Duration,
    /// The server may close a connection to make room for a new one. If it is answering a request on a connection, it
    /// closes this connection only after it has written nothing on it for this time.
    pub(super) answer: Duration,
    /// The maximum size, in bytes, of a request's head, and of the buffers for reading and writing.
    pub(super) buffer: usize,
}

impl ConnectionLimits {
    /// Returns the limits of this process. First raises the number of files that the process may have open, as far as
    /// the system allows, because every connection counts as an open file.
    pub(super) fn of_this_process() -> Self {
        Self {
            total: raise_file_limit().saturating_sub(OTHER_FILES).clamp(16, 4096),
            per_client: 256,
            head: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            answer: Duration::from_secs(5),
            buffer: 64 << 10,
        }
    }
}

/// The number of open files that the process may need in addition to the connections of its clients: databases, the
/// files of web pages, and the connections on which the process itself sends requests.
const OTHER_FILES: usize = 128;
/// The largest number of open files that the process asks the system to allow.
const MAX_FILES: u64 = 1 << 13;
/// The time between two searches for connections on which no bytes are sent or received.
const SWEEP: Duration = Duration::from_secs(5);
/// The time to wait before accepting connections again if the system has no resources for another one.
const PAUSE: Duration = Duration::from_millis(50);

/// Raises the number of files that this process may have open, as far as the system allows, but at most to
/// [`MAX_FILES`]. Returns this number.
#[cfg(unix)]
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let wanted = before.maximum.unwrap_or(MAX_FILES).min(MAX_FILES);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..before });
    let limit = if raised.is_ok() { wanted } else { before.current.unwrap_or(MAX_FILES) };
    limit.min(MAX_FILES) as usize
}

/// Returns [`MAX_FILES`] as the number of files that this process may have open. On systems other than Unix, the
/// actual limit is not known.
#[cfg(not(unix))]
fn raise_file_limit() -> usize {
    MAX_FILES as usize
}

/// Accepts connections and serves requests with `router` until the process ends.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: ConnectionLimits) {
    let connections = Connections { limits, start: Instant::now(), open: Arc::default() };
    tokio::spawn(connections.clone().sweep());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => connections.start(stream, peer, router.clone()),
            // the client has closed the connection before it was accepted
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                error!(%error, "cannot accept a connection");
                connections.open().close_one(None, connections.now(), Duration::ZERO);
                sleep(PAUSE).await;
            }
        }
    }
}

/// The open connections of a server.
#[derive(Clone)]
struct Connections {
    limits: ConnectionLimits,
    start: Instant,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    client: Client,
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// The times at which bytes were last written and read on a connection, in milliseconds since the server started.
struct Activity {
    start: Instant,
    /// The time at which bytes were last written, or the start of the connection if none were written yet.
    written: AtomicU64,
    /// The time at which bytes were last read or written, or the start of the connection if there were none yet.
    moved: AtomicU64,
    /// Whether the server is answering a request: it has read the head of the request, but has not produced the head of
    /// the response yet.
    answering: AtomicBool,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Serves a new connection in a task of its own. If the number of connections has reached a limit, first closes an
    /// old connection. If there is none that may be closed, closes the new one instead.
    fn start(&self, stream: TcpStream, address: SocketAddr, router: Router) {
        // without TCP_NODELAY, a small packet would wait until the previous one is acknowledged
        let _ = stream.set_nodelay(true);
        let client = Client::of(address.ip());
        let ConnectionLimits { total, per_client, answer, .. } = self.limits;
        let mut open = self.open();
        let own = open.connections.values().filter(|connection| connection.client == client).count();
        if !client.is_local() && own >= per_client && !open.close_one(Some(client), self.now(), answer) {
            return debug!(%address, "the client has too many connections");
        }
        if open.connections.len() >= total && !open.close_one(None, self.now(), answer) {
            return debug!(%address, "too many connections");
        }
        let now = milliseconds(self.now());
        let activity = Arc::new(Activity {
            start: self.start,
            written: AtomicU64::new(now),
            moved: AtomicU64::new(now),
            answering: AtomicBool::new(false),
        });
        let id = open.next;
        open.next += 1;
        let closing = Closing { id, open: self.open.clone() };
        let serving = respond(stream, Peer(address), activity.clone(), router, self.limits);
        // `closing` waits for the lock, so it cannot remove the connection before it is added
        let task = tokio::spawn(async move {
            let _closing = closing;
            if let Err(error) = serving.await {
                debug!(%address, %error, "a connection ended");
            }
        });
        open.connections.insert(id, Connection { client, activity, task: task.abort_handle() });
    }

    /// Repeatedly closes the connections on which no byte has been sent or received for too long.
    async fn sweep(self) {
        let mut ticks = interval(SWEEP);
        loop {
            ticks.tick().await;
            let before = milliseconds(self.now().saturating_sub(self.limits.silence));
            for connection in self.open().connections.values() {
                if connection.activity.moved.load(Ordering::Relaxed) < before {
                    connection.task.abort();
                }
            }
        }
    }
}

impl Open {
    /// Closes one of the connections of `client`, or one of all connections if `client` is `None`: the one on which
    /// nothing has been written for the longest time. Prefers connections on which no request is being answered. A
    /// connection on which a request is being answered can be closed only after nothing has been written on it for the
    /// duration `answer`. Returns whether a connection was closed.
    fn close_one(&mut self, client: Option<Client>, now: Duration, answer: Duration) -> bool {
        let is_stale = |written: u64| milliseconds(now).saturating_sub(written) >= milliseconds(answer);
        let of_client = self.connections.iter().filter(|(_, found)| client.is_none_or(|client| client == found.client));
        let found = of_client
            .map(|(id, found)| {
                let answering = found.activity.answering.load(Ordering::Relaxed);
                (answering, found.activity.written.load(Ordering::Relaxed), *id)
            })
            .filter(|(answering, written, _)| !answering || is_stale(*written))
            .min();
        let connection = found.and_then(|(_, _, id)| self.connections.remove(&id));
        if let Some(connection) = &connection {
            connection.task.abort();
        }
        connection.is_some()
    }
}

/// A guard that removes a connection from the list of open connections when the guard is dropped.
struct Closing {
    id: u64,
    open: Arc<Mutex<Open>>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).connections.remove(&self.id);
    }
}

async fn respond(
    stream: TcpStream,
    peer: Peer,
    activity: Arc<Activity>,
    router: Router,
    limits: ConnectionLimits,
) -> hyper::Result<()> {
    let stream = TokioIo::new(ObservedStream { stream, activity: activity.clone() });
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (activity, mut router) = (activity.clone(), router.clone());
        async move {
            activity.answering.store(true, Ordering::Relaxed);
            let response: Result<Response, _> = router.call(request).await;
            activity.answering.store(false, Ordering::Relaxed);
            response
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.buffer)
        .serve_connection(stream, service)
        .with_upgrades()
        .await
}

/// A stream that records when bytes are read and written.
struct ObservedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl ObservedStream {
    fn wrote(&self, bytes: usize) {
        if bytes > 0 {
            let now = self.moved();
            self.activity.written.store(now, Ordering::Relaxed);
        }
    }

    fn moved(&self) -> u64 {
        let now = milliseconds(self.activity.start.elapsed());
        self.activity.moved.store(now, Ordering::Relaxed);
        now
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.moved();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces))?;
        self.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
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
        let start = Instant::now();
        let add = |id: u64, client: &str, written: u64, answering: bool| {
            let (written, moved) = (AtomicU64::new(written), AtomicU64::new(0));
            let activity = Arc::new(Activity { start, written, moved, answering: AtomicBool::new(answering) });
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
            let (now, answer) = (Duration::from_millis(10), Duration::from_millis(10));
            open.lock().unwrap().close_one(Some(client), now, answer)
        };
        assert!(close() && close() && !close(), "a request that is being answered stays");
        assert_eq!(open.lock().unwrap().connections.keys().copied().collect::<Vec<_>>(), [1, 4]);
    }
}
