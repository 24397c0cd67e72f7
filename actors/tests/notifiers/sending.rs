//! What a sender does with what waits.

use super::bench::{Bench, Does, Kind, NOW, Node, Told, eventually, notice, row};
use actors::notifiers::{NotifySetup, Sender};
use engine::routing::{HoursSpec, RouteSpec, Router};
use models::alert::Severity;
use models::notice::{NoticeKind, NoticeState};
use models::ts::{HOUR, MINUTE, SECOND, Ts};
use std::sync::Arc;
use std::time::Duration;

const RATE: u32 = 6_000;

async fn put(node: &Node, ids: impl IntoIterator<Item = u128>) {
    // each a group of its own
    node.put(ids.into_iter().map(|id| row("told", &notice(id, &id.to_string()))).collect()).await;
}

pub async fn what_is_due_is_sent_once_and_in_order(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new([]);
    let mut sender = node.sender(told.open("told", RATE));
    let mut later = notice(1, "later");
    later.at = NOW.plus(MINUTE);
    node.put(vec![row("told", &later), row("other", &notice(2, "b"))]).await;
    put(&node, 3..=80).await;
    sender.round().await.expect("read");
    assert_eq!(told.given(), (3..=80).collect::<Vec<_>>(), "more than is read at once, and none of another channel");
    assert_eq!(node.state(2).await, NoticeState::Pending);
    let sent = node.stored(80).await;
    assert_eq!((sent.state, sent.attempts, sent.sent_at), (NoticeState::Sent, 1, Some(NOW)));
    bench.clock.set(NOW.plus(MINUTE));
    sender.round().await.expect("read");
    sender.round().await.expect("read");
    assert_eq!(told.given().len(), 79);
    assert_eq!(told.given().last(), Some(&1));
    node.end().await;
}

pub async fn what_is_not_taken_is_tried_again_later_and_later_and_given_up_after_three_days(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new((0..1_000).map(|_| Does::Fail));
    let mut sender = node.sender(told.open("told", RATE));
    put(&node, [1]).await;
    let mut attempts = Vec::new();
    let mut now = NOW;
    loop {
        bench.clock.set(now);
        sender.round().await.expect("read");
        let stored = node.stored(1).await;
        attempts.push(now);
        assert_eq!((stored.attempts as usize, stored.first_try_at), (attempts.len(), Some(NOW)));
        assert_eq!(stored.last_error.as_deref(), Some("answered 503"));
        if stored.state != NoticeState::Pending {
            assert_eq!(stored.state, NoticeState::Failed);
            break;
        }
        // a moment before its time nothing happens
        bench.clock.set(stored.next_at.plus(-1));
        sender.round().await.expect("read");
        assert_eq!(told.given().len(), attempts.len());
        now = stored.next_at;
    }
    let gaps: Vec<i64> = attempts.windows(2).map(|w| (w[1].0 - w[0].0) / SECOND).collect();
    assert_eq!(gaps[..11], [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    let tried_for = attempts[attempts.len() - 1].0 - NOW.0;
    assert!((72 * HOUR..72 * HOUR + 10 * MINUTE).contains(&tried_for), "{}", tried_for / SECOND);
    bench.clock.set(now.plus(HOUR));
    sender.round().await.expect("read");
    assert_eq!(told.given().len(), attempts.len(), "given up is given up");
    node.end().await;
}

pub async fn what_is_refused_is_not_tried_again_and_holds_nothing_up(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new([Does::Refuse]);
    let parts = node.parts(told.open("told", RATE));
    let mut sender = Sender::new(parts.clone());
    put(&node, [1, 2]).await;
    sender.round().await.expect("read");
    assert_eq!(told.given(), [1, 2]);
    let refused = node.stored(1).await;
    assert_eq!((refused.state, refused.last_error.as_deref()), (NoticeState::Failed, Some("answered 422")));
    assert_eq!(node.state(2).await, NoticeState::Sent);
    let status = parts.status.lock().clone();
    assert_eq!((status.failures, status.last_error.as_deref()), (0, Some("answered 422")));
    node.end().await;
}

pub async fn what_some_have_is_sent_and_says_who_has_it_not(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new([Does::Partly(true), Does::Take, Does::Partly(false)]);
    let parts = node.parts(told.open("told", RATE));
    let mut sender = Sender::new(parts.clone());
    put(&node, [1, 2]).await;
    sender.round().await.expect("read");
    assert_eq!(told.given(), [1, 2], "the channel works");
    let waiting = node.stored(1).await;
    assert_eq!((waiting.state, waiting.last_error.as_deref()), (NoticeState::Pending, Some("answered 550")));
    bench.clock.set(NOW.plus(10 * SECOND));
    sender.round().await.expect("read");
    assert_eq!(told.given(), [1, 2, 1]);
    let sent = node.stored(1).await;
    assert_eq!((sent.state, sent.attempts, sent.last_error.as_deref()), (NoticeState::Sent, 2, Some("answered 550")));
    let status = parts.status.lock().clone();
    assert_eq!((status.failures, status.last_error.as_deref()), (0, Some("answered 550")));
    assert!(status.last_sent_at.is_some());
    node.end().await;
}

pub async fn an_end_between_sending_and_marking_repeats_that_one_with_its_id_and_no_other(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let mut all = Vec::new();

    // killed while the other side has it and has not answered
    let node = bench.node().await;
    put(&node, 1..=5).await;
    let told = Told::new([Does::Take, Does::Hang]);
    let running = tokio::spawn(Sender::run(node.parts(told.open("told", RATE))));
    eventually("the second one is under way", async || told.given().len() == 2).await;
    running.abort();
    node.end().await;
    all.extend(told.given());

    // killed when the other side has answered and nothing of it is written
    let node = bench.node().await;
    let told = Told::new([Does::EndsWriting(node.store.clone())]);
    let parts = node.parts(told.open("told", RATE));
    let running = tokio::spawn(Sender::run(parts.clone()));
    eventually("it is sent", async || parts.status.lock().last_sent_at.is_some()).await;
    running.abort();
    assert_eq!(told.given(), [2], "nothing else goes out before it is marked");
    node.sender(told.open("told", RATE)).round().await.expect("read");
    assert_eq!(told.given(), [2], "nothing goes out where nothing can be marked");
    node.end().await;
    all.extend(told.given());

    let node = bench.node().await;
    let told = Told::new([]);
    node.sender(told.open("told", RATE)).round().await.expect("read");
    all.extend(told.given());
    assert_eq!(all, [1, 2, 2, 2, 3, 4, 5], "of each kill one repetition");
    for id in 1..=5 {
        assert_eq!(node.state(id).await, NoticeState::Sent, "{id}");
    }
    node.end().await;
}

pub async fn a_channel_that_fails_is_left_alone_whatever_waits(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new([Does::Fail, Does::Asks(Duration::from_secs(120))]);
    let parts = node.parts(told.open("told", RATE));
    let mut sender = Sender::new(parts.clone());
    put(&node, [1, 2]).await;
    let mut at = async |seconds: i64| {
        bench.clock.set(NOW.plus(seconds * SECOND));
        sender.round().await.expect("read");
        told.given()
    };
    assert_eq!(at(0).await, [1]);
    assert_eq!(at(1).await, [1]);
    assert_eq!(at(2).await, [1, 1], "the first one, whose time has come, too");
    assert_eq!(parts.status.lock().failures, 2);
    assert_eq!(at(121).await, [1, 1], "it asked for two minutes");
    assert_eq!(at(122).await, [1, 1, 1, 2]);
    assert_eq!(parts.status.lock().failures, 0);
    node.end().await;
}

pub async fn no_more_than_the_rate_goes_out_and_the_rest_waits(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new([]);
    let parts = node.parts(told.open("told", 2));
    let mut sender = Sender::new(parts.clone());
    put(&node, 1..=4).await;
    let mut at = async |seconds: i64| {
        bench.clock.set(NOW.plus(seconds * SECOND));
        sender.round().await.expect("read");
        (told.given().len(), parts.status.lock().held_until)
    };
    assert_eq!(at(0).await, (2, Some(NOW.plus(30 * SECOND))));
    assert_eq!(at(29).await.0, 2);
    assert_eq!(at(30).await, (3, Some(NOW.plus(MINUTE))));
    assert_eq!(at(60).await, (4, None));
    let waiting = node.notifiers(NotifySetup { channels: vec![told.open("told", 2)], ..NotifySetup::default() });
    put(&node, 5..=9).await;
    assert_eq!(waiting.channels().await.expect("read")[0].pending, 5);
    assert_eq!(told.given(), [1, 2, 3, 4]);
    node.end().await;
}

pub async fn a_slow_channel_holds_no_other(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let (slow, fast) = (Told::new([Does::Hang]), Told::new([]));
    let channels = vec![slow.open("slow", RATE), fast.open("fast", RATE)];
    let notifiers = node.notifiers(NotifySetup { channels, ..NotifySetup::default() });
    notifiers.start();
    let both = |id: u128| ["slow", "fast"].map(|channel| row(channel, &notice(id, &id.to_string())));
    node.put((1..=3).flat_map(both).collect()).await;
    notifiers.ring();
    eventually("the fast one has everything", async || fast.given() == [1, 2, 3]).await;
    eventually("the slow one is under way", async || slow.given() == [1]).await;
    let count = r#"mlinzi_notices_total{channel="fast",outcome="sent"}"#;
    eventually("it is counted", async || node.metric(count).as_deref() == Some("3")).await;
    notifiers.stop(Duration::from_millis(100)).await;
    assert_eq!(node.stored(1).await.state, NoticeState::Sent, "rows come by channel: the fast one's");
    node.end().await;
}

pub async fn a_channel_that_panics_goes_on(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new([Does::Panic]);
    let mut sender = node.sender(told.open("told", RATE));
    put(&node, [1]).await;
    sender.round().await.expect("read");
    let stored = node.stored(1).await;
    assert_eq!((stored.state, stored.last_error.as_deref()), (NoticeState::Pending, Some("the channel panicked")));
    bench.clock.set(NOW.plus(2 * SECOND));
    sender.round().await.expect("read");
    assert_eq!((node.state(1).await, told.given().len()), (NoticeState::Sent, 2));
    node.end().await;
}

pub async fn what_waits_for_a_channel_that_is_gone_is_dropped_and_counted(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let told = Told::new([Does::Hang]);
    node.put((1..=300).map(|id| row("gone", &notice(id, "a"))).collect()).await;
    // three more than may wait
    for chunk in (1_001..=11_003).collect::<Vec<u128>>().chunks(2_000) {
        put(&node, chunk.iter().copied()).await;
    }
    let notifiers = node.notifiers(NotifySetup { channels: vec![told.open("told", RATE)], ..NotifySetup::default() });
    notifiers.start();
    let pending = async |channel: &str| {
        let waiting = node.store.waiting_notices().await.expect("read");
        waiting.iter().find(|w| w.channel == channel).map_or(0, |w| w.count)
    };
    eventually("those of the channel that is gone", async || pending("gone").await == 0).await;
    let dropped = node.stored(300).await;
    let why = dropped.last_error.as_deref();
    assert_eq!((dropped.state, why), (NoticeState::Dropped, Some("the channel is not configured any more")));
    eventually("those that are too many", async || pending("told").await == 10_000).await;
    assert_eq!(node.state(1_003).await, NoticeState::Dropped, "the oldest");
    assert_eq!(node.state(1_004).await, NoticeState::Pending);
    let counted = node.metric(r#"mlinzi_notices_total{channel="told",outcome="dropped"}"#);
    assert_eq!(counted.as_deref(), Some("3"));
    notifiers.stop(Duration::from_millis(100)).await;
    node.end().await;
}

pub async fn an_end_is_told_to_everybody_who_heard_of_the_beginning(kind: Kind) {
    let bench = Bench::fresh(kind).await;
    let node = bench.node().await;
    let route = |from: &str, to: &str, channel: &str| RouteSpec {
        severity: Severity::Low,
        operators: Vec::new(),
        jurisdictions: Vec::new(),
        rules: Vec::new(),
        hours: Some(HoursSpec { zone: "UTC".to_owned(), days: Vec::new(), from: from.to_owned(), to: to.to_owned() }),
        channels: vec![channel.to_owned()],
        goes_on: false,
    };
    let routes = [route("08:00", "18:00", "mail"), route("18:00", "08:00", "sms")];
    let router = Router::new(&routes, &[], &["mail", "sms"], &[]).expect("routes");
    let channels = ["mail", "sms"].map(|name| Told::new([]).open(name, RATE)).into();
    let notifiers = node.notifiers(NotifySetup { channels, router: Arc::new(router) });
    let (night, day) = (Ts::parse("2026-11-20T23:00:00Z").expect("a time"), Ts::parse("2026-11-21T09:00:00Z"));
    let day = day.expect("a time");
    let channels = async |id: u128, kind: NoticeKind, now: Ts| {
        let mut made = notice(id, "cause");
        made.kind = kind;
        let rows = notifiers.rows(made, now).await.expect("read");
        let channels: Vec<String> = rows.iter().map(|row| row.channel.clone()).collect();
        node.put(rows).await;
        channels
    };
    assert_eq!(channels(1, NoticeKind::Raised, night).await, ["sms"]);
    assert_eq!(channels(2, NoticeKind::Escalated, day).await, ["mail"]);
    assert_eq!(channels(3, NoticeKind::Resolved, day.plus(HOUR)).await, ["mail", "sms"]);
    node.end().await;
}
