//! An HTTP/1.1 connection that costs the loader next to nothing.
//!
//! A client of a library spends more on a request than the server under load does, and shares its machine: the ratio
//! to a bare handler would flatter. This one writes a prepared head and a body, and reads an answer of known length.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// Largest head of an answer, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Largest body of an answer, bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Everything of a request but its body.
#[derive(Clone, Debug)]
pub struct Head(String);

impl Head {
    /// A request with a body, or with an empty one.
    pub fn new(method: &str, path: &str, bearer: &str, content_type: &str) -> Self {
        Self(format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {bearer}\r\nContent-Type: {content_type}\r\nContent-Length: "
        ))
    }

    /// A POST of JSON.
    pub fn json(path: &str, bearer: &str) -> Self {
        Self::new("POST", path, bearer, "application/json")
    }
}

/// What a connection speaks over.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    async fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => stream.write_all(bytes).await,
        }
    }

    async fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into).await,
            Self::Tls(stream) => stream.read(into).await,
        }
    }
}

/// Where a server is, and how it is spoken to.
#[derive(Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// Over TLS, with these roots.
    pub tls: Option<TlsConnector>,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// One kept connection.
pub struct Connection {
    stream: Stream,
    out: Vec<u8>,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer; the body lies in the connection's buffer.
pub struct Answer<'a> {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(self.body).map_err(Error::other)
    }
}

impl Connection {
    /// Connects.
    pub async fn open(target: impl Into<Target>) -> Result<Self> {
        let target = target.into();
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let stream = match target.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let name = ServerName::try_from("localhost").map_err(Error::other)?;
                Stream::Tls(Box::new(tls.connect(name, stream).await?))
            }
        };
        Ok(Self { stream, out: Vec::new(), buffer: vec![0; 4_096], filled: 0 })
    }

    /// Sends everything of a request: when this returns, its last byte is with the kernel.
    pub async fn write(&mut self, head: &Head, body: &[u8]) -> Result<()> {
        use std::io::Write as _;
        self.out.clear();
        self.out.extend_from_slice(head.0.as_bytes());
        write!(self.out, "{}\r\n\r\n", body.len())?;
        if body.len() < 16 << 10 {
            self.out.extend_from_slice(body);
            return self.stream.write_all(&self.out).await;
        }
        self.stream.write_all(&self.out).await?;
        self.stream.write_all(body).await
    }

    /// Reads the answer to what was written.
    pub async fn read(&mut self) -> Result<Answer<'_>> {
        self.filled = 0;
        let head_end = loop {
            if let Some(end) = find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break end + 4;
            }
            if self.filled >= HEAD_BYTES_MAX {
                return Err(Error::new(ErrorKind::InvalidData, "the head of the answer does not end"));
            }
            self.more().await?;
        };
        let head = &self.buffer[..head_end];
        let bad = || Error::new(ErrorKind::InvalidData, "the head of the answer is not understood");
        let status = head.get(9..12).and_then(|s| std::str::from_utf8(s).ok()?.parse().ok()).ok_or_else(bad)?;
        let length = content_length(head).filter(|n| *n <= BODY_BYTES_MAX).ok_or_else(bad)?;
        if self.buffer.len() < head_end + length {
            self.buffer.resize(head_end + length, 0);
        }
        while self.filled < head_end + length {
            self.more().await?;
        }
        Ok(Answer { status, body: &self.buffer[head_end..head_end + length] })
    }

    /// Sends and reads.
    pub async fn send(&mut self, head: &Head, body: &[u8]) -> Result<Answer<'_>> {
        self.write(head, body).await?;
        self.read().await
    }

    /// Sends, and takes only a 2xx answer.
    pub async fn must(&mut self, head: &Head, body: &[u8]) -> anyhow::Result<serde_json::Value> {
        let answer = self.send(head, body).await?;
        let text = || String::from_utf8_lossy(answer.body).into_owned();
        anyhow::ensure!((200..300).contains(&answer.status), "{}: {}", answer.status, text());
        Ok(answer.json()?)
    }

    async fn more(&mut self) -> Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            n => {
                self.filled += n;
                Ok(())
            }
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head.lines().find(|line| line.len() > 15 && line[..15].eq_ignore_ascii_case("content-length:"))?;
    line[15..].trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_answer_in_pieces_is_one_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 4_096];
            let n = stream.read(&mut seen).await.unwrap();
            for piece in ["HTTP/1.1 201 Cre", "ated\r\ncontent-LENGTH: 11\r\n", "\r\n{\"a\":", "\"bcd\"}"] {
                stream.write_all(piece.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            String::from_utf8(seen[..n].to_vec()).unwrap()
        });
        let mut connection = Connection::open(address).await.unwrap();
        let answer = connection.send(&Head::json("/x", "key"), b"{}").await.unwrap();
        assert_eq!((answer.status, answer.body), (201, &b"{\"a\":\"bcd\"}"[..]));
        assert!(server.await.unwrap().ends_with("Content-Length: 2\r\n\r\n{}"));
    }
}
