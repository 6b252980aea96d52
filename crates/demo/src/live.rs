//! `/ws` and `/events`: connections that stay open, to see how the edge carries and ends them.
//!
//! The assertion is checked once, when they are opened. Ending them when the session is revoked is
//! the edge's part; ending them when the app stops is ours.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::time::{self, Interval, MissedTickBehavior};

use crate::clock;
use crate::refusal::{Refusal, Representation};
use crate::server::{App, OpenStream};

/// Largest message, in bytes; a longer one closes the socket.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// An echo WebSocket: text and binary messages come back as they are.
pub(crate) async fn open_socket(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    match app.open_stream() {
        Some(open) => upgrade
            .max_message_size(MAX_MESSAGE_BYTES)
            .max_frame_size(MAX_MESSAGE_BYTES)
            .on_upgrade(move |socket| echo(socket, open)),
        None => too_many_streams(&headers),
    }
}

/// An event stream: one `tick` a second with a counter from 1.
pub(crate) async fn open_events(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let Some(open) = app.open_stream() else {
        return too_many_streams(&headers);
    };
    let mut interval = time::interval(EVENT_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Sse::new(stream::unfold((1, interval, open), next_tick)).into_response()
}

type Ticks = (u64, Interval, OpenStream);

async fn next_tick(
    (count, mut interval, mut open): Ticks,
) -> Option<(Result<Event, Infallible>, Ticks)> {
    tokio::select! {
        () = open.stopped() => None,
        _ = interval.tick() => {
            let data = json!({ "count": count, "at": clock::now_secs() }).to_string();
            let event = Event::default().event("tick").id(count.to_string()).data(data);
            Some((Ok(event), (count.saturating_add(1), interval, open)))
        }
    }
}

async fn echo(mut socket: WebSocket, mut open: OpenStream) {
    loop {
        let message = tokio::select! {
            () = open.stopped() => return say_goodbye(socket).await,
            message = socket.recv() => message,
        };
        let sent = match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                socket.send(message).await
            }
            // The library answers these by itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn say_goodbye(mut socket: WebSocket) {
    let goodbye = CloseFrame {
        code: close_code::AWAY,
        reason: "the app is stopping".into(),
    };
    // Whether the other side is still there no longer matters.
    let _ = socket.send(Message::Close(Some(goodbye))).await;
}

fn too_many_streams(headers: &HeaderMap) -> Response {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "streams_exhausted",
        "Busy",
        "Too many streams are open. Try again in a moment.",
    )
    .retry_after(5)
    .into_response(Representation::wanted_by(headers))
}
