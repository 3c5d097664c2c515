//! Fan-out as most people write it with axum: a task for each connection and one `tokio::sync::broadcast` channel.

use anyhow::Result;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Router, serve};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// More than the largest window, so that nobody lags.
const CHANNEL: usize = 4096;

#[tokio::main]
async fn main() -> Result<()> {
    let hub = broadcast::Sender::<Utf8Bytes>::new(CHANNEL);
    let router = Router::new().route("/ws", get(subscribe)).route("/publish", post(publish)).with_state(hub);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok(); // as the others do; it only costs latency when it fails
    });
    serve(listener, router).await?;
    Ok(())
}

async fn subscribe(State(hub): State<Sender<Utf8Bytes>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| deliver(socket, hub.subscribe()))
}

async fn deliver(mut socket: WebSocket, mut events: Receiver<Utf8Bytes>) {
    if socket.send(Message::text("welcome")).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(text) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            said = socket.recv() => match said {
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

/// One event a line.
async fn publish(State(hub): State<Sender<Utf8Bytes>>, body: String) -> StatusCode {
    for line in body.lines() {
        _ = hub.send(line.into()); // nobody is subscribed: nothing to do
    }
    StatusCode::OK
}
