//! What third parties send: records with every field of the contract, made once and stamped with ids and times as they go.

use crate::driver::together;
use crate::node::{Feed, Node, text};
use crate::wire::Head;
use models::ts::Ts;
use serde_json::json;

/// Digits of a record id.
const ID_DIGITS: usize = 20;
/// Bytes of a time.
const TIME_BYTES: usize = 24;

/// SplitMix64 (Steele et al. 2014): repeatable chance.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly below `n`, as far as a modulus is even.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n.max(1)
    }
}

/// A Kenyan mobile number of nobody.
pub fn phone(n: u64) -> String {
    format!("07{:08}", 10_000_000 + n % 80_000_000)
}

/// A registration for a year.
pub fn registration(n: u64, body: &mut Vec<u8>) {
    body.extend_from_slice(
        format!(r#"{{"phone":"{}","period":"1_year","reason_class":"self","channel":"web"}}"#, phone(n)).as_bytes(),
    );
}

/// A lookup by phone.
pub fn lookup(n: u64, purpose: &str, body: &mut Vec<u8>) {
    body.extend_from_slice(format!(r#"{{"phone":"{}","purpose":"{purpose}"}}"#, phone(n)).as_bytes());
}

/// Who plays: by phone, or by the token the operator knows them by.
#[derive(Clone, Debug)]
pub enum Player {
    /// A phone.
    Phone(String),
    /// A token.
    Bst(String),
}

/// Players of one operator, half of them by phone, half by the token a lookup gave.
pub async fn players(node: &Node, feed: &Feed, from: u64, count: u64) -> anyhow::Result<Vec<Player>> {
    let head = Head::json("/api/v1/operators/lookup", &feed.bearer);
    let tasks = (0..8).map(|lane| {
        let (head, address) = (head.clone(), node.address);
        async move {
            let mut connection = crate::wire::Connection::open(address).await?;
            let mut players = Vec::new();
            let mut body = Vec::new();
            for n in (from + lane..from + count).step_by(8) {
                if n.is_multiple_of(2) {
                    players.push(Player::Phone(phone(n)));
                    continue;
                }
                body.clear();
                lookup(n, "login", &mut body);
                players.push(Player::Bst(text(&connection.must(&head, &body).await?, "bst")?));
            }
            Ok::<_, anyhow::Error>(players)
        }
    });
    let lanes: anyhow::Result<Vec<_>> = together(tasks.collect::<Vec<_>>()).await.into_iter().collect();
    Ok(lanes?.into_iter().flatten().collect())
}

/// A batch whose ids and times are stamped anew for each push; everything else stays.
pub struct Batch {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Sum of its stakes, minor units.
    pub stakes_minor: i64,
}

#[derive(Clone, Copy)]
struct Place {
    id: usize,
    time: usize,
}

impl Batch {
    /// `records` records of these players; stakes lie around `stake_minor`, four in ten bets are paid out.
    pub fn new(chance: &mut Chance, players: &[Player], records: usize, stake_minor: i64) -> Self {
        let mut batch =
            Self { bytes: Vec::with_capacity(records * 640), places: Vec::with_capacity(records), stakes_minor: 0 };
        for n in 0..records {
            let player = match &players[chance.below(players.len() as u64) as usize] {
                Player::Phone(phone) => json!({ "phone": phone }),
                Player::Bst(bst) => json!({ "bst": bst }),
            };
            let payout = chance.below(10) < 3;
            let stake = stake_minor / 2 + chance.below(stake_minor.unsigned_abs().max(1)) as i64;
            let amount = if payout { stake * (110 + chance.below(150) as i64) / 100 } else { stake };
            if !payout {
                batch.stakes_minor += amount;
            }
            let record = json!({
                "record_id": "I".repeat(ID_DIGITS), "replaces": null, "kind": if payout { "payout" } else { "stake" },
                "occurred_at": "T".repeat(TIME_BYTES), "status": "successful", "player": player,
                "money": {"amount_minor": amount, "currency": "KES"},
                "balance_after_minor": 10_000 + chance.below(1_000_000),
                "product": "sportsbook", "game": {"id": format!("match-{:05}", chance.below(40_000)), "type": "football"},
                "bet": {"id": format!("bet-{:012}", chance.below(1 << 39)), "settles": null, "parts": 1 + chance.below(5),
                    "odds": 1.0 + chance.below(900) as f64 / 100.0, "live": chance.below(2) == 0},
                "session_id": format!("session-{:010}", chance.below(1 << 33)),
                "limit": {"type": null, "old_minor": null, "new_minor": null},
                "licence": "BK-0000417", "channel": "online", "outlet_id": null, "terminal_id": null,
                "device_id": format!("device-{:012x}", chance.below(1 << 47)), "region": "KE-30",
                "payment": {"method": "mpesa", "account": format!("2547{:08}", chance.below(100_000_000))},
                "extra": {"bonus_campaign": "none"},
            });
            let line = record.to_string();
            let at = batch.bytes.len();
            let find = |pattern: &str| line.find(pattern).map_or(at, |i| at + i);
            batch.places.push(Place { id: find("IIIIIIIIIIIIIIIIIIII"), time: find("TTTTTTTTTTTTTTTTTTTTTTTT") });
            batch.bytes.extend_from_slice(line.as_bytes());
            if n + 1 < records {
                batch.bytes.push(b'\n');
            }
        }
        batch
    }

    /// The batch with ids from `first_id` on and times from `start` on, `step_us` apart.
    pub fn stamp(&self, first_id: u64, start: Ts, step_us: i64, body: &mut Vec<u8>) {
        use std::io::Write as _;
        body.clear();
        body.extend_from_slice(&self.bytes);
        for (n, place) in (0u64..).zip(&self.places) {
            let _ = write!(&mut body[place.id..place.id + ID_DIGITS], "{:020}", first_id + n);
            let _ = write!(&mut body[place.time..place.time + TIME_BYTES], "{}", start.plus(step_us * n as i64));
        }
    }

    /// Mean bytes of a record.
    pub fn record_bytes(&self) -> f64 {
        self.bytes.len() as f64 / self.places.len() as f64
    }
}

/// Batches of one operator, in turn.
pub struct Stream {
    batches: Vec<Batch>,
    records: usize,
    next: u64,
}

impl Stream {
    /// `kinds` different batches of `records` records.
    pub fn new(chance: &mut Chance, players: &[Player], kinds: usize, records: usize, stake_minor: i64) -> Self {
        let batches = (0..kinds).map(|_| Batch::new(chance, players, records, stake_minor)).collect();
        Self { batches, records, next: 0 }
    }

    /// Writes the next batch, its times from `start` on within `span_us`.
    pub fn next(&mut self, start: Ts, span_us: i64, body: &mut Vec<u8>) {
        let batch = &self.batches[(self.next % self.batches.len() as u64) as usize];
        batch.stamp(self.next * self.records as u64, start, span_us / self.records as i64, body);
        self.next += 1;
    }

    /// Mean bytes of a record.
    pub fn record_bytes(&self) -> f64 {
        self.batches.iter().map(Batch::record_bytes).sum::<f64>() / self.batches.len() as f64
    }

    /// Records written so far.
    pub fn written(&self) -> u64 {
        self.next * self.records as u64
    }
}

/// Now.
pub fn now() -> Ts {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ts(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::record::WireRecord;

    #[test]
    fn a_stamped_batch_is_canonical_records_with_their_own_ids_and_times() {
        let players = [Player::Phone(phone(7)), Player::Bst("BST-02-X".to_owned())];
        let batch = Batch::new(&mut Chance(1), &players, 50, 5_000);
        assert!(batch.record_bytes() >= 450.0, "as long as real ones: {}", batch.record_bytes());
        let mut body = Vec::new();
        let start = Ts::parse("2026-01-01T00:00:00Z").unwrap();
        batch.stamp(1_000, start, 1_000, &mut body);
        let text = String::from_utf8(body).unwrap();
        let records: Vec<WireRecord<'_>> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 50);
        assert_eq!(records[49].record_id.as_deref(), Some("00000000000000001049"));
        assert_eq!(records[49].occurred_at.as_deref(), Some("2026-01-01T00:00:00.049Z"));
    }
}
