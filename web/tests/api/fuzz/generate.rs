//! Requests: an endpoint of the list, a body that it takes, and then something wrong with some of it.

use web::routes::{Endpoint, endpoints};

use super::body::{gzip, mutated, valid};
use super::chance::Chance;
use super::wire::Request;

/// Id of the sound request that follows on the same connection.
pub const FOLLOW_UP: &str = "the-one-behind";

/// What exists on the node, so that not every request ends at the door.
pub struct World {
    /// Bearers that work: of staff, of an operator's key for lookups, of one for feeds.
    pub bearers: Vec<String>,
    /// `(name in a path, id)`
    pub ids: Vec<(&'static str, String)>,
    /// Refused records of the source, more than are settled on the way.
    pub refused: Vec<String>,
}

/// The next request.
pub fn request(chance: &mut Chance, world: &World, n: usize) -> Request {
    let endpoint = endpoint(chance);
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"];
    let method = if chance.one_in(8) { chance.pick(&methods) } else { endpoint.method };
    let mut head = Head { lines: Vec::new(), broken: false };
    let target = target(chance, world, endpoint.path, &mut head);
    let body = body(chance, endpoint.method, endpoint.path, n, &mut head);
    headers(chance, world, endpoint.path, &mut head);

    // the answer to a HEAD or CONNECT ends where a client that knows the method says; upgrades end in frames
    let plain = !matches!(method, "HEAD" | "CONNECT") && endpoint.path != "/ws/dashboards/realtime";
    let followed = plain && !head.broken && chance.one_in(8);
    let stays_open = method == "CONNECT" || head.lines.iter().any(|(name, _)| *name == "upgrade");
    if !followed && !stays_open {
        head.line("connection", b"close");
    }
    let framed = frame(chance, &mut head, body);
    let version = if chance.one_in(50) && !followed { "HTTP/1.0" } else { "HTTP/1.1" };
    // chunks are of HTTP/1.1 (RFC 9112, section 6.1)
    head.broken |= version == "HTTP/1.0" && head.lines.iter().any(|(name, _)| *name == "transfer-encoding");
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend_from_slice(&target);
    bytes.extend_from_slice(format!(" {version}\r\nhost: localhost\r\n").as_bytes());
    for (name, value) in &head.lines {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&framed);
    let followed = followed && !head.broken;
    if followed {
        let next = format!(
            "GET /version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: {FOLLOW_UP}\r\n\r\n"
        );
        bytes.extend_from_slice(next.as_bytes());
    }
    if chance.one_in(60) && !followed {
        head.broken = true;
        break_it(chance, &mut bytes);
    }
    Request {
        method,
        endpoint: endpoint.path,
        bytes,
        broken: head.broken,
        stays_open,
        answers: 1 + usize::from(followed),
    }
}

/// Most write: what only reads has less to lose.
fn endpoint(chance: &mut Chance) -> &'static Endpoint {
    let writes = !chance.one_in(3);
    let all: Vec<&Endpoint> = endpoints().iter().filter(|e| !writes || e.method != "GET").collect();
    chance.pick(&all)
}

struct Head {
    lines: Vec<(&'static str, Vec<u8>)>,
    broken: bool,
}

impl Head {
    fn line(&mut self, name: &'static str, value: &[u8]) {
        // what no header may hold (RFC 9110, section 5.5)
        self.broken |= value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f);
        self.lines.push((name, value.to_vec()));
    }
}

/// Path and query. Whatever is not of RFC 3986 breaks HTTP itself.
fn target(chance: &mut Chance, world: &World, pattern: &str, head: &mut Head) -> Vec<u8> {
    let segments =
        pattern.split('/').map(|segment| match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            Some(name) => id(chance, world, name, pattern),
            None => segment.to_owned(),
        });
    let mut path = segments.collect::<Vec<_>>().join("/");
    match chance.below(60) {
        0 => path.push('/'),
        1 => path = path.replacen('/', "//", 2),
        2 => path.insert_str(0, "/.."),
        3 => path = path.to_uppercase(),
        4 => path = path.replace('a', "%61"),
        5 => path = format!("/{}", path[1..].replacen('/', "%2f", 2)),
        6 => path.insert_str(0, "http://elsewhere.example"),
        7 => path.push_str(";v=1"),
        8 => {
            // of OPTIONS only (RFC 9112, section 3.2.4)
            head.broken = true;
            path = "*".to_owned();
        }
        9 => path.push_str(&"x".repeat(chance.below(60_000) as usize)),
        10 => {
            head.broken = true;
            let junk = [" ", "\u{e9}", "\"", "<", "\\", "#", "%zz", "%", "\0", "{id}", "^", "`"];
            path.push_str(chance.pick(&junk));
        }
        11 => {
            // longer than any server takes: 414 of HTTP itself
            head.broken = true;
            path.push_str(&"x".repeat(140_000));
        }
        _ => {}
    }
    let query = [
        "limit=2",
        "limit=0",
        "limit=99999999999999999999",
        "limit=-1",
        "cursor=x",
        "cursor=%00",
        "cursor=%ff%fe",
        "limit=1&limit=1",
        "code=fuzz",
        "dry_run=true",
        "dry_run=maybe",
        "purpose=bet",
        "purpose=",
        "purpose=%F0%9F",
        "t=x",
        "t=",
        "a=b",
        "&&=",
        "=",
        "%",
        "limit",
        "limit=1&cursor=exc_00000000000000000000000000",
    ];
    if chance.one_in(3) {
        path.push('?');
        path.push_str(chance.pick(&query));
        head.broken |= path.ends_with('%');
    }
    path.into_bytes()
}

/// An id that exists, or nearly.
fn id(chance: &mut Chance, world: &World, name: &str, pattern: &str) -> String {
    let name = match name {
        "id" if pattern.starts_with("/api/v1/operators") => "operator",
        "id" if pattern.starts_with("/api/v1/nser") => "exclusion",
        "id" if pattern.starts_with("/api/v1/feeds") => "quarantined",
        "token" => "bst",
        other => other,
    };
    let known = match name {
        "quarantined" => world.refused.clone(),
        _ => world.ids.iter().filter(|(n, _)| *n == name).map(|(_, id)| id.clone()).collect(),
    };
    let id = if known.is_empty() {
        "alr_00000000000000000000000000".to_owned()
    } else {
        known[chance.below(known.len() as u64) as usize].clone()
    };
    match chance.below(24) {
        0 => id.to_uppercase(),
        1 => id[..id.len() / 2].to_owned(),
        2 => format!("{id}0"),
        3 => id.replacen('_', "%5F", 1),
        4 => "%00".to_owned(),
        5 => "..%2f..".to_owned(),
        6 => "%ff%fe".to_owned(),
        7 => "%E2%80%AE".to_owned(),
        8 => "a".repeat(chance.below(5000) as usize),
        9 => "0".repeat(39),
        10 => world.ids[chance.below(world.ids.len() as u64) as usize].1.clone(),
        _ => id,
    }
}

fn body(chance: &mut Chance, method: &str, path: &str, n: usize, head: &mut Head) -> Vec<u8> {
    let text = valid(chance, method, path, n);
    let mut body = match chance.below(10) {
        0..4 => text.into_bytes(),
        4 if chance.one_in(2) => Vec::new(),
        _ => mutated(chance, &text),
    };
    match chance.below(40) {
        0 | 1 => {
            body = gzip(&body);
            head.line("content-encoding", b"gzip");
        }
        2 => head.line("content-encoding", b"gzip"),
        3 => {
            body = gzip(&body);
            body.truncate(chance.below(body.len() as u64) as usize);
            head.line("content-encoding", b"gzip");
        }
        4 => {
            head.line(
                "content-encoding",
                chance.pick(&[&b"br"[..], b"junk", b"identity", b"gzip, gzip", b"\xff", b""]),
            );
        }
        _ => {}
    }
    body
}

/// A header of a handshake: its name, its right value and wrong ones.
type Step = (&'static str, &'static [u8], &'static [&'static [u8]]);

fn headers(chance: &mut Chance, world: &World, path: &str, head: &mut Head) {
    authorization(chance, world, path, head);
    let types: [&[u8]; 8] = [
        b"text/plain",
        b"application/json; charset=utf-8",
        b"APPLICATION/JSON",
        b"\xff\xfe",
        b"",
        b"multipart/form-data",
        b"application/x-ndjson",
        b"application/json;;;=",
    ];
    match chance.below(6) {
        0 => {}
        1 => head.line("content-type", chance.pick(&types)),
        _ if path.ends_with("/records") => head.line("content-type", b"application/x-ndjson"),
        _ => head.line("content-type", b"application/json"),
    }
    let long = vec![b'z'; 300];
    let others: [(&str, &[&[u8]]); 11] = [
        ("accept", &[b"*/*", b"application/x-ndjson", b"\xff", b"", b"text/html;q=9"]),
        ("accept-encoding", &[b"gzip", b"br;q=1.0, *;q=0", b"junk"]),
        ("x-request-id", &[b"mine-1", b"", b"\xe9\xe9", b"a b", b"'\"><", &long]),
        ("idempotency-key", &[b"one", b"two", b"", b"\xe9", b"a b", &long]),
        ("range", &[b"bytes=0-1", b"bytes=-", b"bytes=9-1,2-", b"junk"]),
        ("if-match", &[b"\"1\"", b"*", b"\"99999999999\"", b"W/\"1\"", b"\"", b"\xff", b""]),
        ("traceparent", &[b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"00---", b"\xff-\xff", b"-"]),
        ("cookie", &[b"mlinzi=x", b"=", b";;;", b"\xff=\xff", &long]),
        ("origin", &[b"http://localhost", b"null", b"\xff"]),
        ("expect", &[b"100-continue"]),
        ("x-forwarded-for", &[b"10.0.0.1", b"::1, junk", b"\xff"]),
    ];
    for (name, values) in others {
        if chance.one_in(6) {
            head.line(name, chance.pick(values));
        }
    }
    if path.starts_with("/ws/") && !chance.one_in(4) {
        let steps: [Step; 4] = [
            ("upgrade", b"websocket", &[b"WebSocket", b"h2c", b"\xff"]),
            ("sec-websocket-version", b"13", &[b"12", b"x"]),
            ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==", &[b"x", b""]),
            ("sec-websocket-protocol", b"mlinzi.v1", &[b"mlinzi.v1, x", b"x", b"\xff"]),
        ];
        head.line("connection", b"upgrade");
        for (name, right, wrong) in steps {
            head.line(name, if chance.one_in(8) { chance.pick(wrong) } else { right });
        }
    }
    if chance.one_in(80) {
        head.line("x-junk", chance.pick(&[&b"a\0b"[..], b"a\x07b", b"\x7f"]));
    }
}

fn authorization(chance: &mut Chance, world: &World, path: &str, head: &mut Head) {
    let fitting = match path {
        _ if chance.one_in(8) => chance.below(world.bearers.len() as u64) as usize,
        p if p.ends_with("/dismiss") => 0,
        p if p.starts_with("/api/v1/feeds") => 2,
        p if p.starts_with("/api/v1/operators/") && p.contains("lookup") => 1,
        _ => 0,
    };
    let bearer = world.bearers[fitting].clone();
    let sent = match chance.below(70) {
        0 => return,
        1 => bearer.as_bytes()[..bearer.len() / 2].to_vec(),
        2 => format!("{bearer}x").into_bytes(),
        3 => bearer.to_uppercase().into_bytes(),
        4 => b"\xff\xfe\xfd".to_vec(),
        5 => b"mk_live_".repeat(60),
        6 => b"mk_live_\xc3\xa4\xc3\xb6_x".to_vec(),
        _ => bearer.into_bytes(),
    };
    let scheme: &[u8] =
        if chance.one_in(40) { chance.pick(&[&b"Basic "[..], b"", b"Bearer", b"bearer   "]) } else { b"Bearer " };
    head.line("authorization", &[scheme, &sent].concat());
    if chance.one_in(60) {
        head.line("authorization", b"Bearer second");
    }
}

/// Content-Length, or chunks; sometimes a lie.
fn frame(chance: &mut Chance, head: &mut Head, body: Vec<u8>) -> Vec<u8> {
    let length = body.len().to_string();
    match chance.below(40) {
        0..4 => {
            head.line("transfer-encoding", b"chunked");
            let mut out = Vec::new();
            for part in body.chunks(1 + chance.below(5000) as usize) {
                out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                out.extend_from_slice(part);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
            out
        }
        4 => {
            head.broken = true;
            head.line("content-length", (body.len() + 1 + chance.below(100) as usize).to_string().as_bytes());
            body
        }
        5 => {
            head.broken = true;
            let lies: [&[u8]; 6] = [b"-1", b"99999999999999999999", b"+1", b"1,1", b"x", b"0x10"];
            head.line("content-length", chance.pick(&lies));
            body
        }
        6 => {
            head.broken = true;
            head.line("content-length", length.as_bytes());
            head.line("transfer-encoding", b"chunked");
            body
        }
        7 => {
            head.broken = true;
            head.line(
                "transfer-encoding",
                chance.pick(&[&b"chunked"[..], b"xchunked", b"gzip, chunked", b"chunked, x"]),
            );
            body
        }
        _ => {
            head.line("content-length", length.as_bytes());
            body
        }
    }
}

/// Bytes of the head that no longer are HTTP.
fn break_it(chance: &mut Chance, bytes: &mut Vec<u8>) {
    match chance.below(4) {
        0 => bytes.truncate(chance.below(bytes.len() as u64) as usize),
        1 => *bytes = (0..chance.below(2000)).map(|_| chance.below(256) as u8).collect(),
        2 => {
            let at = chance.below(bytes.len().min(200) as u64) as usize;
            bytes.insert(at, chance.pick(&[0, b'\r', b'\n', b' ', 0xff, b':']));
        }
        _ => bytes.splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").for_each(drop),
    }
}
