//! An HTTP peer that does as it is told, down to the bytes on the wire: what no well-behaved server library would send.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes of a request at most.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Path with its query.
    pub path: String,
    head: Vec<(String, String)>,
}

impl Asked {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the peer does.
pub enum Reply {
    /// Answers, with its length.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Sends these bytes and hangs up.
    Raw(Vec<u8>),
    /// Never says anything.
    Silence,
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Answer(200, Vec::new(), body.into())
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Vec::new())
    }

    /// With a header.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Answer(status, mut head, body) => {
                head.push((name, value.into()));
                Self::Answer(status, head, body)
            }
            other => other,
        }
    }
}

/// A listening peer; ends with its value.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answers = dyn Fn(&Asked) -> Reply + Send + Sync;

impl Peer {
    /// Answers every request on the loopback.
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, noted): (Arc<Answers>, _) = (Arc::new(answer), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                // a caller that hangs up is none of the peer's business
                tokio::spawn(async move { serve(stream, &*answer, &noted).await.ok() });
            }
        });
        Self { address, asked, task }
    }

    /// The address of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a peer's list").clone()
    }
}

async fn serve(mut stream: TcpStream, answer: &Answers, noted: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    loop {
        let Some(request) = read(&mut stream).await? else { return Ok(()) };
        let reply = answer(&request);
        noted.lock().expect("a peer's list").push(request);
        match reply {
            Reply::Answer(status, head, body) => {
                let mut bytes = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len()).into_bytes();
                for (name, value) in head {
                    bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
                bytes.extend_from_slice(b"\r\n");
                bytes.extend_from_slice(&body);
                stream.write_all(&bytes).await?;
            }
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}

/// A request without a body; none where the caller hung up.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let byte = match stream.read_u8().await {
            Ok(byte) => byte,
            Err(_) => return Ok(None),
        };
        bytes.push(byte);
        assert!(bytes.len() <= REQUEST_BYTES_MAX, "a request without an end");
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let header = |line: &str| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
    Ok(Some(Asked { path, head: lines.filter_map(header).collect() }))
}
