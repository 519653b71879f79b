//! Accepts HTTP connections, and limits the resources of the node that slow clients can use.
//!
//! A client that sends the head of a request byte by byte, or never reads its response, occupies a file descriptor and
//! a few buffers. The number of connections is therefore limited, in total and for each client. If a new connection
//! would exceed a limit, the server closes an old one: the connection on which it has written nothing for the longest
//! time. A new client is therefore answered, however many slow clients there are.

mod limits;
mod stream;

pub(super) use limits::ConnectionLimits;

use super::peer::{Client, Peer};
use axum::{Router, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use stream::{Activity, ObservedStream, milliseconds};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{Instant, interval, sleep},
};
use tower_service::Service;
use tracing::{debug, error};

/// The time between two searches for connections on which no bytes are sent or received.
const SWEEP: Duration = Duration::from_secs(5);
/// The time to wait before accepting connections again if the system has no resources for another one.
const PAUSE: Duration = Duration::from_millis(50);

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
        let activity = Arc::new(Activity::new(self.start));
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
                if connection.activity.moved() < before {
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
            .map(|(id, found)| (found.activity.is_answering(), found.activity.written(), *id))
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
            activity.set_answering(true);
            let response: Result<Response, _> = router.call(request).await;
            activity.set_answering(false);
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

#[cfg(test)]
mod tests;
