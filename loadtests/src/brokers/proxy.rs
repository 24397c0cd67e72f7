//! A way to a server that breaks on demand: connections through it are cut at once, or in the middle of an answer.

use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// What goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Bytes as they are.
    Plain,
    /// Kafka's frames: where a broker names its own address, the proxy's stands in its place, or nobody would come again.
    Kafka,
}

/// Bytes of a frame at most.
const FRAME_MAX: usize = 64 << 20;

struct Shared {
    upstream: SocketAddr,
    own: SocketAddr,
    way: Way,
    /// Grows with every cut.
    cuts: watch::Sender<u64>,
    /// Bytes of answers that may still pass; negative: as many as come.
    budget: AtomicI64,
    closed: AtomicBool,
    passed: AtomicU64,
}

/// A proxy on a thread of its own, so that a busy test does not hold it up.
pub struct Proxy {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one before `upstream`, which need not be there yet.
    ///
    /// # Errors
    /// No port, no thread.
    pub fn start(upstream: SocketAddr, way: Way) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            upstream,
            own: listener.local_addr()?,
            way,
            cuts: watch::Sender::new(0),
            budget: AtomicI64::new(-1),
            closed: AtomicBool::new(false),
            passed: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = {
            let shared = Arc::clone(&shared);
            let run = move || runtime.block_on(serve(listener, shared, stopped));
            std::thread::Builder::new().name("proxy".into()).spawn(run).context("a thread for the proxy")?
        };
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.shared.own
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends every connection once so many more bytes of answers have passed: most likely in the middle of one.
    pub fn cut_after(&self, bytes: u32) {
        self.shared.budget.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Cuts made.
    pub fn cuts(&self) -> u64 {
        *self.shared.cuts.borrow()
    }

    /// Lets no new connection through, or does so again.
    pub fn close(&self, closed: bool) {
        self.shared.closed.store(closed, Ordering::SeqCst);
        if closed {
            self.cut();
        }
    }

    /// Bytes of answers that have passed.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => if let Ok((client, _)) = accepted && !shared.closed.load(Ordering::SeqCst) {
                tokio::spawn(connection(client, Arc::clone(&shared)));
            },
        }
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let Ok(server) = TcpStream::connect(shared.upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        match shared.way {
            Way::Plain => {
                let mut buffer = vec![0; 64 << 10];
                loop {
                    let read = from_server.read(&mut buffer).await?;
                    if read == 0 || !shared.pass(&buffer[..read], &mut to_client).await? {
                        return std::io::Result::Ok(());
                    }
                }
            }
            Way::Kafka => loop {
                let length = from_server.read_u32().await?;
                let mut frame = length.to_be_bytes().to_vec();
                frame.resize(4 + (length as usize).min(FRAME_MAX), 0);
                from_server.read_exact(&mut frame[4..]).await?;
                shared.readdress(&mut frame);
                if !shared.pass(&frame, &mut to_client).await? {
                    return Ok(());
                }
            },
        }
    };
    // whichever ends first ends the connection
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = cuts.changed() => {}
    }
}

impl Shared {
    /// Forwards an answer; false where it was cut in its middle.
    async fn pass(&self, bytes: &[u8], client: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<bool> {
        let budget = self.budget.load(Ordering::SeqCst);
        let all = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let whole = budget < 0 || budget > all;
        let part = if whole { bytes } else { &bytes[..usize::try_from(budget).unwrap_or(0)] };
        if budget >= 0 {
            self.budget.store(if whole { budget - all } else { -1 }, Ordering::SeqCst);
        }
        client.write_all(part).await?;
        client.flush().await?;
        self.passed.fetch_add(part.len() as u64, Ordering::SeqCst);
        if !whole {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
        Ok(whole)
    }

    /// Replaces the broker's host and port in an answer of its metadata; both stand there as bytes of fixed length.
    fn readdress(&self, frame: &mut [u8]) {
        let place = |address: SocketAddr| {
            [address.ip().to_string().as_bytes(), &u32::from(address.port()).to_be_bytes()].concat()
        };
        let (broker, own) = (place(self.upstream), place(self.own));
        let mut at = 0;
        while let Some(found) = frame[at..].windows(broker.len()).position(|window| window == broker) {
            frame[at + found..][..own.len()].copy_from_slice(&own);
            at += found + own.len();
        }
    }
}
