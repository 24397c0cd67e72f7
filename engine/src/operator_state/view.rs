//! The operator on a screen: its newest windows, their course, and sums of all time.

use super::OperatorState;
use crate::windows::{Book, Sums};
use models::alert::Granularity;
use models::money::Currency;
use models::ts::Ts;
use serde::Serialize;
use std::collections::BTreeMap;

/// Points of each series in the view.
const SERIES: [usize; 4] = [60, 48, 60, 160];

impl OperatorState {
    /// What screens show.
    pub fn view(&self) -> OperatorView<'_> {
        OperatorView {
            operator: &self.code,
            as_of: self.watermark,
            last_event_at: self.last_event_at,
            currencies: self.books.iter().map(|(currency, book)| CurrencyView::of(*currency, book)).collect(),
        }
    }
}

/// The operator on a screen. Amounts in minor units, hold in parts per million.
#[derive(Serialize)]
pub struct OperatorView<'a> {
    operator: &'a str,
    as_of: Ts,
    last_event_at: Option<Ts>,
    currencies: Vec<CurrencyView>,
}

#[derive(Serialize)]
struct CurrencyView {
    currency: Currency,
    /// Late records whose window was forgotten; only the totals have them.
    behind_retention: u64,
    totals: Point,
    windows: BTreeMap<&'static str, Point>,
    series: BTreeMap<&'static str, Vec<Point>>,
}

#[derive(Serialize)]
struct Point {
    at: Ts,
    count: u64,
    failed: u64,
    stakes: i64,
    payouts: i64,
    ggr: i64,
    hold_ppm: i64,
    /// Not counted over all time: it would grow without end and answer nothing.
    #[serde(flatten)]
    players: Option<PlayersView>,
    replacing: u64,
    saturated: bool,
}

#[derive(Serialize)]
struct PlayersView {
    unique_players: u64,
    unique_players_estimated: bool,
}

impl Point {
    fn of(at: Ts, sums: &Sums) -> Self {
        Self {
            at,
            count: sums.count,
            failed: sums.failed,
            stakes: sums.stakes(),
            payouts: sums.payouts(),
            ggr: sums.gross_gaming_revenue(),
            hold_ppm: sums.hold_ppm(),
            players: Some(PlayersView {
                unique_players: sums.players.count(),
                unique_players_estimated: sums.players.is_estimate(),
            }),
            replacing: sums.replacing,
            saturated: sums.is_saturated(),
        }
    }
}

impl CurrencyView {
    fn of(currency: Currency, book: &Book) -> Self {
        let mut view = Self {
            currency,
            behind_retention: book.behind_retention,
            totals: Point { players: None, ..Point::of(Ts(0), &book.total) },
            windows: BTreeMap::new(),
            series: BTreeMap::new(),
        };
        for (granularity, points) in Granularity::ALL.iter().zip(SERIES) {
            let mut series: Vec<Point> =
                book.newest(*granularity).take(points).map(|(window, sums)| Point::of(window.start, sums)).collect();
            series.reverse();
            if let Some((window, sums)) = book.newest(*granularity).next() {
                view.windows.insert(granularity.as_str(), Point::of(window.start, sums));
            }
            view.series.insert(granularity.as_str(), series);
        }
        view
    }
}
