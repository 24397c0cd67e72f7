//! Licences of an operator, and whether it may trade at all: as authorities' documents say, and as the regulator entered it.
//!
//! ```text
//! document of a licence authority ─┐
//! licence entered by the regulator ┴▶ Saying, in the order of their times ─▶ what held at a time: the newest by then
//! ```
//! An entry is the whole of a licence. A document may say nothing of compliance, channels or returns to players: then what
//! was said of them before holds.

use crate::ingest::id_digest;
use models::alert::Window;
use models::document_records::{Compliance, LicenceStanding, LicenceStatus};
use models::operator::{self, LicensedReturn, OperatorState};
use models::record::{PlayChannel, Product, Record};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Licences of an operator that are remembered.
pub const LICENCES_MAX: usize = 64;
/// What was said of a licence, or of the operator itself, that is remembered, the newest.
pub const SAYINGS_MAX: usize = 8;

/// What a licence says that a product gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidReturn {
    /// Return to player, parts per million of stakes.
    pub return_ppm: i64,
    /// The largest win, as a multiple of the stake, where it says one.
    pub multiple_max: Option<i64>,
}

/// What was said of a licence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Saying {
    pub at: Ts,
    pub standing: LicenceStanding,
    /// None: it says nothing of it.
    pub compliance: Option<Compliance>,
    pub valid_from: Option<Ts>,
    pub valid_to: Option<Ts>,
    /// A bit each; 0 = every product.
    pub products: u16,
    /// It names products that nobody knows: then it says nothing of those it does not name.
    pub is_open: bool,
    /// A bit each; 0 = every channel. None: it says nothing of them.
    pub channels: Option<u8>,
    /// None: it says nothing of them.
    pub returns: Option<BTreeMap<Product, SaidReturn>>,
    pub conditions: Vec<String>,
    /// The record that says so; none: the regulator entered it.
    pub record: Option<Box<str>>,
}

/// Bits of the products that are known, and whether others are named.
fn product_bits(names: &[String]) -> (u16, bool) {
    let products: Vec<_> = names.iter().map(|name| Product::parse(&name.to_ascii_lowercase())).collect();
    let bits = products.iter().flatten().fold(0, |bits, product| bits | 1 << product.code());
    (bits, products.contains(&None))
}

fn channel_bits(channels: &[PlayChannel]) -> u8 {
    channels.iter().fold(0, |bits, channel| bits | 1 << channel.code())
}

fn said_returns(returns: &BTreeMap<Product, LicensedReturn>) -> BTreeMap<Product, SaidReturn> {
    let said = |said: &LicensedReturn| SaidReturn { return_ppm: said.return_ppm, multiple_max: said.multiple_max };
    returns.iter().map(|(product, of)| (*product, said(of))).collect()
}

impl Saying {
    fn of_document(record: &Record, status: &LicenceStatus) -> Self {
        let (products, is_open) = product_bits(&status.products);
        Self {
            at: record.occurred_at,
            standing: status.state,
            compliance: Some(status.compliance),
            valid_from: status.valid_from,
            valid_to: status.valid_to,
            products,
            is_open,
            channels: status.channels.as_deref().map(channel_bits),
            returns: status.return_to_player.as_ref().map(said_returns),
            conditions: status.conditions.clone(),
            record: Some(record.record_id.as_str().into()),
        }
    }

    fn of_entry(at: Ts, licence: &operator::Licence) -> Self {
        let (products, is_open) = product_bits(&licence.products);
        Self {
            at,
            standing: licence.state.into(),
            compliance: None,
            valid_from: Some(licence.valid_from),
            valid_to: licence.valid_to,
            products,
            is_open,
            channels: Some(channel_bits(&licence.channels)),
            returns: Some(said_returns(&licence.return_to_player)),
            conditions: licence.conditions.clone(),
            record: None,
        }
    }

    /// Does it name the product, or none at all?
    #[must_use]
    pub fn names(&self, product: Option<Product>) -> bool {
        self.is_open || self.products == 0 || product.is_none_or(|product| self.products & (1 << product.code()) != 0)
    }

    /// Takes over what it says nothing of from the one before it, which is forgotten.
    fn inherit(&mut self, before: Self) {
        self.compliance = self.compliance.or(before.compliance);
        self.channels = self.channels.or(before.channels);
        self.returns = self.returns.take().or(before.returns);
    }
}

/// A licence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Licence {
    /// As the authority prints it.
    pub number: Box<str>,
    /// What was said of it, oldest first.
    sayings: Vec<Saying>,
}

/// A change of what was said of a licence.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// As it was.
    pub before: &'a Saying,
    /// As it is.
    pub now: &'a Saying,
    /// What was last said of how its holder keeps to it, before and now; the same where it was said for the first time.
    pub compliance: (Compliance, Compliance),
}

impl Licence {
    /// Takes in what is said of it.
    fn hear(&mut self, saying: Saying, replaces: Option<&str>) {
        if let Some(replaced) = replaces {
            self.sayings.retain(|known| known.record.as_deref() != Some(replaced));
        }
        // an entry that a start tells once more
        if self.sayings.contains(&saying) {
            return;
        }
        let place = self.sayings.partition_point(|known| known.at <= saying.at);
        self.sayings.insert(place, saying);
        if self.sayings.len() > SAYINGS_MAX {
            let forgotten = self.sayings.remove(0);
            if let Some(oldest) = self.sayings.first_mut() {
                oldest.inherit(forgotten);
            }
        }
    }

    fn until(&self, at: Ts) -> &[Saying] {
        &self.sayings[..self.sayings.partition_point(|saying| saying.at <= at)]
    }

    /// What held at a time.
    #[must_use]
    pub fn at(&self, at: Ts) -> Option<&Saying> {
        self.until(at).last()
    }

    /// May be played over the channel, as far as anything was said of channels by then?
    fn names_channel(&self, at: Ts, channel: Option<PlayChannel>) -> bool {
        let bits = self.until(at).iter().rev().find_map(|saying| saying.channels).unwrap_or(0);
        bits == 0 || channel.is_none_or(|channel| bits & (1 << channel.code()) != 0)
    }

    fn returned(&self, at: Ts, product: Product) -> Option<SaidReturn> {
        let returns = self.until(at).iter().rev().find_map(|saying| saying.returns.as_ref())?;
        returns.get(&product).copied()
    }

    /// What it says of a product in a span, as often as it began to speak, while it covers the product over one of the channels.
    /// Nothing where it says nothing of it any more at the span's end.
    fn returned_within(&self, product: Product, over: &[Option<PlayChannel>], span: Window) -> Vec<SaidReturn> {
        let last = span.end.plus(-1);
        if self.returned(last, product).is_none() {
            return Vec::new();
        }
        let sayings = self.until(last);
        let begins = sayings.iter().flat_map(|saying| std::iter::once(saying.at).chain(saying.valid_from));
        let begins = begins.filter(|at| (span.start..span.end).contains(at));
        let covers = |at: &Ts| over.iter().any(|channel| self.covers(*at, (Some(product), *channel)) == Some(Ok(())));
        let held = std::iter::once(span.start).chain(begins).filter(covers);
        held.filter_map(|at| self.returned(at, product)).collect()
    }

    /// What of it changed, oldest first.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let said = move |through: usize| self.sayings[..=through].iter().rev().find_map(|saying| saying.compliance);
        (1..self.sayings.len()).map(move |place| {
            let is = said(place).unwrap_or(Compliance::Unknown);
            let was = said(place - 1).unwrap_or(is);
            Change { before: &self.sayings[place - 1], now: &self.sayings[place], compliance: (was, is) }
        })
    }

    /// Does it cover what is played? None: nothing had been said of it by then.
    fn covers(&self, at: Ts, (product, channel): (Option<Product>, Option<PlayChannel>)) -> Option<Result<(), Breach>> {
        let saying = self.at(at)?;
        Some(match saying.standing {
            LicenceStanding::Suspended => Err(Breach::Suspended),
            LicenceStanding::Revoked => Err(Breach::Revoked),
            LicenceStanding::Expired => Err(Breach::Expired),
            LicenceStanding::Pending => Err(Breach::Pending),
            LicenceStanding::Active if saying.valid_to.is_some_and(|to| at >= to) => Err(Breach::Expired),
            LicenceStanding::Active if saying.valid_from.is_some_and(|from| at < from) => Err(Breach::NotYetValid),
            LicenceStanding::Active if !saying.names(product) => Err(Breach::ProductNotLicensed),
            LicenceStanding::Active if !self.names_channel(at, channel) => Err(Breach::ChannelNotLicensed),
            LicenceStanding::Active => Ok(()),
        })
    }

    /// How much of what is played it would be for.
    fn nearness(&self, at: Ts, (product, channel): (Option<Product>, Option<PlayChannel>)) -> u8 {
        match self.at(at).is_some_and(|saying| saying.names(product)) {
            true => 1 + u8::from(self.names_channel(at, channel)),
            false => 0,
        }
    }
}

/// Why a bet is under no licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Breach {
    OperatorSuspended,
    OperatorClosed,
    Suspended,
    Revoked,
    Pending,
    Expired,
    NotYetValid,
    ProductNotLicensed,
    ChannelNotLicensed,
}

/// A bet under no licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse {
    /// The licence that it would have been under; none: the operator itself may not trade.
    pub licence: Option<u64>,
    /// Why.
    pub breach: Breach,
}

/// Whether the operator may trade at all. Of one of which nothing was said it is taken that it may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Trading {
    /// What it was before the first one that is remembered.
    before: Option<OperatorState>,
    /// Since when it is what, oldest first.
    states: Vec<(Ts, OperatorState)>,
}

impl Trading {
    fn first(&self) -> OperatorState {
        self.before.unwrap_or(OperatorState::Active)
    }

    fn hear(&mut self, at: Ts, state: OperatorState) {
        // an entry that a start tells once more
        if self.states.contains(&(at, state)) {
            return;
        }
        let place = self.states.partition_point(|(since, _)| *since <= at);
        self.states.insert(place, (at, state));
        if self.states.len() > SAYINGS_MAX {
            self.before = Some(self.states.remove(0).1);
        }
    }

    fn at(&self, at: Ts) -> OperatorState {
        let until = self.states.partition_point(|(since, _)| *since <= at);
        until.checked_sub(1).map_or_else(|| self.first(), |newest| self.states[newest].1)
    }
}

/// Everything that was said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Licences {
    /// By digest of the number.
    known: BTreeMap<u64, Licence>,
    trading: Trading,
    /// Licences that were one too many.
    pub(super) forgotten: u64,
}

impl Licences {
    /// Takes a document in; gives the digest of the licence.
    pub fn document(&mut self, record: &Record, status: &LicenceStatus) -> u64 {
        self.hear(&status.number, Saying::of_document(record, status), record.replaces.as_deref())
    }

    /// Takes in what the regulator entered; gives the digest of the licence.
    pub fn entered(&mut self, at: Ts, licence: &operator::Licence) -> u64 {
        self.hear(&licence.number, Saying::of_entry(at, licence), None)
    }

    fn hear(&mut self, number: &str, saying: Saying, replaces: Option<&str>) -> u64 {
        let key = id_digest(number);
        if !self.known.contains_key(&key) && self.known.len() >= LICENCES_MAX {
            let newest = |licence: &Licence| licence.sayings.last().map(|saying| saying.at);
            let oldest = self.known.iter().min_by_key(|(key, licence)| (newest(licence), **key)).map(|(key, _)| *key);
            oldest.map(|key| self.known.remove(&key));
            self.forgotten += 1;
        }
        let fresh = || Licence { number: number.into(), sayings: Vec::new() };
        self.known.entry(key).or_insert_with(fresh).hear(saying, replaces);
        key
    }

    /// The operator is suspended, closed or active from then on.
    pub fn operator(&mut self, at: Ts, state: OperatorState) {
        self.trading.hear(at, state);
    }

    /// A licence, by the digest of its number.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<&Licence> {
        self.known.get(&key)
    }

    /// May the operator trade at a time, and read what it is told?
    #[must_use]
    pub fn trades(&self, at: Ts) -> bool {
        self.trading.at(at) == OperatorState::Active
    }

    /// When the operator's own state was said, how it was before and what it is, oldest first.
    pub fn operator_changes(&self) -> impl Iterator<Item = (Ts, OperatorState, OperatorState)> {
        let states = &self.trading.states;
        let before = std::iter::once(self.trading.first()).chain(states.iter().map(|(_, state)| *state));
        before.zip(states).map(|(before, (at, now))| (*at, before, *now))
    }

    /// Why what is played is under no licence; none where one covers it, or nobody ever heard of a licence that was there
    /// by then.
    #[must_use]
    pub fn lapse(&self, at: Ts, product: Option<Product>, channel: Option<PlayChannel>) -> Option<Lapse> {
        match self.trading.at(at) {
            OperatorState::Suspended => return Some(Lapse { licence: None, breach: Breach::OperatorSuspended }),
            OperatorState::Closed => return Some(Lapse { licence: None, breach: Breach::OperatorClosed }),
            OperatorState::Active => {}
        }
        let played = (product, channel);
        let mut found: Option<(u8, Lapse)> = None;
        for (key, licence) in &self.known {
            let breach = match licence.covers(at, played) {
                None => continue,
                Some(Ok(())) => return None,
                Some(Err(breach)) => breach,
            };
            // the licence that the bet would have been under says more than one for another product
            let nearness = licence.nearness(at, played);
            if found.is_none_or(|(was, _)| nearness > was) {
                found = Some((nearness, Lapse { licence: Some(*key), breach }));
            }
        }
        found.map(|(_, lapse)| lapse)
    }

    /// The first condition that is broken, with its licence: by each licence that covers what is played one is, or none is
    /// said to be.
    #[must_use]
    pub fn broken_condition(
        &self,
        at: Ts,
        (product, channel): (Option<Product>, Option<PlayChannel>),
        is_broken: impl Fn(&str) -> bool,
    ) -> Option<(u64, &Licence, &str)> {
        let mut first = None;
        for (key, licence) in &self.known {
            if licence.covers(at, (product, channel)) != Some(Ok(())) {
                continue;
            }
            let conditions = licence.at(at).map(|saying| saying.conditions.as_slice()).unwrap_or_default();
            let broken = conditions.iter().find(|text| is_broken(text))?;
            first = first.or(Some((*key, licence, broken.as_str())));
        }
        first
    }

    /// What licences say in a span that a product gives back, each value once with the number of a licence: of those that
    /// covered it then over one of the channels of its bets, and still say something of it at the span's end.
    #[must_use]
    pub fn returns(&self, product: Product, over: &[Option<PlayChannel>], span: Window) -> Vec<(&str, SaidReturn)> {
        let mut returns: Vec<(&str, SaidReturn)> = Vec::new();
        for licence in self.known.values() {
            for said in licence.returned_within(product, over, span) {
                if returns.iter().all(|(_, known)| *known != said) {
                    returns.push((&*licence.number, said));
                }
            }
        }
        returns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::{LicenceId, OperatorNo};
    use models::jurisdiction::JurisdictionNo;
    use models::operator::LicenceState;

    fn entry(number: &str, state: LicenceState) -> operator::Licence {
        operator::Licence {
            id: LicenceId(1),
            operator_no: OperatorNo(1),
            number: number.to_owned(),
            class: "online".to_owned(),
            jurisdiction: JurisdictionNo(0),
            products: Vec::new(),
            conditions: Vec::new(),
            channels: Vec::new(),
            return_to_player: BTreeMap::new(),
            valid_from: Ts(0),
            valid_to: None,
            state,
        }
    }

    fn returning(return_ppm: i64) -> operator::Licence {
        let said = LicensedReturn { return_ppm, multiple_max: Some(10) };
        operator::Licence {
            return_to_player: BTreeMap::from([(Product::Slots, said)]),
            ..entry("L-1", LicenceState::Active)
        }
    }

    fn document(at: i64, state: LicenceStanding) -> (Record, LicenceStatus) {
        let record = Record { record_id: format!("r-{at}"), occurred_at: Ts(at), ..Record::for_tests() };
        let status = LicenceStatus {
            number: "L-1".to_owned(),
            licence_class: None,
            products: Vec::new(),
            valid_from: None,
            valid_to: None,
            state,
            compliance: Compliance::Compliant,
            conditions: Vec::new(),
            channels: None,
            return_to_player: None,
        };
        (record, status)
    }

    fn is_lapsed(licences: &Licences, at: i64) -> bool {
        licences.lapse(Ts(at), Some(Product::Slots), Some(PlayChannel::Online)).is_some()
    }

    #[test]
    fn the_newer_by_time_holds_whatever_came_first() {
        use LicenceStanding::{Active, Suspended};
        let (revoked, active) = (entry("L-1", LicenceState::Revoked), entry("L-1", LicenceState::Active));
        // what the regulator entered at 20, what a document says of which time | under no licence at 10, 15, 25, 35
        let table = [
            (&revoked, (10, Active), [false, false, true, true]),
            (&revoked, (30, Active), [false, false, true, false]),
            (&active, (10, Suspended), [true, true, false, false]),
            (&active, (30, Suspended), [false, false, false, true]),
            // at the same instant whatever came later
            (&revoked, (20, Active), [false, false, false, false]),
        ];
        for (entered, (at, standing), lapsed) in table {
            let (record, status) = document(at, standing);
            let mut licences = Licences::default();
            licences.entered(Ts(20), entered);
            licences.document(&record, &status);
            assert_eq!([10, 15, 25, 35].map(|at| is_lapsed(&licences, at)), lapsed, "{:?} {at}", entered.state);
        }
    }

    #[test]
    fn what_is_told_twice_is_heard_once() {
        let mut licences = Licences::default();
        let tell = |licences: &mut Licences| {
            licences.entered(Ts(5), &entry("L-1", LicenceState::Active));
            licences.entered(Ts(9), &entry("L-1", LicenceState::Revoked));
            licences.operator(Ts(7), OperatorState::Suspended);
            licences.operator(Ts(8), OperatorState::Active);
        };
        tell(&mut licences);
        let once = licences.clone();
        tell(&mut licences);
        assert_eq!(licences, once);
        assert_eq!(
            licences.operator_changes().map(|(at, was, is)| (at.0, was, is)).collect::<Vec<_>>(),
            [
                (7, OperatorState::Active, OperatorState::Suspended),
                (8, OperatorState::Suspended, OperatorState::Active)
            ]
        );
    }

    #[test]
    fn what_a_document_leaves_out_was_said_before_and_is_not_forgotten() {
        let span = |from: i64, to: i64| Window { start: Ts(from), end: Ts(to) };
        let values = |licences: &Licences, span| {
            let said = licences.returns(Product::Slots, &[None], span).into_iter();
            let mut said: Vec<_> = said.map(|(number, said)| (number.to_owned(), said.return_ppm)).collect();
            said.sort_unstable();
            said
        };
        let one = |ppm: &[i64]| ppm.iter().map(|ppm| ("L-1".to_owned(), *ppm)).collect::<Vec<_>>();
        let mut licences = Licences::default();
        licences.entered(Ts(10), &returning(940_000));
        for n in 0..2 * SAYINGS_MAX as i64 {
            let (record, status) = document(20 + n, LicenceStanding::Active);
            licences.document(&record, &status);
        }
        assert_eq!(values(&licences, span(0, 100)), one(&[940_000]));
        assert!(licences.get(id_digest("L-1")).is_some_and(|licence| licence.sayings.len() == SAYINGS_MAX));
        licences.entered(Ts(50), &returning(950_000));
        // both held in the span; before the change one, behind it the other
        assert_eq!(values(&licences, span(40, 100)), one(&[940_000, 950_000]));
        assert_eq!(values(&licences, span(40, 50)), one(&[940_000]));
        assert_eq!(values(&licences, span(50, 100)), one(&[950_000]));
        // an entry is the whole of a licence: it says that there is none
        licences.entered(Ts(60), &entry("L-1", LicenceState::Active));
        assert_eq!(values(&licences, span(70, 100)), one(&[]));
        // of two licences both speak
        licences.entered(Ts(70), &operator::Licence { number: "L-2".to_owned(), ..returning(900_000) });
        licences.entered(Ts(80), &returning(970_000));
        let both = [("L-1".to_owned(), 970_000), ("L-2".to_owned(), 900_000)];
        assert_eq!(values(&licences, span(90, 100)), both);
        // one that is valid from within the span on speaks from then on
        let from = operator::Licence { number: "L-3".to_owned(), valid_from: Ts(95), ..returning(800_000) };
        licences.entered(Ts(85), &from);
        assert_eq!(values(&licences, span(90, 95)), both);
        assert_eq!(values(&licences, span(90, 96)).len(), 3);
    }

    #[test]
    fn an_operator_may_trade_until_it_is_said_otherwise() {
        let mut licences = Licences::default();
        let lapse = |licences: &Licences, at| licences.lapse(Ts(at), None, None).map(|lapse| lapse.breach);
        assert_eq!(lapse(&licences, 1), None);
        for n in 0..3 * SAYINGS_MAX as i64 {
            licences.operator(Ts(10 * n + 10), OperatorState::Suspended);
            licences.operator(Ts(10 * n + 15), OperatorState::Active);
        }
        let end = 30 * SAYINGS_MAX as i64;
        licences.operator(Ts(end + 5), OperatorState::Closed);
        let expected = [(end + 1, Some(Breach::OperatorSuspended)), (end + 5, Some(Breach::OperatorClosed))];
        for (at, breach) in expected {
            assert_eq!(lapse(&licences, at), breach, "{at} of {end}");
        }
        assert_eq!(licences.operator_changes().count(), SAYINGS_MAX);
    }

    #[test]
    fn no_more_licences_are_remembered_than_there_is_room_for() {
        let mut licences = Licences::default();
        for n in 0..=LICENCES_MAX as i64 {
            licences.entered(Ts(n), &entry(&format!("L-{n}"), LicenceState::Active));
        }
        assert_eq!((licences.known.len(), licences.forgotten), (LICENCES_MAX, 1));
        assert!(licences.get(id_digest("L-0")).is_none(), "the one that was spoken of longest ago");
    }
}
