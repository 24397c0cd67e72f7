//! Thousands of screens on one thread, each costing the loader a read and a look for the offset.

use crate::node::Node;
use anyhow::Context;
use futures_util::{StreamExt, stream};
use models::live::SUBPROTOCOL;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Handshakes under way at the same time.
const OPENING: usize = 256;
/// Bytes read at once.
const READ: usize = 64 << 10;

/// Takes as many open files as the system lets this process have.
pub fn raise_files() -> anyhow::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    Ok(most.unwrap_or(u64::MAX))
}

/// A text as a client sends it: masked with zeros.
pub fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// A text as a server sends it.
pub fn framed(text: &str) -> Vec<u8> {
    let mut frame = masked(text);
    frame[1] &= 0x7f;
    let head = if text.len() < 126 { 2 } else { 4 };
    frame.drain(head..head + 4);
    frame
}

/// Tries of a handshake that an overloaded node turns away.
const TRIES: usize = 30;

/// One socket as staff, open and subscribed. `receive_bytes` bounds what its kernel takes for who does not read. Where the
/// node says that it is overloaded, this comes again when it says.
pub async fn open(node: &Node, say: &str, receive_bytes: Option<u32>) -> anyhow::Result<TcpStream> {
    for _ in 0..TRIES {
        if let Some(stream) = open_once(node, say, receive_bytes).await? {
            return Ok(stream);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    anyhow::bail!("the node was overloaded {TRIES} times")
}

async fn open_once(node: &Node, say: &str, receive_bytes: Option<u32>) -> anyhow::Result<Option<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let mut stream = socket.connect(node.address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET /ws/dashboards/realtime HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n",
        node.address, node.staff
    );
    stream.write_all(head.as_bytes()).await?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    // byte by byte: what follows the head is the seat's
    while !answer.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(stream.read(&mut byte).await? == 1, "the server closed the connection");
        answer.push(byte[0]);
    }
    if answer.starts_with(b"HTTP/1.1 503") {
        return Ok(None);
    }
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(&masked(say)).await?;
    Ok(Some(stream))
}

/// Many sockets, opened a few hundred at a time.
pub async fn open_all(
    node: &Node,
    count: usize,
    say: &str,
    receive_bytes: Option<u32>,
) -> anyhow::Result<Vec<TcpStream>> {
    let opening = stream::iter(0..count).map(|_| open(node, say, receive_bytes)).buffer_unordered(OPENING);
    opening.collect::<Vec<_>>().await.into_iter().collect()
}

/// Plain connections.
pub async fn connect_all(address: SocketAddr, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let connecting = stream::iter(0..count).map(|_| TcpStream::connect(address)).buffer_unordered(OPENING);
    Ok(connecting.collect::<Vec<_>>().await.into_iter().collect::<Result<_, _>>()?)
}

/// Who got a step of a topic, and when.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// How many.
    pub seen: usize,
    first: Instant,
    last: Instant,
}

impl Spread {
    /// From the first client that had it to the last.
    pub fn time(&self) -> Duration {
        self.last.duration_since(self.first)
    }
}

/// What hears each text: from which seat, when it came, and what it says.
pub type Hook = Box<dyn FnMut(usize, Instant, &str)>;

/// What a crowd has seen.
#[derive(Default)]
pub struct Seen {
    /// By offset, deltas of the topic that is looked at.
    pub steps: RefCell<BTreeMap<u64, Spread>>,
    /// The newest frame of it.
    pub sample: RefCell<String>,
    /// Frames by type.
    pub kinds: RefCell<BTreeMap<String, usize>>,
    /// Called with each text and when it came, if set.
    pub hook: RefCell<Option<Hook>>,
    /// Sockets that ended.
    pub ended: Cell<usize>,
}

/// The value of a field that is a short text or a number, found without parsing the frame.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(&format!("\"{name}\":"))? + name.len() + 3;
    let rest = text[at..].trim_start_matches('"');
    rest.split(['"', ',', '}']).next()
}

impl Seen {
    fn text(&self, seat: usize, at: Instant, text: &str, topic: &str) {
        let kind = field(text, "type").unwrap_or_default();
        {
            let mut kinds = self.kinds.borrow_mut();
            match kinds.get_mut(kind) {
                Some(count) => *count += 1,
                None => drop(kinds.insert(kind.to_owned(), 1)),
            }
        }
        if kind == "delta" && field(text, "topic") == Some(topic) {
            let offset = field(text, "offset").and_then(|n| n.parse().ok()).unwrap_or_default();
            let mut steps = self.steps.borrow_mut();
            let step = steps.entry(offset).or_insert_with(|| {
                text.clone_into(&mut self.sample.borrow_mut());
                Spread { seen: 0, first: at, last: at }
            });
            (step.seen, step.last) = (step.seen + 1, at);
        }
        if let Some(hook) = self.hook.borrow_mut().as_mut() {
            hook(seat, at, text);
        }
    }

    /// How many frames of a type came.
    pub fn count(&self, kind: &str) -> usize {
        self.kinds.borrow().get(kind).copied().unwrap_or_default()
    }
}

/// Sockets that read, until it is dropped.
pub struct Crowd {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// What came.
    pub seen: Rc<Seen>,
}

impl Crowd {
    /// Reads everything that comes and notes the steps of one topic.
    pub fn new(streams: Vec<TcpStream>, topic: &str) -> Self {
        let seen = Rc::new(Seen::default());
        let buffer = Rc::new(RefCell::new(vec![0; READ]));
        let tasks = streams.into_iter().enumerate().map(|(seat, stream)| {
            let (seen, buffer, topic) = (Rc::clone(&seen), Rc::clone(&buffer), topic.to_owned());
            tokio::task::spawn_local(async move {
                let mut left = Vec::new();
                while stream.readable().await.is_ok() {
                    let mut buffer = buffer.borrow_mut();
                    match stream.try_read(&mut buffer) {
                        Ok(0) => break,
                        Ok(n) => take(&mut left, &buffer[..n], |text| seen.text(seat, Instant::now(), text, &topic)),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
                seen.ended.set(seen.ended.get() + 1);
            })
        });
        Self { tasks: tasks.collect(), seen }
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, time: Duration, is_so: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while !is_so(&self.seen) {
            let state = || format!("{what}: {:?}, {} ended", self.seen.kinds.borrow(), self.seen.ended.get());
            anyhow::ensure!(Instant::now() < end, "{}", state());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Takes whole frames out of what came and keeps the rest.
pub fn take(left: &mut Vec<u8>, came: &[u8], mut each: impl FnMut(&str)) {
    let joined;
    let mut bytes = if left.is_empty() {
        came
    } else {
        left.extend_from_slice(came);
        joined = std::mem::take(left);
        &joined[..]
    };
    while let Some((opcode, payload, rest)) = frame(bytes) {
        if opcode == 1 {
            each(std::str::from_utf8(payload).unwrap_or_default());
        }
        bytes = rest;
    }
    left.extend_from_slice(bytes);
}

/// Opcode, payload and what follows, once a frame is whole.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(head..head + length)?;
    Some((bytes[0] & 15, payload, &bytes[head + length..]))
}

/// A figure of `/metrics`.
pub async fn metric(node: &Node, name: &str) -> anyhow::Result<f64> {
    let mut connection = node.connect().await?;
    let answer = connection.send(&crate::wire::Head::new("GET", "/metrics", &node.staff, "text/plain"), b"").await?;
    let text = String::from_utf8_lossy(answer.body).into_owned();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    let status = answer.status;
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .with_context(|| format!("no figure {name} in an answer {status} of {} bytes", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let texts = ["a".to_owned(), "b".repeat(200), String::new(), "c".repeat(70_000)];
        let mut bytes: Vec<u8> = texts[..3].iter().flat_map(|text| framed(text)).collect();
        bytes.extend([0x81, 127]);
        bytes.extend(70_000u64.to_be_bytes());
        bytes.extend(texts[3].as_bytes());
        for size in [1, 2, 3, 7, 100, 1 << 20] {
            let (mut left, mut found) = (Vec::new(), Vec::new());
            bytes.chunks(size).for_each(|part| take(&mut left, part, |text| found.push(text.to_owned())));
            assert_eq!((found, left.len()), (texts.to_vec(), 0), "{size}");
        }
    }

    #[test]
    fn fields_are_found_without_parsing() {
        let text = r#"{"type":"delta","topic":"region:KE-30","offset":12,"data":{}}"#;
        assert_eq!(
            ["type", "topic", "offset"].map(|name| field(text, name)),
            [Some("delta"), Some("region:KE-30"), Some("12")]
        );
    }
}
