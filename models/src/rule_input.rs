//! What rules hear: an operator's batches and ticks once what register and evidence knew of them is there, and what
//! others know. Numbered for itself, because it comes later than the batches do (docs/adr/0021).

use crate::alert::{Severity, Window};
use crate::evidence::sha256;
use crate::harm_signal::NamedBy;
use crate::ids::{KeyId, OperatorNo, Seq};
use crate::jurisdiction::JurisdictionNo;
use crate::match_key::MatchKey;
use crate::money::Currency;
use crate::operator::{Licence, OperatorState};
use crate::record::closed_set;
use crate::score::{PlayersScored, RecordsScored};
use crate::series::SeriesScored;
use crate::ts::{Ts, micros};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

closed_set!(
    /// What is declared of a period.
    DeclaredBase {
        GrossGamingRevenue = "gross_gaming_revenue", Stakes = "stakes", Payouts = "payouts", Deposits = "deposits",
        Withdrawals = "withdrawals",
    }
);

/// Who gave a sign of harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalGiven {
    /// With which key.
    pub by: KeyId,
    /// Why, in words that name nobody.
    pub reason: String,
    /// What the player's key was made of, where the player was named by an identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<NamedBy>,
}

/// One thing that an operator's rules hear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum RuleInput {
    /// A stored batch; what was known of its records' players lies beside it.
    Batch {
        /// Position of the batch in the operator's inputs.
        operator_seq: i64,
    },
    /// The wall clock.
    Tick {
        /// Position of the tick in the operator's inputs; none where only its rules need one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator_seq: Option<i64>,
        /// The time.
        #[serde(with = "micros")]
        at: Ts,
    },
    /// An amount was declared.
    Declared {
        /// When.
        #[serde(with = "micros")]
        at: Ts,
        /// Of which period.
        period: Window,
        /// Currency.
        currency: Currency,
        /// Of what.
        base: DeclaredBase,
        /// How much, minor units.
        amount_minor: i64,
    },
    /// How many exclusions the operator reported.
    Exclusions {
        /// In which span.
        window: Window,
        /// How many.
        count: u64,
        /// Active players, where somebody counts them.
        #[serde(default)]
        players: Option<u64>,
        /// When they were counted; none = at the end of the span.
        #[serde(with = "micros::option", default, skip_serializing_if = "Option::is_none")]
        at: Option<Ts>,
    },
    /// A sign of harm.
    Signal {
        /// Whose.
        player: MatchKey,
        /// How strong.
        level: Severity,
        /// When it was given to the operator.
        #[serde(with = "micros")]
        at: Ts,
        /// Who gave it and why, where it was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given: Option<Box<SignalGiven>>,
    },
    /// The regulator entered a licence of the operator: the whole of it, as it holds from then on.
    Licence {
        /// When it was entered.
        #[serde(with = "micros")]
        at: Ts,
        /// It.
        licence: Box<Licence>,
    },
    /// The regulator suspended or closed the operator, or let it trade again.
    OperatorState {
        /// When.
        #[serde(with = "micros")]
        at: Ts,
        /// What it is from then on.
        state: OperatorState,
    },
    /// Windows of the operator are over, and some of their series are unusual.
    Series(SeriesScored),
    /// What a model said of the records of an input before.
    RecordsScored(Box<RecordsScored>),
    /// What a model said of players whose day is over.
    PlayersScored(Box<PlayersScored>),
}

impl RuleInput {
    /// Position in the operator's inputs, of those that lie there: each is heard once. Scores follow from such an input and
    /// lie beside it.
    #[must_use]
    pub fn operator_seq(&self) -> Option<i64> {
        match self {
            Self::Batch { operator_seq } => Some(*operator_seq),
            Self::Tick { operator_seq, .. } => *operator_seq,
            Self::Declared { .. } | Self::Exclusions { .. } | Self::Signal { .. } => None,
            Self::Licence { .. } | Self::OperatorState { .. } => None,
            Self::Series(_) | Self::RecordsScored(_) | Self::PlayersScored(_) => None,
        }
    }

    /// Its time; that of a batch is the one of the clock that judged it, and stands with the batch.
    #[must_use]
    pub fn at(&self) -> Option<Ts> {
        match self {
            Self::Batch { .. } => None,
            Self::Tick { at, .. } | Self::Declared { at, .. } | Self::Signal { at, .. } => Some(*at),
            Self::Licence { at, .. } | Self::OperatorState { at, .. } => Some(*at),
            Self::Exclusions { window, at, .. } => Some(at.unwrap_or(window.end)),
            Self::Series(scored) => Some(scored.at),
            Self::RecordsScored(scored) => Some(scored.at),
            Self::PlayersScored(scored) => Some(scored.as_of),
        }
    }
}

/// An input of rules is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleInputStored {
    /// Whose.
    pub operator_no: OperatorNo,
    /// Of which jurisdiction.
    pub jurisdiction: JurisdictionNo,
    /// Position among the operator's: gapless from 1, assigned by the writer.
    pub input_seq: i64,
    /// The rules under which it is judged: those as of this place in the journal.
    pub rules_seq: Seq,
    /// It.
    pub input: RuleInput,
    /// SHA-256 of what was known of a batch's records, as it is stored beside, in hex. None where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_sha256: Option<String>,
}

impl RuleInputStored {
    /// As it is offered: its position is assigned when it is stored.
    #[must_use]
    pub fn new((operator_no, jurisdiction): (OperatorNo, JurisdictionNo), rules_seq: Seq, input: RuleInput) -> Self {
        Self { operator_no, jurisdiction, input_seq: 0, rules_seq, input, facts_sha256: None }
    }

    /// The digest of what is stored beside a batch.
    #[must_use]
    pub fn facts_digest(packed: &[u8]) -> String {
        HEXLOWER.encode(&sha256(packed))
    }
}

/// Rules cannot apply an input, or some of its records: it stays stored, and their state goes on without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleInputSetAside {
    /// Whose rules: an operator's, or those over all of a jurisdiction's operators.
    pub operator_no: OperatorNo,
    /// Position of the input: of an operator's rules its `input_seq`, of those over all operators its place in the
    /// journal.
    pub input_seq: i64,
    /// Positions of the records in it, ascending; empty = the whole input.
    pub records: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Granularity, Metric};
    use crate::ids::{AlertId, LicenceId};
    use crate::match_key::KeyKind;
    use crate::operator::{LicenceState, LicensedReturn};
    use crate::record::{PlayChannel, Product};
    use crate::score::{RiskyRecord, ScoredPlayer, Scores};
    use crate::series::{Oddity, SeriesKey, SeriesReason, SeriesScore, ToldAlready};
    use std::collections::BTreeMap;

    fn licence() -> Licence {
        Licence {
            id: LicenceId(1),
            operator_no: OperatorNo(4),
            number: "L-1".to_owned(),
            class: "online".to_owned(),
            jurisdiction: JurisdictionNo(0),
            products: vec!["slots".to_owned()],
            conditions: Vec::new(),
            channels: Vec::new(),
            return_to_player: BTreeMap::new(),
            valid_from: Ts(1),
            valid_to: None,
            state: LicenceState::Revoked,
        }
    }

    #[test]
    fn inputs_are_read_as_they_were_written() {
        let window = Window { start: Ts(1), end: Ts(2) };
        let table = [
            (RuleInput::Batch { operator_seq: 7 }, Some(7), r#"{"what":"batch","operator_seq":7}"#),
            (
                RuleInput::Tick { operator_seq: Some(8), at: Ts(5) },
                Some(8),
                r#"{"what":"tick","operator_seq":8,"at":5}"#,
            ),
            (RuleInput::Tick { operator_seq: None, at: Ts(5) }, None, r#"{"what":"tick","at":5}"#),
            (
                RuleInput::Declared {
                    at: Ts(3),
                    period: window,
                    currency: Currency::KES,
                    base: DeclaredBase::Deposits,
                    amount_minor: -4,
                },
                None,
                r#"{"what":"declared","at":3,"period":{"start":1,"end":2},"currency":"KES","base":"deposits","amount_minor":-4}"#,
            ),
            (
                RuleInput::Exclusions { window, count: 3, players: None, at: None },
                None,
                r#"{"what":"exclusions","window":{"start":1,"end":2},"count":3,"players":null}"#,
            ),
            (
                RuleInput::Series(SeriesScored {
                    operator_seq: 6,
                    at: Ts(9),
                    params_version: 1,
                    scores: vec![SeriesScore {
                        series: SeriesKey {
                            granularity: Granularity::Hour,
                            currency: Currency::KES,
                            metric: Metric::Stakes,
                        },
                        window,
                        value: 70,
                        score_ppm: 612_000,
                        is_alert: true,
                        expected: 20,
                        band: Some((10, 30)),
                        points: 400,
                        reasons: vec![SeriesReason {
                            oddity: Oddity::Above,
                            surprise_milli: 9_000,
                            observed: 50,
                            usual: 8,
                            metric: None,
                        }],
                        told: Some(ToldAlready { alert: AlertId(3), window }),
                    }],
                }),
                None,
                concat!(
                    r#"{"what":"series","operator_seq":6,"at":9,"params_version":1,"scores":[{"series":"#,
                    r#"{"granularity":"hour","currency":"KES","metric":"stakes"},"window":{"start":1,"end":2},"value":70,"#,
                    r#""score_ppm":612000,"is_alert":true,"expected":20,"band":[10,30],"points":400,"reasons":[{"#,
                    r#""oddity":"above","surprise_milli":9000,"observed":50,"usual":8}],"told":{"alert":"#,
                    r#""alr_00000000000000000000000003","window":{"start":1,"end":2}}}]}"#
                ),
            ),
            (
                RuleInput::Licence { at: Ts(9), licence: Box::new(licence()) },
                None,
                concat!(
                    r#"{"what":"licence","at":9,"licence":{"id":"lic_00000000000000000000000001","operator_no":4,"#,
                    r#""number":"L-1","class":"online","jurisdiction":0,"products":["slots"],"conditions":[],"#,
                    r#""valid_from":1,"valid_to":null,"state":"revoked"}}"#
                ),
            ),
            (
                RuleInput::Licence {
                    at: Ts(9),
                    licence: Box::new(Licence {
                        channels: vec![PlayChannel::Online],
                        return_to_player: BTreeMap::from([
                            (Product::Poker, LicensedReturn { return_ppm: 970_000, multiple_max: None }),
                            (Product::Slots, LicensedReturn { return_ppm: 940_000, multiple_max: Some(500) }),
                        ]),
                        ..licence()
                    }),
                },
                None,
                concat!(
                    r#"{"what":"licence","at":9,"licence":{"id":"lic_00000000000000000000000001","operator_no":4,"#,
                    r#""number":"L-1","class":"online","jurisdiction":0,"products":["slots"],"conditions":[],"#,
                    r#""channels":["online"],"return_to_player":{"poker":{"return_ppm":970000},"#,
                    r#""slots":{"return_ppm":940000,"multiple_max":500}},"#,
                    r#""valid_from":1,"valid_to":null,"state":"revoked"}}"#
                ),
            ),
            (
                RuleInput::OperatorState { at: Ts(9), state: OperatorState::Suspended },
                None,
                r#"{"what":"operator_state","at":9,"state":"suspended"}"#,
            ),
            (
                RuleInput::Signal { player: MatchKey(1), level: Severity::High, at: Ts(9), given: None },
                None,
                r#"{"what":"signal","player":"0000000000000000000001","level":"high","at":9}"#,
            ),
            (
                RuleInput::Signal {
                    player: MatchKey(1),
                    level: Severity::High,
                    at: Ts(9),
                    given: Some(Box::new(SignalGiven {
                        by: KeyId(3),
                        reason: "a relative called".to_owned(),
                        named: Some(NamedBy { kind: KeyKind::Phone, digest_version: 1 }),
                    })),
                },
                None,
                concat!(
                    r#"{"what":"signal","player":"0000000000000000000001","level":"high","at":9,"given":{"by":"#,
                    r#""key_00000000000000000000000003","reason":"a relative called","named":{"kind":"phone","digest_version":1}}}"#
                ),
            ),
            (
                RuleInput::RecordsScored(Box::new(RecordsScored {
                    of: 4,
                    at: Ts(6),
                    version: 2,
                    scores: Scores(vec![None, Some(7)]),
                    risky: vec![RiskyRecord {
                        record_id: "r".to_owned(),
                        player: Some(MatchKey(1)),
                        sold_at: None,
                        at: Ts(5),
                        score_ppm: 7,
                        reasons: vec!["why".to_owned()],
                    }],
                })),
                None,
                r#"{"what":"records_scored","of":4,"at":6,"version":2,"scores":"AAg","risky":[{"record_id":"r","player":"0000000000000000000001","sold_at":null,"at":5,"score_ppm":7,"reasons":["why"]}]}"#,
            ),
            (
                RuleInput::PlayersScored(Box::new(PlayersScored {
                    version: 2,
                    as_of: Ts(5),
                    said_at: None,
                    nameless: Vec::new(),
                    told: Vec::new(),
                    players: vec![ScoredPlayer {
                        player: MatchKey(1),
                        currency: Currency::KES,
                        score_ppm: 7,
                        reasons: Vec::new(),
                    }],
                })),
                None,
                r#"{"what":"players_scored","version":2,"as_of":5,"players":[{"player":"0000000000000000000001","currency":"KES","score_ppm":7,"reasons":[]}]}"#,
            ),
            (
                RuleInput::PlayersScored(Box::new(PlayersScored {
                    version: 2,
                    as_of: Ts(5),
                    said_at: Some(Ts(6)),
                    nameless: vec![MatchKey(1)],
                    told: vec![MatchKey(2)],
                    players: Vec::new(),
                })),
                None,
                concat!(
                    r#"{"what":"players_scored","version":2,"as_of":5,"said_at":6,"nameless":["0000000000000000000001"],"#,
                    r#""told":["0000000000000000000002"],"players":[]}"#
                ),
            ),
        ];
        for (input, operator_seq, json) in table {
            assert_eq!(serde_json::to_string(&input).expect("json"), json);
            assert_eq!(serde_json::from_str::<RuleInput>(json).expect("it is read"), input);
            assert_eq!(input.operator_seq(), operator_seq, "{json}");
        }
    }
}
