//! Hours and days that are over, as they stood when they closed: the points of an operator's series.

use super::judge::Place;
use super::{OperatorState, Standing};
use crate::windows::{Cutter, RETENTION, Sums};
use models::alert::{Granularity, Metric, RevisionKind, Window};
use models::ids::AlertId;
use models::money::Currency;
use models::series::ToldAlready;
use models::ts::{DAY, MINUTE, Ts};

/// Lengths of windows that make a series: minutes have too few records each to be a level, weeks are too few.
const LENGTHS: [Granularity; 2] = [Granularity::Hour, Granularity::Day];
/// How long after its end a window is heard as a point: a feed that is asked every quarter of an hour has told of all of
/// it by then, whenever within the hour it is asked.
const HEARD_AFTER: i64 = 20 * MINUTE;
/// How far back an alert of the robust detector speaks for a window: a day of hours, a week of days.
const TOLD_HOURS: usize = 24;
const TOLD_DAYS: usize = 7;

/// A day of an operator's play that is over, by its jurisdiction's midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayDay {
    /// It.
    pub window: Window,
    /// Its value; none where nothing is known of it: nothing was sent, or nobody watched for a part of it.
    pub value: Option<i64>,
}

/// A window that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Currency.
    pub currency: Currency,
    /// Its length.
    pub granularity: Granularity,
    /// It.
    pub window: Window,
    /// What the jurisdiction's wall clock says where it begins, as if it were UTC.
    pub wall_start: Ts,
    /// Its value by metric, in the order of [`Metric::OF_RECORDS`].
    pub values: [i64; Metric::OF_RECORDS.len()],
    /// Successful records of every kind.
    pub records: u64,
    /// Nobody watched for a part of it: what is missing in it says nothing.
    pub is_partial: bool,
}

impl Closed {
    fn new(place: Place, wall_start: Ts, sums: &Sums, is_partial: bool) -> Self {
        let Place { currency, granularity, window } = place;
        let values = std::array::from_fn(|metric| sums.metric(Metric::OF_RECORDS[metric]));
        Self { currency, granularity, window, wall_start, values, records: sums.count, is_partial }
    }
}

impl OperatorState {
    /// A window that is over.
    fn closed(&self, cutter: &mut Cutter, place: Place) -> Option<Closed> {
        let Place { currency, granularity, window } = place;
        let sums = self.books.get(&currency)?.get(granularity, window.start)?;
        let wall_start = cutter.wall_clock(granularity, window.start);
        Some(Closed::new(place, wall_start, sums, self.slept_through(window).is_some()))
    }

    /// Windows of series that became points as the watermark moved from one time to the next, each series oldest first.
    pub(super) fn points(&self, from: Ts, until: Ts) -> Vec<Closed> {
        let late = |at: Ts| Ts(at.0.saturating_sub(HEARD_AFTER));
        let (mut cutter, mut all) = (self.cutter.clone(), Vec::new());
        for (currency, book) in &self.books {
            for granularity in LENGTHS {
                let over = book.ending_within(granularity, late(from), late(until));
                let place = |window| Place { currency: *currency, granularity, window };
                all.extend(over.into_iter().filter_map(|window| self.closed(&mut cutter, place(window))));
            }
        }
        all
    }

    /// Every window of a series that is a point and remembered, each series oldest first: with late data, as they are now.
    #[must_use]
    pub fn closed_windows(&self) -> Vec<Closed> {
        self.points(Ts(i64::MIN), self.watermark)
    }

    /// Days of a currency that are over and heard of, oldest first and none left out: with late data, as they are now. At
    /// most as many as are remembered.
    #[must_use]
    pub fn days(&self, currency: Currency, metric: Metric) -> Vec<PlayDay> {
        let Some(book) = self.books.get(&currency) else { return Vec::new() };
        let over = book.ending_within(Granularity::Day, Ts(i64::MIN), self.watermark.plus(-HEARD_AFTER));
        let Some(newest) = over.last() else { return Vec::new() };
        // behind a hole of years nothing is held against today
        let remembered = RETENTION[Granularity::Day as usize];
        let first = newest.end.plus(-(remembered as i64) * DAY);
        let Some(mut window) = over.iter().find(|window| window.start >= first).copied() else { return Vec::new() };
        let (mut cutter, mut days) = (self.cutter.clone(), Vec::with_capacity(remembered));
        while window.end <= newest.end && days.len() < remembered {
            let known = book.get(Granularity::Day, window.start).filter(|_| self.slept_through(window).is_none());
            days.push(PlayDay { window, value: known.map(|sums| sums.metric(metric)) });
            window = cutter.window(Granularity::Day, window.end);
        }
        days
    }

    /// The newest standing alert of the robust detector on a window of this length and currency: of this one or shortly
    /// before it.
    #[must_use]
    pub fn told_already(&self, currency: Currency, granularity: Granularity, newest: Window) -> Option<ToldAlready> {
        let windows = if granularity == Granularity::Hour { TOLD_HOURS } else { TOLD_DAYS };
        let (mut cutter, mut first) = (self.cutter.clone(), newest);
        for _ in 1..windows {
            first = cutter.window(granularity, first.start.plus(-1));
        }
        let speaks = |(_, standing): &(&AlertId, &Standing)| {
            let is_near = |window: &Window| window.end > first.start && window.start <= newest.start;
            let mut followers = standing.followers.iter().filter(|(length, _)| *length == granularity);
            let tells = standing.granularity == granularity && is_near(&standing.reach);
            standing.stands()
                && standing.currency == currency
                && (tells || followers.any(|(_, window)| is_near(window)))
        };
        // of several the one that tells of the newest window
        let told = self.alerts.iter().filter(speaks).max_by_key(|(id, standing)| (standing.reach.end, **id));
        told.map(|(alert, standing)| ToldAlready { alert: *alert, window: standing.window })
    }
}

impl Standing {
    pub(super) fn stands(&self) -> bool {
        self.kind != RevisionKind::Withdrawn
    }
}
