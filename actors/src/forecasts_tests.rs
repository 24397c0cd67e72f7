use super::*;
use ml::forecast::batch::{self, Request};
use models::alert::Window;
use models::ts::DAY;

const ASKED: ForecastAsked =
    ForecastAsked { operator: OperatorNo(1), metric: Metric::Stakes, currency: Currency::KES, horizon: 14 };

/// Weeks with a strong end, noise that is the same every time, and some days missing.
fn days(count: i64, is_missing: impl Fn(i64) -> bool) -> Vec<PlayDay> {
    let day = |n: i64| {
        let window = Window { start: Ts(n * DAY), end: Ts((n + 1) * DAY) };
        let value = 1_000_000 + 2_000 * n + if n % 7 > 4 { 400_000 } else { 0 } + n * 7_919 % 50_000;
        PlayDay { window, value: (!is_missing(n)).then_some(value) }
    };
    (0..count).map(day).collect()
}

fn forecasts() -> Forecasts {
    Forecasts::register(&Registry::new()).expect("metrics")
}

async fn forecast(forecasts: &Forecasts, asked: ForecastAsked, days: &[PlayDay]) -> Arc<Forecast> {
    forecasts.of(asked, days).await.expect("an answer").expect("a forecast")
}

fn count(forecasts: &Forecasts, outcome: &str) -> u64 {
    forecasts.metrics.outcomes.with_label_values(&[outcome]).get()
}

/// What the batch command writes for the same values: mean, lower and upper bound by step.
fn of_the_command(days: &[PlayDay], horizon: usize) -> [Vec<f64>; 3] {
    let mut train = "series_id,ds,y\n".to_owned();
    for day in days {
        let date = day.window.start.to_string();
        let value = day.value.map_or_else(|| "NA".to_owned(), |value| value.to_string());
        train += &format!("a,{},{value}\n", &date[..10]);
    }
    let mut output = Vec::new();
    let request = Request { horizon, period: PERIOD };
    batch::run(train.as_bytes(), &mut output, request, &Params::default()).expect("it forecasts");
    let text = String::from_utf8(output).expect("text");
    let mut columns = [const { Vec::new() }; 3];
    for line in text.lines().skip(1) {
        let cells: Vec<f64> = line.split(',').skip(2).map(|cell| cell.parse().expect("a number")).collect();
        columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
    }
    columns
}

#[actix_rt::test]
async fn the_numbers_are_those_of_the_batch_command() {
    let forecasts = forecasts();
    // days, days that are missing, days ahead
    type Row = (i64, fn(i64) -> bool, usize);
    let table: [Row; 4] = [
        (60, |_| false, 14),
        (400, |_| false, 56),
        (90, |n| [3, 40, 41].contains(&n), 7),
        (90, |n| n % 30 == 11 || n >= 88, 14),
    ];
    for (count, is_missing, horizon) in table {
        let days = days(count, is_missing);
        let live = forecast(&forecasts, ForecastAsked { horizon, ..ASKED }, &days).await;
        let [mean, low, high] = of_the_command(&days, horizon);
        assert_eq!((mean.len(), &live.mean, &live.low, &live.high), (horizon, &mean, &low, &high), "{count} {horizon}");
        assert!(!live.methods.is_empty() && live.low.iter().zip(&live.high).all(|(low, high)| low < high), "{live:?}");
    }
}

#[actix_rt::test]
async fn of_too_little_nothing_is_forecast() {
    let forecasts = forecasts();
    let none = |_: i64| false;
    let table: [(Vec<PlayDay>, usize, NotForecast); 5] = [
        (Vec::new(), 14, NotForecast::TooFewDays { known: 0, needed: 42 }),
        (days(41, none), 14, NotForecast::TooFewDays { known: 41, needed: 42 }),
        (days(125, none), 56, NotForecast::TooFewDays { known: 125, needed: 126 }),
        (days(60, |n| n % 2 == 0), 14, NotForecast::TooFewDays { known: 30, needed: 42 }),
        (days(75, |n| n >= 60), 14, NotForecast::NewestMissing { missing: 15 }),
    ];
    for (days, horizon, wanted) in table {
        let said = forecasts.of(ForecastAsked { horizon, ..ASKED }, &days).await.expect("an answer");
        assert_eq!(said.err(), Some(wanted));
    }
    assert_eq!((count(&forecasts, "too_little"), count(&forecasts, "computed")), (5, 0));
    for (days, horizon) in [(days(42, none), 14), (days(17, none), 1), (days(74, |n| n >= 60), 14)] {
        forecast(&forecasts, ForecastAsked { horizon, ..ASKED }, &days).await;
    }
}

#[actix_rt::test]
async fn the_same_days_are_forecast_once_and_late_data_makes_it_anew() {
    let forecasts = forecasts();
    let first = days(60, |_| false);
    let made = forecast(&forecasts, ASKED, &first).await;
    assert!(Arc::ptr_eq(&made, &forecast(&forecasts, ASKED, &first).await), "given again");
    assert_eq!((count(&forecasts, "computed"), count(&forecasts, "kept")), (1, 1));
    let other = forecast(&forecasts, ForecastAsked { horizon: 7, ..ASKED }, &first).await;
    assert_eq!(other.mean.len(), 7);
    let mut late = first.clone();
    late[59].value = late[59].value.map(|value| 2 * value);
    let anew = forecast(&forecasts, ASKED, &late).await;
    assert_ne!(anew.mean, made.mean);
    forecast(&forecasts, ASKED, &days(61, |_| false)).await;
    assert_eq!((count(&forecasts, "computed"), count(&forecasts, "kept")), (4, 1));
    assert_eq!(forecasts.metrics.seconds.get_sample_count(), 4);
    assert_eq!(forecasts.shelf.lock().kept.len(), 2, "one of each question");
}

#[actix_rt::test]
async fn whoever_finds_no_place_is_told_so_and_what_is_kept_needs_none() {
    let forecasts = forecasts();
    let days = days(60, |_| false);
    forecast(&forecasts, ASKED, &days).await;
    let all = u32::try_from(AT_ONCE + WAITING_MAX).expect("few");
    let held = Arc::clone(&forecasts.places).try_acquire_many_owned(all).expect("everybody else is done");
    let asked = ForecastAsked { metric: Metric::Payouts, ..ASKED };
    assert!(matches!(forecasts.of(asked, &days).await, Err(EngineError::Overloaded(_))));
    assert_eq!(count(&forecasts, "overloaded"), 1);
    forecast(&forecasts, ASKED, &days).await;
    drop(held);
    forecast(&forecasts, asked, &days).await;
    // nobody keeps a place or a turn
    assert_eq!(forecasts.places.available_permits(), AT_ONCE + WAITING_MAX);
    assert_eq!(forecasts.turns.available_permits(), AT_ONCE);
}

#[test]
fn the_shelf_is_no_longer_than_its_limit() {
    let mut shelf = Shelf::default();
    let empty = Arc::new(Forecast { mean: Vec::new(), low: Vec::new(), high: Vec::new(), methods: Vec::new() });
    let asked = |no: usize| ForecastAsked { operator: OperatorNo(no as u16), ..ASKED };
    for no in 0..KEPT_MAX {
        shelf.put(asked(no), Vec::new(), Arc::clone(&empty));
    }
    assert!(shelf.get(&asked(0), &[]).is_some(), "used now");
    shelf.put(asked(KEPT_MAX), Vec::new(), Arc::clone(&empty));
    assert_eq!(shelf.kept.len(), KEPT_MAX);
    assert!(shelf.get(&asked(0), &[]).is_some() && shelf.get(&asked(1), &[]).is_none(), "used longest ago");
    assert!(shelf.get(&asked(0), &days(1, |_| false)).is_none(), "of other days");
}
