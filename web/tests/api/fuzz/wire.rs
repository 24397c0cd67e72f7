//! HTTP/1.1 as bytes: a client library would not send most of what is sent here.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, ready to be sent.
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// Path of the list of endpoints that it was made of.
    pub endpoint: &'static str,
    /// Head and body.
    pub bytes: Vec<u8>,
    /// HTTP itself is broken: the server may answer without a problem, or hang up.
    pub broken: bool,
    /// The connection may outlive the answer: an upgrade, a tunnel.
    pub stays_open: bool,
    /// Answers that must come: one, or two where a sound request follows on the same connection.
    pub answers: usize,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Heard {
    /// Status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Content, without its framing.
    pub body: Vec<u8>,
}

impl Heard {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// Sends a request on a connection of its own and reads whatever comes back until the server closes.
///
/// # Errors
/// What went wrong: nothing came in time, or what came is not HTTP.
pub async fn send(address: SocketAddr, request: &Request) -> Result<Vec<Heard>, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|e| format!("no connection: {e}"))?;
    let (mut reader, mut writer) = stream.split();
    let write = async {
        // a server that has answered need not read the rest
        let _ = writer.write_all(&request.bytes).await;
        if request.broken {
            let _ = writer.shutdown().await;
        }
    };
    let read = async {
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; 16 * 1024]);
        // a reset behind a whole answer is no news
        while let Ok(count @ 1..) = reader.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..count]);
            if request.stays_open && parse(&bytes, false).is_ok() {
                break;
            }
        }
        bytes
    };
    let both = async { tokio::join!(write, read).1 };
    let bytes = timeout(PATIENCE, both).await.map_err(|_| "no end of the answer in 30 s".to_owned())?;
    let mut rest = bytes.as_slice();
    let mut heard = Vec::new();
    while !rest.is_empty() {
        let is_head = heard.is_empty() && request.method == "HEAD";
        let (answer, behind) = parse(rest, is_head)?;
        rest = behind;
        // 100 Continue is no answer yet
        if answer.status != 100 {
            heard.push(answer);
        }
    }
    Ok(heard)
}

/// The first answer of what came, and the rest.
fn parse(bytes: &[u8], is_head: bool) -> Result<(Heard, &[u8]), String> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("a head without an end")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
    let status: u16 = status.ok_or("no status line")?;
    let headers: Option<Vec<(String, String)>> = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())))
        .collect();
    let mut heard = Heard { status, headers: headers.ok_or("a header without a colon")?, body: Vec::new() };
    let behind = &bytes[end + 4..];
    if is_head || matches!(status, 100..=199 | 204 | 304) {
        return Ok((heard, if status == 101 { &[] } else { behind }));
    }
    if heard.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        let rest = chunks(behind, &mut heard.body)?;
        return Ok((heard, rest));
    }
    let length = heard.header("content-length");
    let length = if length.is_empty() { behind.len() } else { length.parse().map_err(|_| "a length of no number")? };
    let (body, rest) = behind.split_at_checked(length).ok_or("a body shorter than its length")?;
    heard.body = body.to_vec();
    Ok((heard, rest))
}

fn chunks<'b>(mut bytes: &'b [u8], body: &mut Vec<u8>) -> Result<&'b [u8], String> {
    loop {
        let line = bytes.windows(2).position(|w| w == b"\r\n").ok_or("a chunk without its size")?;
        let size = std::str::from_utf8(&bytes[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or("a chunk's size that is no number")?;
        let (chunk, rest) = bytes[line + 2..].split_at_checked(size).ok_or("a chunk that is too short")?;
        body.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n").ok_or("a chunk without its end")?;
        if size == 0 {
            return Ok(bytes);
        }
    }
}
