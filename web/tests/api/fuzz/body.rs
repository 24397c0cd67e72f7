//! Bodies: what the contract asks for, bent.

use serde_json::{Value, json};

use super::chance::Chance;

/// People of these tests: 0700 000 0xx. None is registered before, and none may come back in a refusal.
pub fn phone(chance: &mut Chance) -> String {
    let n = chance.below(100);
    match chance.below(6) {
        0 => format!("07000000{n:02}"),
        1 => format!("+254 (0)700-000-0{n:02}"),
        2 => format!("002547000000{n:02}"),
        _ => format!("+2547000000{n:02}"),
    }
}

/// A valid body for an endpoint, of what the contract names.
pub fn valid(chance: &mut Chance, method: &str, path: &str, n: usize) -> String {
    let purposes = ["registration", "login", "bet", "deposit", "withdrawal", "marketing", "sweep"];
    let purpose = chance.pick(&purposes);
    let body = match (method, path) {
        (_, p) if p.ends_with("/batch/lookup") => {
            let user = |i: u64| json!({"phone": phone(chance), "correlation_id": format!("c{i}")});
            let users: Vec<Value> = (0..3).map(user).collect();
            json!({"purpose": purpose, "users": users})
        }
        (_, p) if p.ends_with("/lookup") => {
            let mut body = json!({"phone": phone(chance), "purpose": purpose, "client_reference": format!("r{n}")});
            if chance.one_in(4) {
                body["names"] = if chance.one_in(2) { json!(["A", "B"]) } else { json!("A B") };
                body["date_of_birth"] = "1990-05-01".into();
            }
            if chance.one_in(3) {
                body["id_number"] = "20000001".into();
                body["id_type"] = (chance.pick(&["national_id", "passport", "alien_id", "nin"])).into();
            }
            body
        }
        (_, "/api/v1/nser/register") => json!({"phone": phone(chance), "period": chance.pick(&["24_hours", "6_months",
            "permanent"]), "reason_class": "self", "channel": "web", "names": ["A", "B"], "county": "KE-30",
            "date_of_birth": "1990-05-01", "verification": {"method": "otp", "reference": "v"}}),
        (_, "/api/v1/operators/exclusions") => {
            json!({"phone": phone(chance), "period": "1_year", "reason_class": "self",
            "channel": "operator"})
        }
        (_, p) if p.ends_with("/refuse") => json!({"reason": chance.pick(&["by_mistake", "withdrawn"])}),
        (_, p) if p.ends_with("/extend") => json!({"period": "5_years"}),
        (_, "/api/v1/operators/register") => json!({"code": format!("op-{n}"), "name": format!("Operator {n}")}),
        ("PATCH", _) => json!({"name": format!("Name {n}"), "state": "active"}),
        (_, p) if p.ends_with("/licence") => json!({"number": format!("L{}", n % 7), "class": "online_betting",
            "products": ["casino"], "conditions": [], "valid_from": "2026-01-01T00:00:00Z", "state": "active"}),
        (_, p) if p.ends_with("/rotate") => json!({"overlap_seconds": 60}),
        (_, p) if p.ends_with("/keys") => json!({"label": "k", "scopes": ["lookup"], "purposes": ["bet"],
            "allow_from": ["127.0.0.0/8"], "rate_per_second": 5, "expires_at": "2036-01-01T00:00:00Z"}),
        (_, "/api/v1/feeds") => {
            json!({"name": format!("s-{}", n % 5), "class": "gaming_transactions", "clock": "event",
            "horizon_days": 30, "expected_interval_seconds": 60, "currency": "KES"})
        }
        (_, p) if p.ends_with("/records") => {
            let lines = (0..1 + chance.below(3)).map(|i| record(chance, n, i).to_string()).collect::<Vec<_>>();
            return if chance.one_in(4) { format!("[{}]", lines.join(",")) } else { lines.join("\n") };
        }
        (_, p) if p.ends_with("/quarantine/replay") => {
            json!({"code": "sign_mismatch", "apply": chance.pick(&["suggestion", "as_sent"]), "limit": 2})
        }
        (_, p) if p.ends_with("/replay") => record(chance, n, 0),
        (_, p) if p.ends_with("/dismiss") => json!({"reason": chance.pick(&["test_data", "unrepairable"])}),
        (_, p) if p.ends_with("/harm-signals") => {
            json!({"phone": phone(chance), "level": chance.pick(&["low", "high"]), "reason": "a relative called"})
        }
        (_, p) if p.ends_with("/release") => json!({"actor": "register"}),
        (_, "/api/v1/links") => json!({"expires_in_seconds": 60}),
        _ => return String::new(),
    };
    body.to_string()
}

fn record(chance: &mut Chance, n: usize, i: u64) -> Value {
    json!({"record_id": format!("r{n}-{i}"), "kind": chance.pick(&["stake", "payout", "login", "adjustment"]),
        "occurred_at": "2026-11-01T10:00:00Z", "money": {"amount_minor": chance.below(1000), "currency": "KES"},
        "player": {"phone": phone(chance)}, "product": "casino", "channel": "online", "bet": {"id": "b", "odds": 1.5},
        "extra": {"msisdn": phone(chance), "x": [1, {"y": null}]}})
}

/// A body changed: as JSON first, as bytes afterwards.
pub fn mutated(chance: &mut Chance, text: &str) -> Vec<u8> {
    let mut text = text.to_owned();
    if let Ok(mut value) = serde_json::from_str::<Value>(&text) {
        for _ in 0..=chance.below(2) {
            bend(chance, &mut value);
        }
        text = value.to_string();
    }
    let mut bytes = match chance.below(14) {
        0 => text.replacen('{', r#"{"purpose":"login","purpose":"bet","phone":"07","phone":"07","#, 1),
        1 => format!("\u{feff}{text}"),
        2 => format!("{}{text}", "[".repeat(chance.below(30_000) as usize)),
        3 => format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200)),
        4 => text.replace("\":", &format!("\":1{}e", "0".repeat(400))),
        5 => format!("{text}{text}"),
        6 => format!(" \r\n\t{text}\u{0}"),
        7 => text.replacen('"', r#""\ud800"#, 1),
        8 => format!("// {text}"),
        9 => text.replace('"', "'"),
        _ => text,
    }
    .into_bytes();
    match chance.below(8) {
        0 => bytes.truncate(chance.below(bytes.len() as u64 + 1) as usize),
        1 => {
            for _ in 0..1 + chance.below(4) {
                let at = chance.below(bytes.len() as u64 + 1) as usize;
                bytes.insert(at, chance.pick(&[0xff, 0xc0, 0x80, 0, b'"', b'{', b']', b'\\', b'\n']));
            }
        }
        2 => bytes = (0..chance.below(300)).map(|_| chance.below(256) as u8).collect(),
        3 => bytes.resize(bytes.len() + chance.below(80_000) as usize, b' '),
        _ => {}
    }
    bytes
}

/// One value of a document, somewhere, is another one, gone or doubled.
fn bend(chance: &mut Chance, value: &mut Value) {
    let deeper = !chance.one_in(3);
    match value {
        Value::Object(members) if !members.is_empty() => {
            let at = chance.below(members.len() as u64) as usize;
            let name = members.keys().nth(at).cloned().unwrap_or_default();
            match (chance.below(8), members.get_mut(&name)) {
                (0, _) => drop(members.remove(&name)),
                (1, _) => drop(members.insert(format!("{name}\u{0}\u{202e}"), json!(1))),
                (_, Some(inner @ (Value::Object(_) | Value::Array(_)))) if deeper => bend(chance, inner),
                (_, Some(inner)) => *inner = junk(chance),
                _ => {}
            }
        }
        Value::Array(items) if !items.is_empty() && deeper => {
            let at = chance.below(items.len() as u64) as usize;
            bend(chance, &mut items[at]);
        }
        other => *other = junk(chance),
    }
}

fn junk(chance: &mut Chance) -> Value {
    let texts = [
        "",
        " ",
        "\u{0}",
        "\u{202e}txet",
        "𝕏é\u{301}",
        "null",
        "-1",
        "1e400",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "+292277026596-12-04T15:30:07Z",
        "2026-02-30",
        "KE-99",
        "0.0.0.0/0",
        "::/129",
        "*",
        "BST-02-00000000000000000000000000000000-0000",
        "../../etc",
        "%00",
        "suspended",
        "lookup",
        "KES",
    ];
    match chance.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(i64::MIN),
        4 => json!(u64::MAX),
        5 => json!(1e308),
        6 => json!([]),
        7 => json!({}),
        8 => json!([[["x"], 1], {"a": [null]}]),
        9 => json!("x".repeat(chance.below(5000) as usize)),
        10 => json!(vec!["a"; chance.below(200) as usize]),
        _ => json!(chance.pick(&texts)),
    }
}

/// A gzip member that stores its content (RFC 1951, section 3.2.4; RFC 1952).
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks: Vec<&[u8]> = if content.is_empty() { vec![content] } else { content.chunks(0xffff).collect() };
    for (i, block) in blocks.iter().enumerate() {
        let length = block.len() as u16;
        out.push(u8::from(i + 1 == blocks.len()));
        out.extend(length.to_le_bytes().into_iter().chain((!length).to_le_bytes()));
        out.extend_from_slice(block);
    }
    let crc = content.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    out.extend((!crc).to_le_bytes().into_iter().chain((content.len() as u32).to_le_bytes()));
    out
}
