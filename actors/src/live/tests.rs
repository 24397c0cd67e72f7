//! The hub alone: what each kind of client is told, whatever it holds.

use super::*;
use models::alert::{Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::ids::AlertId;
use models::money::Currency;
use models::region::Region;
use models::ts::Ts;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::task::{Context, Waker};

const HERE: JurisdictionNo = JurisdictionNo(0);
const ELSEWHERE: JurisdictionNo = JurisdictionNo(1);
const ACME: (OperatorNo, OperatorId) = (OperatorNo(1), OperatorId(101));
const BETS: (OperatorNo, OperatorId) = (OperatorNo(2), OperatorId(102));
const ABROAD: (OperatorNo, OperatorId) = (OperatorNo(3), OperatorId(103));

/// A market of three operators whose national figure is set by hand.
#[derive(Default)]
struct Market {
    national: Mutex<u64>,
    products: Mutex<u64>,
}

impl LiveSource for Market {
    fn read(&self, _: JurisdictionNo, topic: Topic) -> Option<(u64, Arc<str>)> {
        let value = match topic {
            Topic::National => *self.national.lock(),
            Topic::Products => *self.products.lock(),
            Topic::Operator(_) => return None,
            _ => 0,
        };
        Some((value, json!({"value": value}).to_string().into()))
    }

    fn operator_of(&self, no: OperatorNo) -> Option<(Option<OperatorId>, JurisdictionNo)> {
        let known = [(ACME, HERE), (BETS, HERE), (ABROAD, ELSEWHERE)].into_iter().find(|((n, _), _)| *n == no);
        known.map(|((_, id), j)| (Some(id), j)).or_else(|| no.nation().map(|j| (None, j)))
    }

    fn operator_no(&self, id: OperatorId, jurisdiction: JurisdictionNo) -> Option<OperatorNo> {
        let all = [(ACME, HERE), (BETS, HERE), (ABROAD, ELSEWHERE)];
        all.into_iter().find(|((_, i), j)| *i == id && *j == jurisdiction).map(|((no, _), _)| no)
    }
}

/// Notes what is asked of the store.
#[derive(Default)]
struct Asked {
    wanted: Mutex<Vec<Wanted>>,
    full: bool,
}

impl AlertLog for Asked {
    fn recover(&self, wanted: Wanted) -> bool {
        self.wanted.lock().push(wanted);
        !self.full
    }
}

struct Scene {
    hub: LiveHub,
    market: Arc<Market>,
    asked: Arc<Asked>,
    next: SessionNo,
}

fn revision(offset: i64, (operator_no, _): (OperatorNo, OperatorId)) -> AlertRevision {
    AlertRevision {
        id: AlertId(offset as u128),
        rule: "robust_deviation".to_owned(),
        rule_version: 1,
        operator_no,
        subject: Subject {
            operator: "acme".to_owned(),
            metric: Metric::Stakes,
            granularity: Granularity::Hour,
            currency: Currency::KES,
            source: None,
            who: None,
        },
        window: Window { start: Ts(0), end: Ts(1) },
        kind: RevisionKind::Raised,
        severity: Severity::High,
        at: Ts(offset),
        operator_seq: offset,
        offset,
        operator_offset: offset,
        evidence: Evidence {
            observed: 1,
            expected: 0,
            band_low: 0,
            band_high: 0,
            score_milli: 1,
            threshold_milli: 1,
            samples: 1,
            reasons: Vec::new(),
            records: Vec::new(),
            ..Evidence::default()
        },
    }
}

impl Scene {
    fn new(checkpoint: &AlertsCheckpoint) -> Self {
        Self::with(checkpoint, Asked::default())
    }

    fn with(checkpoint: &AlertsCheckpoint, asked: Asked) -> Self {
        let (market, asked) = (Arc::new(Market::default()), Arc::new(asked));
        let source = Arc::clone(&market) as Arc<dyn LiveSource>;
        let log = Arc::clone(&asked) as Arc<dyn AlertLog>;
        let hub = LiveHub::new(source, log, "store", "boot", checkpoint, Missed::default());
        Self { hub, market, asked, next: 0 }
    }

    /// A store with so many alerts of one operator, of which the newest are in the ring.
    fn after(alerts: i64) -> Self {
        Self::new(&Self::checkpoint(alerts))
    }

    fn checkpoint(alerts: i64) -> AlertsCheckpoint {
        let recent = (1..=alerts).rev().take(RING_FRAMES_MAX).map(|n| revision(n, ACME));
        let mut recent: Vec<AlertRevision> = recent.collect();
        recent.reverse();
        AlertsCheckpoint { until: alerts, counts: HashMap::from([(ACME.0, alerts as u64)]), recent }
    }

    fn join(&mut self, rights: Rights) -> (SessionNo, Arc<Outbox>) {
        let (no, outbox) = (self.next, Arc::new(Outbox::default()));
        self.next += 1;
        self.hub.apply(&LiveMsg::Join(Outlet { no, rights, outbox: Arc::clone(&outbox) }));
        assert_eq!(said(&outbox), ["welcome"]);
        (no, outbox)
    }

    fn regulator(&mut self) -> (SessionNo, Arc<Outbox>) {
        self.join(Rights { market: true, system: false, operator: None, jurisdiction: HERE })
    }

    fn subscribe(&mut self, no: SessionNo, topics: &[&str], resume: Option<(&str, &[(&str, u64)])>) {
        let resume = resume.map(|(epoch, offsets)| Resume {
            epoch: epoch.to_owned(),
            offsets: offsets.iter().map(|(topic, offset)| ((*topic).to_owned(), *offset)).collect::<BTreeMap<_, _>>(),
        });
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.hub.apply(&LiveMsg::Client(no, ClientFrame::Subscribe { topics, resume }));
    }

    fn alert(&mut self, revisions: &[AlertRevision]) {
        self.hub.apply(&LiveMsg::Alerts(revisions.to_vec().into()));
    }

    fn set_national(&mut self, value: u64) {
        *self.market.national.lock() = value;
        self.hub.apply(&LiveMsg::Tick);
    }
}

/// What waits for a client, in short.
fn said(outbox: &Outbox) -> Vec<String> {
    let mut frames = Vec::new();
    let _ = outbox.poll_take(&Context::from_waker(Waker::noop()), usize::MAX, &mut frames);
    let short = |frame: &Frame| {
        let v: Value = serde_json::from_slice(&frame.text()).unwrap();
        let text = |name: &str| v[name].as_str().map(ToOwned::to_owned);
        let number = v["offset"].as_u64().map(|n| n.to_string());
        [text("type"), text("code"), text("topic"), number].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    frames.iter().map(short).collect()
}

#[test]
fn rights_are_by_topic() {
    let (own, other) = (format!("operator:{}", ACME.1), format!("operator:{}", BETS.1));
    let (own_alerts, abroad) = (format!("alerts:{}", ACME.1), format!("alerts:{}", ABROAD.1));
    let all = [
        "national",
        "alerts",
        "feeds",
        "regions",
        "region:KE-30",
        "products",
        "product:casino",
        "system",
        &own,
        &other,
        &own_alerts,
        &abroad,
    ];
    let market = Rights { market: true, system: false, operator: None, jurisdiction: HERE };
    let operator = Rights { market: false, system: false, operator: Some(ACME.1), jurisdiction: HERE };
    let engine = Rights { market: false, system: true, operator: None, jurisdiction: HERE };
    let foreign = Rights { jurisdiction: ELSEWHERE, ..operator };
    let table: [(Rights, &[&str]); 4] = [
        (
            market,
            &[
                "national",
                "alerts",
                "feeds",
                "regions",
                "region:KE-30",
                "products",
                "product:casino",
                &own,
                &other,
                &own_alerts,
            ],
        ),
        (operator, &[&own, &own_alerts]),
        (engine, &["system"]),
        (foreign, &[]),
    ];
    for (rights, seen) in table {
        let mut scene = Scene::after(0);
        let (no, outbox) = scene.join(rights);
        scene.subscribe(no, &all, None);
        let expected = all.map(|topic| match seen.contains(&topic) {
            true => format!("snapshot {topic} 0"),
            false => format!("error forbidden {topic}"),
        });
        assert_eq!(said(&outbox), expected, "{rights:?}");
    }
}

#[test]
fn a_metric_topic_moves_by_gapless_steps_and_only_when_it_changes() {
    let mut scene = Scene::after(0);
    let (no, outbox) = scene.regulator();
    scene.subscribe(no, &["national", "products"], None);
    assert_eq!(said(&outbox), ["snapshot national 0", "snapshot products 0"]);
    for value in [5, 5, 6] {
        scene.set_national(value);
    }
    *scene.market.products.lock() = 1;
    scene.set_national(7);
    let mut seen = said(&outbox);
    seen.sort();
    // two steps of one topic waited: the newest state stands for both
    assert_eq!(seen, ["delta products 1", "gap national", "snapshot national 3"]);
}

#[test]
fn all_watchers_share_one_encoding() {
    let mut scene = Scene::after(3);
    let outboxes: Vec<Arc<Outbox>> = (0..3)
        .map(|_| {
            let (no, outbox) = scene.regulator();
            scene.subscribe(no, &["national", "alerts"], None);
            outbox
        })
        .collect();
    scene.set_national(1);
    scene.alert(&[revision(4, ACME)]);
    let bytes = outboxes.iter().map(|outbox| {
        let mut frames = Vec::new();
        let _ = outbox.poll_take(&Context::from_waker(Waker::noop()), usize::MAX, &mut frames);
        frames.iter().map(|frame| frame.wire().as_ptr()).collect::<Vec<_>>()
    });
    let bytes: Vec<Vec<*const u8>> = bytes.collect();
    assert_eq!(bytes[0].len(), 4, "two snapshots and two deltas");
    assert!(bytes.iter().all(|pointers| *pointers == bytes[0]));
}

#[test]
fn whoever_comes_back_gets_what_the_ring_has() {
    let ring = RING_FRAMES_MAX as u64;
    let table: [(&str, u64, Vec<String>); 5] = [
        ("store.before", 2_000, vec!["resumed alerts 2000".into()]),
        (
            "store.before",
            1_998,
            vec!["resumed alerts 1998".into(), "delta alerts 1999".into(), "delta alerts 2000".into()],
        ),
        // of another store, or of the future
        ("other.boot", 1_999, vec!["gap alerts".into(), "snapshot alerts 2000".into()]),
        ("store.boot", 2_001, vec!["gap alerts".into(), "snapshot alerts 2000".into()]),
        ("store.boot", 2_000 - ring, {
            let deltas = (2_001 - ring..=2_000).map(|n| format!("delta alerts {n}"));
            std::iter::once(format!("resumed alerts {}", 2_000 - ring)).chain(deltas).collect()
        }),
    ];
    for (epoch, offset, expected) in table {
        let mut scene = Scene::after(2_000);
        let (no, outbox) = scene.regulator();
        scene.subscribe(no, &["alerts"], Some((epoch, &[("alerts", offset)])));
        assert_eq!(said(&outbox), expected, "{epoch} {offset}");
        assert!(scene.asked.wanted.lock().is_empty(), "the store is not asked for what the ring has");
    }
}

#[test]
fn what_the_ring_has_no_more_comes_from_the_store_without_a_hole() {
    let mut scene = Scene::after(2_000);
    let (no, outbox) = scene.regulator();
    scene.subscribe(no, &["alerts"], Some(("store.boot", &[("alerts", 970)])));
    assert!(said(&outbox).is_empty());
    let wanted = scene.asked.wanted.lock()[0];
    let first = 2_000 - RING_FRAMES_MAX as u64 + 1;
    assert_eq!((wanted.after, wanted.count, wanted.below, wanted.operator), (970, first - 971, first as i64, None));
    // what comes meanwhile is in the ring
    scene.alert(&[revision(2_001, ACME)]);
    assert!(said(&outbox).is_empty());
    let missed: Vec<Frame> = (971..first).map(|n| Frame::delta(Topic::Alerts, n, n)).collect();
    // the ring has moved on by one meanwhile: that one is missing now
    scene.hub.apply(&LiveMsg::Recovered(wanted, Some(missed)));
    assert_eq!(said(&outbox), ["gap alerts", "snapshot alerts 2001"]);

    let (no, outbox) = scene.regulator();
    scene.subscribe(no, &["alerts"], Some(("store.boot", &[("alerts", 970)])));
    let wanted = scene.asked.wanted.lock()[1];
    let missed: Vec<Frame> = (971..=first).map(|n| Frame::delta(Topic::Alerts, n, n)).collect();
    scene.hub.apply(&LiveMsg::Recovered(wanted, Some(missed)));
    scene.alert(&[revision(2_002, ACME)]);
    let deltas = (971..=2_002).map(|n| format!("delta alerts {n}"));
    let expected: Vec<String> = std::iter::once("resumed alerts 970".to_owned()).chain(deltas).collect();
    assert_eq!(said(&outbox), expected);
}

#[test]
fn what_the_store_may_not_or_cannot_bring_is_a_gap() {
    let gap = ["gap alerts", "snapshot alerts 20000"];
    // too much is missing
    let mut scene = Scene::after(20_000);
    let (no, outbox) = scene.regulator();
    scene.subscribe(no, &["alerts"], Some(("store.boot", &[("alerts", 5)])));
    assert_eq!((said(&outbox), scene.asked.wanted.lock().len()), (gap.map(ToOwned::to_owned).to_vec(), 0));
    // too many ask
    let mut scene = Scene::with(&Scene::checkpoint(20_000), Asked { full: true, ..Asked::default() });
    let (no, outbox) = scene.regulator();
    scene.subscribe(no, &["alerts"], Some(("store.boot", &[("alerts", 18_000)])));
    assert_eq!(said(&outbox), gap);
    // the store is away, or has less than was counted
    for answer in [None, Some(vec![Frame::delta(Topic::Alerts, 1, 1)])] {
        let mut scene = Scene::after(20_000);
        let (no, outbox) = scene.regulator();
        scene.subscribe(no, &["alerts"], Some(("store.boot", &[("alerts", 18_000)])));
        let wanted = scene.asked.wanted.lock()[0];
        scene.hub.apply(&LiveMsg::Recovered(wanted, answer));
        assert_eq!(said(&outbox), gap);
        scene.alert(&[revision(20_001, ACME)]);
        assert_eq!(said(&outbox), ["delta alerts 20001"], "and then it watches");
    }
}

#[test]
fn an_operators_alerts_are_read_by_its_own_offsets() {
    let mut scene = Scene::after(3_000);
    let topic = format!("alerts:{}", ACME.1);
    let (no, outbox) = scene.regulator();
    scene.subscribe(no, &[&topic], Some(("store.boot", &[(&topic, 1_900)])));
    let wanted = scene.asked.wanted.lock()[0];
    assert_eq!((wanted.operator, wanted.after), (Some(ACME.0), 1_900));
    // who left or lost interest meanwhile hears nothing
    scene.hub.apply(&LiveMsg::Client(no, ClientFrame::Unsubscribe { topics: vec![topic] }));
    scene.hub.apply(&LiveMsg::Recovered(wanted, None));
    assert!(said(&outbox).is_empty());
    scene.hub.apply(&LiveMsg::Leave(no));
    scene.hub.apply(&LiveMsg::Recovered(wanted, None));
}

#[test]
fn alerts_stay_in_their_jurisdiction_and_with_their_operator() {
    let mut scene = Scene::after(0);
    let (all, outbox) = scene.regulator();
    scene.subscribe(all, &["alerts"], None);
    let (one, own) = scene.join(Rights { market: false, system: false, operator: Some(BETS.1), jurisdiction: HERE });
    let topic = format!("alerts:{}", BETS.1);
    scene.subscribe(one, &[&topic], None);
    said(&outbox);
    said(&own);
    // known already, or of the store before this hub
    scene.alert(&[revision(1, ACME), revision(2, ABROAD), revision(3, BETS), revision(3, BETS)]);
    assert_eq!(said(&outbox), ["delta alerts 1", "delta alerts 2"]);
    assert_eq!(said(&own), [format!("delta {topic} 1")]);
    // what stands on several operators is nobody's own
    scene.alert(&[revision(4, (OperatorNo::of_nation(HERE), BETS.1)), revision(5, BETS)]);
    assert_eq!(said(&outbox), ["delta alerts 3", "delta alerts 4"]);
    assert_eq!(said(&own), [format!("delta {topic} 2")]);
}

#[test]
fn whom_a_finding_is_about_is_for_those_who_watch_the_jurisdiction() {
    let mut finding = revision(1, BETS);
    finding.subject.metric = models::alert::Metric::Finding;
    finding.subject.who = Some("player:00000000000000000000ab".to_owned());
    for (topic, wanted) in [(Topic::Alerts, true), (Topic::OperatorAlerts(BETS.1), false)] {
        let shown = serde_json::to_string(&AlertView::of(&finding, topic)).expect("json");
        assert_eq!(shown.contains("player:"), wanted, "{topic}");
    }
}

#[test]
fn what_may_be_asked_for_is_bounded() {
    let mut scene = Scene::after(0);
    let mut refused = 0;
    for country in ["AA", "BB", "CC"] {
        for chunk in 0..4 {
            let (no, outbox) = scene.regulator();
            let names: Vec<String> = (0..200).map(|n| format!("region:{country}-{:03}", chunk * 200 + n)).collect();
            scene.subscribe(no, &names.iter().map(String::as_str).collect::<Vec<_>>(), None);
            refused += said(&outbox).iter().filter(|text| text.starts_with("error too_many_topics")).count();
            scene.hub.apply(&LiveMsg::Leave(no));
        }
    }
    assert_eq!(refused, 2_400 - REGION_TOPICS_MAX);
    assert_eq!(scene.hub.metrics.keys().filter(|(_, t)| matches!(t, Topic::Region(_))).count(), REGION_TOPICS_MAX);
    assert!(scene.hub.metrics.contains_key(&(HERE, Topic::Region(Region::parse("AA-000").unwrap()))));
    // one session holds so many
    let (no, outbox) = scene.regulator();
    let known: Vec<String> = (0..300).map(|n| format!("region:AA-{n:03}")).collect();
    scene.subscribe(no, &known.iter().map(String::as_str).collect::<Vec<_>>(), None);
    assert_eq!(said(&outbox).iter().filter(|text| text.starts_with("snapshot")).count(), TOPICS_MAX);
}

#[test]
fn who_is_over_is_forgotten() {
    let mut scene = Scene::after(0);
    let (no, outbox) = scene.regulator();
    scene.subscribe(no, &["national"], None);
    let (idle, silent) = scene.regulator();
    outbox.close(CloseReason::Slow);
    scene.set_national(1);
    assert!(!scene.hub.sessions.contains_key(&no));
    silent.close(CloseReason::Gone);
    for _ in 0..FORGET_EVERY {
        scene.hub.apply(&LiveMsg::Tick);
    }
    assert!(!scene.hub.sessions.contains_key(&idle));
}
