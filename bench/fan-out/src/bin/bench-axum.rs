//! Fan-out as most people write it with axum: a task for each connection, a `tokio::sync::broadcast` channel for each topic.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Router, serve};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Sender};

/// More than the largest window, so that nobody lags.
const CHANNEL: usize = 4096;

/// The channel of each topic.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<HashMap<String, Sender<Utf8Bytes>>>>);

impl Hub {
    fn topic(&self, name: &str) -> Sender<Utf8Bytes> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return topic.clone();
        }
        topics.entry(name.to_owned()).or_insert_with(|| broadcast::Sender::new(CHANNEL)).clone()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let router = Router::new().route("/", get(upgrade)).with_state(Hub::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok(); // as the others do; it only costs latency when it fails
    });
    serve(listener, router).await?;
    Ok(())
}

async fn upgrade(State(hub): State<Hub>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| talk(socket, hub))
}

/// Publishes what begins with `p:`, until it is asked to subscribe.
async fn talk(mut socket: WebSocket, hub: Hub) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        if let Some(name) = text.strip_prefix("s:") {
            let topic = hub.topic(name);
            return deliver(socket, topic).await;
        }
        let Some((topic, payload)) = text.strip_prefix("p:").and_then(|rest| rest.split_once(':')) else { return };
        _ = hub.topic(topic).send(payload.into()); // nobody is subscribed: nothing to do
    }
}

async fn deliver(mut socket: WebSocket, topic: Sender<Utf8Bytes>) {
    let mut events = topic.subscribe();
    drop(topic);
    if socket.send(Message::text("ok")).await.is_err() {
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
