//! Runs the versions in force over an operator's inputs: note in the book, ask each rule that listens, say what changed.

use crate::rules::book::{Book, Noted, Noticed, spans_of};
use crate::rules::calendar::{Calendar, Spans};
use crate::rules::crowd::{Crowd, Pair};
use crate::rules::finding::{Finding, Scope};
use crate::rules::input::{Facts, Input, Trigger};
use crate::rules::player::{Move, Player};
use crate::rules::ruleset::{Active, RuleSet};
use crate::rules::standing::{Out, Standing};
use crate::rules::table::Key;
use crate::rules::tally::Tally;
use jiff::tz::TimeZone;
use models::alert::Window;
use models::compliance::ComplianceDayCounted;
use models::ids::OperatorNo;
use models::money::Currency;
use models::record::Record;
use models::ts::Ts;

/// What a rule of an operator sees.
#[derive(Clone, Copy)]
pub struct Heard<'a> {
    /// The input.
    pub input: &'a Input<'a>,
    /// As what it is heard.
    pub trigger: Trigger,
    /// Its time.
    pub at: Ts,
    /// The spans it lies in; as [`Trigger::Undone`], in which what it takes back lies.
    pub spans: Spans,
    /// The record, where it is one.
    pub record: Option<&'a Record>,
    /// What was known of its player.
    pub facts: &'a Facts,
    /// Its player, after it.
    pub player: Option<(Key, &'a Player)>,
    /// The player's newest login or session before it.
    pub entry_before: Option<Ts>,
    /// The player's newest play before it.
    pub played_before: Option<Ts>,
    /// The device's players, where it was heard of anew.
    pub device: Option<(Key, &'a Crowd)>,
    /// The players that were paid out to the account.
    pub account: Option<(Key, &'a Crowd)>,
    /// The pair that the bet makes.
    pub pair: Option<&'a Pair>,
    /// A stake behind which moves of its player are known already.
    pub is_late: bool,
    /// An offer that is marketing.
    pub is_marketing: bool,
    /// The move that it takes back.
    pub undone: Option<&'a Move>,
    /// The document that it is, or the invoice that it pays.
    pub document: Option<Noticed>,
    /// The day that is over with it.
    pub closed: Option<Window>,
    /// Everything shared.
    pub book: &'a Book,
}

impl Heard<'_> {
    /// The player, where the record's money is in a rule's currency.
    #[must_use]
    pub fn player_in(&self, currency: Currency) -> Option<(Key, &Player)> {
        self.player.filter(|_| self.record.is_some_and(|record| record.currency == currency))
    }
}

/// An operator's rules with their state. The same inputs give the same findings, bit for bit.
#[derive(Clone, Debug)]
pub struct OperatorRules {
    pub(super) scope: Scope,
    pub(super) calendar: Calendar,
    pub(super) active: Active,
    pub(super) book: Book,
    pub(super) standing: Standing,
    pub(super) tally: Tally,
}

impl OperatorRules {
    /// Before any input. Days and months are cut in `zone`, the jurisdiction's.
    #[must_use]
    pub fn new(operator_no: OperatorNo, zone: TimeZone, set: &RuleSet) -> Self {
        Self {
            scope: Scope::Operator(operator_no),
            calendar: Calendar::new(zone),
            active: set.active(),
            book: Book::default(),
            standing: Standing::default(),
            tally: Tally::default(),
        }
    }

    /// Other versions from now on; the book does not depend on them.
    pub fn set_rules(&mut self, set: &RuleSet) {
        self.active = set.active();
    }

    /// The local day that an instant lies in.
    pub fn day_of(&mut self, at: Ts) -> Window {
        self.calendar.spans(at).day
    }

    /// What the rules share.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The calendar month of an instant, by the jurisdiction's midnights.
    pub fn month(&mut self, at: Ts) -> Window {
        self.calendar.spans(at).month
    }

    /// Findings that are remembered.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Days that a tick found over, or changed since they were told last (then once an hour of the inputs' clock). They are
    /// given once: whoever takes them behind an input commits them. Their numbers follow from the inputs alone, so that
    /// whoever hears those again is given the same.
    pub fn closed_days(&mut self) -> Vec<ComplianceDayCounted> {
        let Scope::Operator(operator_no) = self.scope else { return Vec::new() };
        let calendar = &self.calendar;
        let told = |(day, revision, tally)| {
            let day = calendar.name(day);
            ComplianceDayCounted { operator_no, day, revision, tally }
        };
        self.tally.take_due().into_iter().map(told).collect()
    }

    /// What is counted day by day.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Takes an input in; what follows joins `findings`, one revision of a finding for each list. Whoever hands in a
    /// batch hands in the same list for all of its records, and behind them a [`Input::Tick`] with the batch's clock
    /// where its records have one of their own.
    pub fn hear(&mut self, input: &Input<'_>, findings: &mut Vec<Finding>) {
        self.hear_and(input, findings, |_| ());
    }

    /// The same, and shows what was heard, before any rule judges it: what models are told stands on it.
    pub fn hear_and(&mut self, input: &Input<'_>, findings: &mut Vec<Finding>, show: impl FnOnce(&Heard<'_>)) {
        let (at, spans) = spans_of(&mut self.calendar, input);
        let (noted, trigger, record, facts) = self.note(input, &spans);
        // what is taken back is judged in its own day and month
        let undone_spans = noted.undone.as_ref().map(|was| self.calendar.spans(was.at));
        let Self { scope, active, book, standing, tally, .. } = self;
        let book: &Book = book;
        let none = Facts::default();
        let heard = Heard {
            input,
            trigger: Trigger::Other,
            at,
            spans,
            record,
            facts: facts.unwrap_or(&none),
            player: noted.player.map(|(key, place)| (key, book.players.at(place))),
            entry_before: noted.entry_before,
            played_before: noted.played_before,
            device: noted.device.map(|(key, place)| (key, book.devices.at(place))),
            account: noted.account.map(|(key, place)| (key, book.accounts.at(place))),
            pair: noted.pair.map(|place| book.pairs.at(place)),
            is_late: noted.is_late,
            is_marketing: noted.campaign,
            undone: noted.undone.as_ref(),
            document: noted.document,
            closed: noted.closed,
            book,
        };
        tally.note(&Heard { trigger: trigger.unwrap_or(Trigger::Other), ..heard });
        show(&heard);
        let undone = noted.undone.as_ref().map(|_| Trigger::Undone);
        let closed = noted.closed.map(|_| Trigger::DayClosed);
        for trigger in [undone, closed, trigger].into_iter().flatten() {
            let spans = undone_spans.filter(|_| trigger == Trigger::Undone).unwrap_or(spans);
            for version in active.operator(trigger, at) {
                let mut out = Out::new(standing, version.about(*scope, at), record, findings);
                version.params.judge(&Heard { trigger, spans, ..heard }, &mut out);
            }
        }
    }

    fn note<'a>(
        &mut self,
        input: &Input<'a>,
        spans: &Spans,
    ) -> (Noted, Option<Trigger>, Option<&'a Record>, Option<&'a Facts>) {
        let mut noted = Noted::default();
        let (trigger, record, facts) = match *input {
            Input::Play { record, facts } if !record.kind.is_document() => {
                noted = self.book.play(record, facts, spans);
                (Trigger::of(record), Some(record), Some(facts))
            }
            // a document among play is a document
            Input::Play { record, .. } | Input::Document { record } => {
                noted.document = self.book.document(record);
                (noted.document.map(|_| Trigger::Document), Some(record), None)
            }
            Input::Licence { at, licence } => {
                noted.document = Some(Noticed::Licence(self.book.papers.licences.entered(at, licence)));
                (Some(Trigger::Document), None, None)
            }
            Input::OperatorState { at, state } => {
                self.book.papers.licences.operator(at, state);
                noted.document = Some(Noticed::Operator);
                (Some(Trigger::Document), None, None)
            }
            Input::Declared(declared) => {
                self.book.declare(&declared);
                (Some(Trigger::Declared), None, None)
            }
            Input::Signal { signal, behind } => {
                self.book.signal(&signal, behind);
                (Some(Trigger::Signal), None, None)
            }
            Input::Exclusions(exclusions) => {
                self.book.excluded(&exclusions);
                (Some(Trigger::Exclusions), None, None)
            }
            // nothing of it is remembered but what is said
            Input::Series(_) => (Some(Trigger::Series), None, None),
            Input::RecordScored { .. } => (Some(Trigger::RecordScored), None, None),
            Input::PlayerScored { .. } => (Some(Trigger::PlayerScored), None, None),
            Input::Tick { at, .. } => {
                self.book.tick(at);
                (Some(Trigger::Tick), None, None)
            }
        };
        (noted, trigger, record, facts)
    }
}
