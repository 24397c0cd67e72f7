//! Scores of promoted models as rules hear them: every record's in a few bytes, and by name those that are worth a look.
//!
//! They are stored as an input of the operator's rules behind the one whose records they are of, with the version that gave
//! them. So whoever plays the inputs again needs no model.

use crate::match_key::MatchKey;
use crate::money::Currency;
use crate::ts::{Ts, micros};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// From this probability on a record, or a player, is named with reasons, millionths: no parameter from which on a rule
/// speaks lies below it.
pub const NAMED_FROM_PPM: u32 = 100_000;
/// Records of an input that are named at most, those with the highest scores.
pub const NAMED_MAX: usize = 200;
/// Players of an input.
pub const PLAYERS_MAX: usize = 500;
/// Records of a batch at most, far above what a batch may hold.
const SCORES_MAX: usize = 1 << 20;

/// A score for each record of an input, millionths; none where a record has no vector.
///
/// In JSON: a varint for each record in base64 (URL alphabet, no padding), 0 for none and one more than the score else. A
/// record takes one to three bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scores(pub Vec<Option<u32>>);

impl Scores {
    fn pack(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 3);
        for score in &self.0 {
            let mut value = score.map_or(0, |score| u64::from(score) + 1);
            while value >= 0x80 {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        }
        out
    }

    fn unpack(bytes: &[u8]) -> Option<Self> {
        let (mut scores, mut value, mut shift) = (Vec::new(), 0u64, 0);
        for byte in bytes {
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 != 0 {
                shift += 7;
                // five bytes hold every score
                if shift > 28 {
                    return None;
                }
                continue;
            }
            let score = value.checked_sub(1).map(u32::try_from).transpose().ok()?;
            scores.push(score);
            (value, shift) = (0, 0);
            if scores.len() > SCORES_MAX {
                return None;
            }
        }
        (shift == 0).then_some(Self(scores))
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&BASE64URL_NOPAD.encode(&self.pack()))
    }
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        bytes.and_then(|bytes| Self::unpack(&bytes)).ok_or_else(|| de::Error::custom("not the scores of records"))
    }
}

/// Where a record was made of which nobody knows whose it is: digest of the operator's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoldAt {
    /// A terminal of a shop.
    Terminal(u64),
    /// A shop.
    Shop(u64),
}

/// A record whose score is worth a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskyRecord {
    /// The operator's id of it.
    pub record_id: String,
    /// Whose; none of a record of nobody at a terminal or in a shop.
    #[serde(default)]
    pub player: Option<MatchKey>,
    /// Where nobody is known whose it is: the terminal, else the shop, as far as one is named.
    #[serde(default)]
    pub sold_at: Option<SoldAt>,
    /// When it happened.
    #[serde(with = "micros")]
    pub at: Ts,
    /// Its probability, millionths.
    pub score_ppm: u32,
    /// What moved it most, strongest first, in words.
    pub reasons: Vec<String>,
}

/// What the promoted model of transaction risk said of the records of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsScored {
    /// Position of that input among those of the operator's rules.
    pub of: i64,
    /// Time of the clock that judged that input; 0 in what was stored before it was said.
    #[serde(with = "micros", default)]
    pub at: Ts,
    /// Version of the model.
    pub version: u32,
    /// Of every record.
    pub scores: Scores,
    /// Those from [`NAMED_FROM_PPM`] on, in their order; of more than [`NAMED_MAX`] those with the highest scores.
    #[serde(default)]
    pub risky: Vec<RiskyRecord>,
}

/// What the promoted model of player risk said of a player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoredPlayer {
    /// Who.
    pub player: MatchKey,
    /// In which currency they play: amounts of two are not added.
    pub currency: Currency,
    /// Their probability, millionths.
    pub score_ppm: u32,
    /// What moved it most, in words; empty below [`NAMED_FROM_PPM`].
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// What the promoted model of player risk said of players of an operator at the end of a day on which they played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayersScored {
    /// Version of the model.
    pub version: u32,
    /// First instant behind the day: what happened before it is what the scores stand on.
    #[serde(with = "micros")]
    pub as_of: Ts,
    /// When it was said; none in what was stored before anybody was told of it: operators hear of nobody in there.
    #[serde(with = "micros::option", default, skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Ts>,
    /// Those of them at high risk whom nobody could name to the operator then: it has never asked about them, and no deposit
    /// or withdrawal of theirs is remembered. It is told nothing of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameless: Vec<MatchKey>,
    /// Those of whom the operator is told in the same commit: they, and nobody else, follow as signs of harm when this is heard,
    /// whatever was heard in between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<MatchKey>,
    /// They, at most [`PLAYERS_MAX`].
    pub players: Vec<ScoredPlayer>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_take_few_bytes_and_come_back() {
        let table: [(&[Option<u32>], &str); 5] = [
            (&[], r#""""#),
            (&[None, None], r#""AAA""#),
            (&[Some(0), Some(126)], r#""AX8""#),
            (&[Some(1_000_000)], r#""wYQ9""#),
            (&[Some(u32::MAX)], r#""gICAgBA""#),
        ];
        for (scores, json) in table {
            let scores = Scores(scores.to_vec());
            assert_eq!(serde_json::to_string(&scores).expect("json"), json);
            assert_eq!(serde_json::from_str::<Scores>(json).expect("it is read"), scores);
        }
        // cut off, too long, not base64
        for json in [r#""gA""#, r#""gICAgICAAQ""#, r#""?""#, "7"] {
            assert!(serde_json::from_str::<Scores>(json).is_err(), "{json}");
        }
    }
}
