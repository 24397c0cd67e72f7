//! A screen: a WebSocket on the live stream that notes when each frame came.

use crate::node::Node;
use anyhow::Context;
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

/// An open socket.
pub struct Screen(WebSocketStream<TcpStream>);

impl Screen {
    /// Opens one as staff and subscribes.
    pub async fn open(node: &Node, topics: &[String]) -> anyhow::Result<Self> {
        let mut request = format!("ws://{}/ws/dashboards/realtime", node.address).into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Authorization", HeaderValue::from_str(&format!("Bearer {}", node.staff))?);
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(models::live::SUBPROTOCOL));
        let stream = TcpStream::connect(node.address).await?;
        stream.set_nodelay(true)?;
        let (mut socket, _) = client_async(request, stream).await?;
        let subscribe = json!({"type": "subscribe", "topics": topics}).to_string();
        socket.send(Message::text(subscribe)).await?;
        Ok(Self(socket))
    }

    /// The next frame and when it came.
    pub async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<(Instant, T)> {
        loop {
            match self.0.next().await.context("the server closed the socket")?? {
                Message::Text(text) => {
                    let at = Instant::now();
                    return Ok((at, serde_json::from_str(&text)?));
                }
                Message::Close(frame) => anyhow::bail!("the server closed the socket: {frame:?}"),
                _ => {}
            }
        }
    }
}
