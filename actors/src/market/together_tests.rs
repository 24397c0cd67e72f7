//! Stories of an operator's figures together: through the watch, its kept state and the rule.

use super::super::states::newest_readable;
use super::super::{OperatorStateRow, StateMetrics};
use super::tests::{hour, noise};
use super::*;
use engine::rules::finding::Finding;
use engine::rules::input::Input;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::ids::OperatorNo;
use models::series::{SeriesScored, ToldAlready};

/// The first hour that can be an alert: 199 teach the detectors, 168 are described, 200 are judged.
const SPEAKS_FROM: i64 = 199 + 168 + 200;
/// An hour of which the figures do not fit each other.
const ODD: i64 = 643;
/// The end of the stories.
const END: i64 = 700;

/// The n-th hour of a market: busy or not, all figures follow how many records there are, each with some noise of its
/// own; what is paid out has exponential tails. Stakes and players are so many times as high.
fn closed(market: i64, n: i64, [stakes_times, players_times]: [f64; 2]) -> Closed {
    let own = |figure: i64| noise((market * 1_000_003 + n) * 8 + figure);
    let level = if (8..22).contains(&(n % 24)) { 600.0 } else { 200.0 };
    let count = level * (1.0 + 0.15 * own(0)) * (1.0 + 0.03 * own(1));
    let stakes = count * 1_000.0 * (1.0 + 0.06 * own(2)) * stakes_times;
    let wins = own(3).signum() * (1.0 - 0.999_999 * own(3).abs()).ln();
    let payouts = stakes * 0.9 * (0.1 * wins).exp();
    let players = count / 4.0 * (1.0 + 0.04 * own(4)) * players_times;
    let hold = (stakes - payouts) / stakes * 1e6;
    Closed {
        currency: Currency::KES,
        granularity: Granularity::Hour,
        window: hour(n),
        wall_start: hour(n).start,
        values: [count, stakes, payouts, stakes - payouts, players, hold].map(|value| value as i64),
        records: count as u64,
        is_partial: false,
    }
}

/// More is staked than ever fitted the records, by fewer players.
fn story(n: i64) -> Closed {
    closed(1, n, if n == ODD { [1.3, 0.8] } else { [1.0, 1.0] })
}

fn hear(watch: &mut SeriesWatch, hours: impl Iterator<Item = Closed>) -> Vec<SeriesScore> {
    hours.flat_map(|closed| watch.hear(std::slice::from_ref(&closed), closed.window.end, &[]).scores).collect()
}

fn is_together(score: &&SeriesScore) -> bool {
    score.reasons.iter().any(|reason| reason.oddity == Oddity::Together)
}

fn view(watch: &SeriesWatch) -> TogetherView {
    watch.together().next().expect("figures together")
}

/// What the rule makes of scores.
fn found(scores: Vec<SeriesScore>) -> Vec<Finding> {
    let zone = TimeZone::get("Africa/Nairobi").expect("a zone");
    let mut rules = OperatorRules::new(OperatorNo(1), zone, &RuleSet::standard("KE"));
    let scored = SeriesScored { operator_seq: 1, at: hour(END).end, params_version: PARAMS_VERSION, scores };
    let mut findings = Vec::new();
    rules.hear(&Input::Series(&scored), &mut findings);
    findings.retain(|finding| finding.rule == "series_unusual");
    findings
}

#[test]
fn two_quiet_months_say_nothing_of_figures_together() {
    for market in 0..2 {
        let mut watch = SeriesWatch::default();
        let scores = hear(&mut watch, (0..60 * 24).map(|n| closed(market, n, [1.0, 1.0])));
        let told: Vec<_> = scores.iter().filter(is_together).filter(|score| score.is_alert).collect();
        assert!(told.is_empty(), "market {market}: {told:#?}");
        let words = scores.iter().filter(is_together).count();
        assert!(words < 30, "market {market}: worth a word are {words} of 870 hours");
        let view = view(&watch);
        assert_eq!((view.rows, view.is_learning, view.newest.window), (6 * 168, false, hour(1_439)), "the newest ones");
        assert_eq!(view.fitted_at, Some(hour(199 + 167 + 44 * 24).start), "once a day");
        let bytes = snapshot::write(&watch.together).expect("bytes").len();
        assert!(bytes <= TOGETHER_BYTES_MAX, "{bytes} bytes");
    }
}

#[test]
fn figures_that_are_ordinary_each_and_do_not_fit_are_told_by_name() {
    let mut watch = SeriesWatch::default();
    hear(&mut watch, (0..ODD).map(story));
    assert!(!view(&watch).is_learning, "it speaks from hour {SPEAKS_FROM} on");
    let scores = hear(&mut watch, std::iter::once(story(ODD)));
    let (together, alone): (Vec<&SeriesScore>, Vec<&SeriesScore>) = scores.iter().partition(is_together);
    assert!(alone.iter().all(|score| !score.is_alert), "none by itself: {alone:#?}");
    for metric in [Metric::Stakes, Metric::UniquePlayers] {
        let newest = watch.views().find(|view| view.series.metric == metric).expect("a series").newest;
        let ((low, high), value) = (newest.band.expect("a band"), newest.value.expect("a value"));
        assert!(low < value && value < high, "{metric:?} is in its band: {newest:?}");
    }
    let [score] = together[..] else { panic!("one of the hour: {together:#?}") };
    assert!(score.is_alert && score.score_ppm >= 500_000, "{score:#?}");
    assert_eq!((score.window, score.points), (hour(ODD), (ODD - 199) as u64));
    assert_eq!(view(&watch).newest.score_ppm, score.score_ppm);
    let (low, high) = score.band.expect("a band");
    assert!(low < score.expected && score.expected < high && !(low..=high).contains(&score.value), "{score:#?}");
    let mut named: Vec<(Option<Metric>, bool)> =
        score.reasons[..2].iter().map(|reason| (reason.metric, reason.observed > reason.usual)).collect();
    named.sort_unstable();
    assert_eq!(named, [(Some(Metric::Stakes), true), (Some(Metric::UniquePlayers), false)], "{score:#?}");
    assert_eq!(Some(score.series.metric), score.reasons[0].metric);

    // in words, once, and not where the robust detector has said something of that hour
    let said = found(vec![score.clone()]);
    assert_eq!(said.len(), 1, "{said:#?}");
    for (figure, side) in [("stakes: ", "above"), ("unique players: ", "below")] {
        let words = format!("% {side} what the other figures of the hour let expect;");
        let is_said = said[0].reasons.iter().any(|reason| reason.starts_with(figure) && reason.contains(&words));
        assert!(is_said, "{:#?}", said[0].reasons);
    }
    let told = Some(ToldAlready { alert: AlertId(1), window: hour(ODD) });
    assert!(found(vec![SeriesScore { told, ..score.clone() }]).is_empty(), "it is told of already");
}

#[test]
fn a_restart_anywhere_gives_the_same_scores_and_a_spoilt_state_begins_anew() {
    let mut whole = SeriesWatch::default();
    let wanted = hear(&mut whole, (0..END).map(story));
    assert!(wanted.iter().any(|score| is_together(&score)), "something is said");
    let registry = prometheus::Registry::new();
    let metrics = StateMetrics::register_as(&registry, ["a", "b", "c"], "").expect("metrics");
    let row = |operator_seq, bytes: &[u8]| OperatorStateRow {
        operator_seq,
        layout: SeriesWatch::LAYOUT,
        state: zstd::encode_all(bytes, 1).expect("packed"),
    };
    // before the first fit, with one due, with one taken, in the odd hour, behind it
    for cut in [300, 367, 368, ODD, ODD + 1] {
        let mut watch = SeriesWatch::default();
        let mut scores = hear(&mut watch, (0..cut).map(story));
        assert_eq!(watch.due_fits().len(), usize::from(cut == 367), "cut at {cut}");
        let bytes = watch.to_bytes().expect("bytes");
        let half = &bytes[..bytes.len() / 2];
        let rows = [row(cut, half), row(cut, &bytes)];
        let (_, mut back) = newest_readable(OperatorNo(1), &SeriesWatch::default(), &rows, &metrics).expect("a state");
        assert_eq!(back, watch, "cut at {cut}");
        scores.extend(hear(&mut back, (cut..END).map(story)));
        assert_eq!(scores, wanted, "cut at {cut}");
        assert!(newest_readable(OperatorNo(1), &SeriesWatch::default(), &rows[..1], &metrics).is_none());
    }
    assert_eq!(metrics.lost.get(), 10, "what was spoilt is counted");
    // and then the two weeks that the market remembers teach the detectors, and the figures are learnt from there on
    let remembered: Vec<Closed> = (END - 336..END).map(story).collect();
    let anew = SeriesWatch::learnt(&remembered);
    let TogetherView { is_learning, rows, fitted_at, .. } = view(&anew);
    assert_eq!((is_learning, rows, fitted_at), (true, 336 - 199, None));
}

#[test]
fn windows_that_come_at_once_are_heard_as_if_each_came_by_itself() {
    let hours: Vec<Closed> = (0..END).map(story).collect();
    let mut one_by_one = SeriesWatch::default();
    let mut wanted = hear(&mut one_by_one, hours.iter().cloned());
    wanted.sort_by_key(|score| (score.series, score.window.start));
    let mut at_once = SeriesWatch::default();
    assert_eq!(at_once.hear(&hours, hour(END).end, &[]).scores, wanted);
    assert_eq!(at_once, one_by_one);
    // as the actor does it: nothing is heard behind a fit that is due before that is taken
    let mut actors = SeriesWatch::default();
    let mut hearing = Hearing::new(&hours, hour(END).end, &[]);
    let mut fits = 0;
    while !actors.hear_some(&mut hearing) {
        assert!(!actors.hear_some(&mut hearing), "it waits");
        let done: Vec<DoneFit> = actors.due_fits().iter().map(DueFit::run).collect();
        assert!(done.len() == 1 && !done[0].is_failed());
        actors.take(done);
        fits += 1;
    }
    assert_eq!((hearing.done().scores, fits), (wanted, 14), "once a day");
    assert_eq!(actors, one_by_one);
}

#[test]
fn a_failed_fit_is_tried_again_a_day_later_and_nothing_waits_for_it() {
    let mut watch = SeriesWatch::default();
    hear(&mut watch, (0..367).map(story));
    let failed: Vec<DoneFit> = watch.due_fits().iter().map(DueFit::failed).collect();
    assert!(failed.len() == 1 && failed[0].is_failed());
    watch.take(failed);
    hear(&mut watch, (367..390).map(story));
    assert_eq!((view(&watch).fitted_at, watch.due_fits().len()), (None, 0));
    hear(&mut watch, (390..392).map(story));
    assert_eq!(view(&watch).fitted_at, Some(hour(390).start));
}

#[test]
fn an_hour_with_a_missing_figure_is_no_row() {
    let mut watch = SeriesWatch::default();
    hear(&mut watch, (0..250).map(story));
    let whole = story(250);
    let silence = FeedSilence { since: hour(249).start, said_at: hour(249).end, until: None };
    // what | the hour | silences | is it a row
    let table = [
        ("an hour", whole.clone(), vec![], true),
        ("nobody watched", Closed { is_partial: true, ..whole.clone() }, vec![], false),
        ("a hold of few bets", Closed { records: HOLD_RECORDS_MIN - 1, ..whole.clone() }, vec![], false),
        ("a feed was silent", whole.clone(), vec![silence], false),
        ("a day", Closed { granularity: Granularity::Day, ..whole.clone() }, vec![], false),
        ("another currency, of which nothing is known", Closed { currency: Currency::EUR, ..whole }, vec![], false),
    ];
    for (what, closed, silences, is_row) in table {
        let mut watch = watch.clone();
        watch.hear(std::slice::from_ref(&closed), closed.window.end, &silences);
        let rows: Vec<usize> = watch.together().map(|view| view.rows).collect();
        assert_eq!(rows, [250 - 199 + usize::from(is_row)], "{what}");
    }
}
