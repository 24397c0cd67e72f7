//! The floor under a fan-out: a loop that writes prepared bytes to raw sockets, in a process of its own.
//!
//! Its first line of input is how many connections to take; it says its port. Then each line is a text, which it writes to
//! all of them as one frame, and says `done`.

use crate::crowd::{framed, raise_files};
use anyhow::Context;
use std::io::{BufRead, Write};
use std::net::TcpListener;

/// Connections that may wait to be taken: all that come at once.
const BACKLOG: i32 = 4_096;

/// Runs until the input ends.
pub fn run() -> anyhow::Result<()> {
    raise_files()?;
    let (mut lines, mut out) = (std::io::stdin().lock().lines(), std::io::stdout());
    let count: usize = lines.next().context("how many connections")??.trim().parse()?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    // one that finds no place is open for its client, and unknown here for good
    rustix::net::listen(&listener, BACKLOG)?;
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    for line in lines {
        let frame = framed(&line?);
        for stream in &mut streams {
            stream.write_all(&frame)?;
        }
        writeln!(out, "done")?;
        out.flush()?;
    }
    Ok(())
}
