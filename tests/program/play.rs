//! Tables that models learn from, and days of play that they score.

use super::phone;
use engine::features::Feature;
use serde_json::json;
use std::fmt::Write as _;

/// A number drawn for a place of a row, the same every time.
pub fn drawn(row: usize, place: usize) -> u64 {
    let mixed = ((row << 32 | place) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed >> 33
}

/// Rows in which one feature says nearly everything.
pub fn table(features: &[Feature], risky: &str, from: f64, rows: std::ops::Range<usize>) -> String {
    let mut text = "id".to_owned();
    features.iter().for_each(|feature| write!(text, ",{}", feature.name).expect("a text"));
    text.push_str(",label\n");
    for n in rows {
        write!(text, "r{n}").expect("a text");
        // each feature by itself: one that followed another would be learnt in its place
        let drawn = |place| drawn(n, place) % 101;
        let mut is_risky = false;
        for (place, feature) in features.iter().enumerate() {
            if feature.name == risky {
                let value = f64::from(u8::from(drawn(place) < 40)) * 2.0 * from;
                is_risky = value >= from;
                write!(text, ",{value}").expect("a text");
            } else if drawn(place) % 4 == 0 {
                text.push(',');
            } else {
                write!(text, ",{}", drawn(place)).expect("a text");
            }
        }
        // one of fifty is not as it looks
        writeln!(text, ",{}", u8::from(is_risky != (n % 50 == 0))).expect("a text");
    }
    text
}

/// A day of play: one plays much, the other pays in, plays a little, and takes money out.
pub fn day(day: usize) -> String {
    let record = |who: usize, n: usize, kind: &str, amount: i64| {
        json!({"record_id": format!("{day}-{who}-{n}"), "kind": kind,
            "occurred_at": format!("2026-01-{:02}T10:{:02}:{:02}Z", 1 + day, n, who),
            "player": {"phone": phone(10_000_000 + who)}, "money": {"amount_minor": amount, "currency": "KES"}})
    };
    let much = (0..40).map(|n| record(1, n, "stake", 5_000));
    let little = [record(2, 0, "deposit", 90_000), record(2, 1, "stake", 100), record(2, 2, "withdrawal", 80_000)];
    much.chain(little).map(|record| record.to_string()).collect::<Vec<_>>().join("\n")
}
