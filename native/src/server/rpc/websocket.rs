//! The WebSocket `/websocket`, over which clients such as CosmJS call the methods of the JSON-RPC and subscribe to
//! events. See <https://docs.cometbft.com/v0.38/core/subscription>.

use super::{
    RpcError, RpcErrorKind, RpcRequest, answer_all, respond,
    subscriptions::{Subscriptions, events_of},
};
use crate::{
    node::AddedBlock,
    server::{
        origin,
        state::{AppState, SharedApp, blocking, failure},
    },
};
use axum::{
    body::Bytes,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures_util::{
    SinkExt,
    stream::{self, StreamExt},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream};

/// The maximum size of a message from a client in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// The maximum number of open WebSocket connections.
const MAX_CONNECTIONS: usize = 100;
/// The time after which a connection is closed if the client does not read what the node sends.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// The time between two pings. A connection is closed if the client sends nothing, not even the answer to a ping, for
/// this time.
const PING_INTERVAL: Duration = Duration::from_secs(30);

static CONNECTIONS: Semaphore = Semaphore::const_new(MAX_CONNECTIONS);

/// Opens a WebSocket connection. Refuses it if a page of another website asks for it, unless the node allows this
/// website.
pub(super) async fn connect(
    State(app): SharedApp,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return failure(rejection.status(), 3, rejection.body_text()),
    };
    if !origin::is_allowed(&headers, &app.settings.origins) {
        let message = "the node does not allow this website to connect: start it with --allow-origin";
        return failure(StatusCode::FORBIDDEN, 7, message);
    }
    let Ok(permit) = CONNECTIONS.try_acquire() else {
        let message = format!("the node already has {MAX_CONNECTIONS} WebSocket connections: try again later");
        return failure(StatusCode::SERVICE_UNAVAILABLE, 14, message);
    };
    upgrade.max_message_size(MAX_MESSAGE_BYTES).on_upgrade(async move |socket| {
        serve(app, socket).await;
        drop(permit);
    })
}

/// An event that the task of a WebSocket connection handles, such as a message from the client or a new block.
enum Input {
    Received(Message),
    Added(Arc<AddedBlock>),
    /// The connection missed blocks, because the client reads too slowly.
    Missed,
    /// The time for the next ping has come.
    Tick,
    /// A message from the client could not be read. The field states the reason.
    Broken(String),
    Closed,
}

/// Serves a connection until it is closed.
async fn serve(app: Arc<AppState>, socket: WebSocket) {
    let (mut sink, stream) = socket.split();
    let received = stream.map(|message| match message {
        Ok(message) => Input::Received(message),
        Err(error) => Input::Broken(error.to_string()),
    });
    let received = received.chain(stream::iter([Input::Closed]));
    let added = BroadcastStream::new(app.node.listen()).map(|added| added.map_or(Input::Missed, Input::Added));
    let ticks = time::interval_at(time::Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let ticks = IntervalStream::new(ticks).map(|_| Input::Tick);
    let mut inputs = stream::select(received, stream::select(added, ticks));
    let (mut subscriptions, mut is_alive) = (Subscriptions::default(), true);
    let reason = loop {
        let input = inputs.next().await.unwrap_or(Input::Closed);
        is_alive |= matches!(input, Input::Received(_));
        let messages = match input {
            Input::Received(Message::Text(text)) => texts(receive(&app, &mut subscriptions, text.as_bytes()).await),
            Input::Received(Message::Binary(bytes)) => texts(receive(&app, &mut subscriptions, &bytes).await),
            // the server has already answered a ping
            Input::Received(Message::Ping(_) | Message::Pong(_)) => continue,
            Input::Added(_) | Input::Missed if subscriptions.is_empty() => continue,
            Input::Added(added) => match notify(&app, &subscriptions, added).await {
                Some(events) => texts(events),
                None => break "a block could not be read; the node's log has the reason".to_owned(),
            },
            Input::Missed => break "the client reads too slowly and has missed blocks: connect again".to_owned(),
            Input::Tick if is_alive => {
                is_alive = false;
                vec![Message::Ping(Bytes::new())]
            }
            Input::Tick => break "the client does not answer pings".to_owned(),
            Input::Broken(error) => break error,
            // the server has already queued the answer to the close frame, which is sent below
            Input::Received(Message::Close(_)) | Input::Closed => break String::new(),
        };
        for message in messages {
            if !matches!(time::timeout(SEND_TIMEOUT, sink.send(message)).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    let _ = time::timeout(SEND_TIMEOUT, async {
        if !reason.is_empty() {
            let close = CloseFrame { code: close_code::POLICY, reason: reason.into() };
            let _ = sink.send(Message::Close(Some(close))).await;
        }
        sink.close().await
    })
    .await;
}

fn texts(answers: impl IntoIterator<Item = Value>) -> Vec<Message> {
    answers.into_iter().map(|answer| Message::Text(answer.to_string().into())).collect()
}

/// Answers a message of a client.
async fn receive(app: &Arc<AppState>, subscriptions: &mut Subscriptions, message: &[u8]) -> Option<Value> {
    let request: Value = match serde_json::from_slice(message) {
        Ok(request) => request,
        Err(error) => {
            return Some(
                RpcError::new(RpcErrorKind::Parse, format!("the message is not JSON: {error}"))
                    .to_response(&Value::Null),
            );
        }
    };
    let change = match request["method"].as_str() {
        Some("subscribe") => Subscriptions::add,
        Some("unsubscribe") => Subscriptions::remove,
        Some("unsubscribe_all") => Subscriptions::clear,
        _ => {
            let app = app.clone();
            return blocking(move || Ok(answer_all(&app, request))).await.unwrap_or_default();
        }
    };
    let RpcRequest { id, params, .. } = RpcRequest::deserialize(&request).ok()?;
    let id = id?;
    let changed = change(subscriptions, &id, &params);
    Some(respond(&id, changed.map(|()| json!({}))))
}

/// Returns the messages that report the events of the block `added` to a client with these subscriptions. Returns
/// `None` if the block could not be read.
async fn notify(app: &Arc<AppState>, subscriptions: &Subscriptions, added: Arc<AddedBlock>) -> Option<Vec<Value>> {
    let (app, subscriptions) = (app.clone(), subscriptions.clone());
    blocking(move || Ok(events_of(&app, &added, &subscriptions))).await.ok()?.ok()
}
