//! Generated tables for the tests.

use super::chance::Chance;
use std::fmt::Write;

/// A label that follows one feature, a ratio a little, and chance; a column of words; missing values.
pub(super) fn table(rows: usize, seed: u64) -> String {
    let mut chance = Chance::new(seed, 40);
    let mut text = "player,signal,part,whole,colour,still,label\n".to_owned();
    for row in 0..rows {
        let mut unit = || chance.below(1_000) as f64 / 1_000.0;
        let (signal, part, whole, luck) = (unit(), 10.0 * unit(), 1.0 + 9.0 * unit(), unit());
        let label = u8::from(signal + 0.1 * (part / whole).min(2.0) + 0.3 * luck > 0.9);
        let colour = ["red", "green", ""][chance.below(3)];
        let part = if chance.below(20) == 0 { String::new() } else { part.to_string() };
        let _ = writeln!(text, "p{row},{signal},{part},{whole},{colour},4,{label}");
    }
    text
}

/// Labels that nothing says anything of.
pub(super) fn noise(rows: usize, seed: u64) -> String {
    let mut chance = Chance::new(seed, 41);
    let mut text = "player,a,b,c,label\n".to_owned();
    for row in 0..rows {
        let [a, b, c] = [(); 3].map(|()| chance.below(1_000));
        let _ = writeln!(text, "p{row},{a},{b},{c},{}", chance.below(2));
    }
    text
}
