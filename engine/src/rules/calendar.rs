//! Days, weeks and months of a jurisdiction.

use crate::windows::Cutter;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use models::alert::{Granularity, Window};
use models::ts::Ts;

/// The spans in which an instant lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spans {
    /// Local day.
    pub day: Window,
    /// Local week, from Monday.
    pub week: Window,
    /// Local calendar month.
    pub month: Window,
}

/// Cuts time; remembers the last month, because asking a zone costs more than all rules together.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    cutter: Cutter,
    month: Window,
}

impl Calendar {
    /// In a time zone.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        let month = Window { start: Ts(0), end: Ts(0) };
        Self { cutter: Cutter::new(zone.clone()), zone, month }
    }

    /// The spans of an instant.
    pub fn spans(&mut self, at: Ts) -> Spans {
        let day = self.cutter.window(Granularity::Day, at);
        let week = self.cutter.window(Granularity::Week, at);
        if !(self.month.start..self.month.end).contains(&at) {
            self.month = self.month_of(at).unwrap_or(day);
        }
        Spans { day, week, month: self.month }
    }

    /// The local day that an instant lies in: `YYYY-MM-DD`.
    #[must_use]
    pub fn name(&self, at: Ts) -> String {
        let instant = Timestamp::from_microsecond(at.0).unwrap_or_default();
        instant.to_zoned(self.zone.clone()).date().to_string()
    }

    fn month_of(&self, at: Ts) -> Option<Window> {
        let first = Timestamp::from_microsecond(at.0).ok()?.to_zoned(self.zone.clone()).date().first_of_month();
        let next = first.checked_add(1.month()).ok()?;
        let instant = |date: jiff::civil::Date| {
            let zoned = date.to_zoned(self.zone.clone()).ok()?;
            Some(Ts(zoned.timestamp().as_microsecond()))
        };
        Some(Window { start: instant(first)?, end: instant(next)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_cut_where_people_live() {
        let table = [
            ("Africa/Nairobi", "2026-11-30T21:30:00Z", "2026-11-30T21:00:00.000Z", "2026-12-31T21:00:00.000Z"),
            ("Africa/Nairobi", "2026-11-30T20:30:00Z", "2026-10-31T21:00:00.000Z", "2026-11-30T21:00:00.000Z"),
            ("Africa/Lagos", "2024-02-29T12:00:00Z", "2024-01-31T23:00:00.000Z", "2024-02-29T23:00:00.000Z"),
            ("Europe/Berlin", "2026-10-25T12:00:00Z", "2026-09-30T22:00:00.000Z", "2026-10-31T23:00:00.000Z"),
        ];
        for (zone, at, start, end) in table {
            let mut calendar = Calendar::new(TimeZone::get(zone).unwrap());
            for _ in 0..2 {
                let month = calendar.spans(Ts::parse(at).unwrap()).month;
                assert_eq!(calendar.name(month.start)[8..], *"01", "{at}");
                assert_eq!((month.start.to_string().as_str(), month.end.to_string().as_str()), (start, end), "{at}");
            }
        }
    }
}
