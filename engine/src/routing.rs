//! Which channels a notice goes to: a list of routes, read from top to bottom, as data.
//!
//! A route takes a notice that fits all of its conditions; the first one that takes it ends the search unless it says
//! `continue`. What no route takes goes where `default` says. Time of day is the wall clock of the route's own zone, so a
//! night shift stays one over the change to summer time.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use models::alert::Severity;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::notice::{Notice, NoticeKind};
use models::ts::Ts;
use serde::Deserialize;

/// Routes at most.
pub const ROUTES_MAX: usize = 256;
/// Operators, jurisdictions, rules or channels that a route names at most.
pub const NAMES_MAX: usize = 256;

/// A route as it is written down. What is left out takes everything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Notices of at least this severity.
    #[serde(default = "lowest")]
    pub severity: Severity,
    /// Codes of operators.
    #[serde(default)]
    pub operators: Vec<String>,
    /// Codes of jurisdictions.
    #[serde(default)]
    pub jurisdictions: Vec<String>,
    /// Rules; `feed_*` stands for all that begin so.
    #[serde(default)]
    pub rules: Vec<String>,
    /// When.
    pub hours: Option<HoursSpec>,
    /// Where to; an empty list is allowed where nobody is to be told.
    pub channels: Vec<String>,
    /// Are the routes below asked, too?
    #[serde(default, rename = "continue")]
    pub goes_on: bool,
}

/// Hours of a week. Past midnight where `to` is not after `from`; the whole day where they are equal. A span belongs to
/// the day on which it begins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursSpec {
    /// IANA name, e.g. `Africa/Nairobi`.
    pub zone: String,
    /// `mon` to `sun`; none is every day.
    #[serde(default)]
    pub days: Vec<String>,
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`, no longer part of it.
    pub to: String,
}

fn lowest() -> Severity {
    Severity::Low
}

/// Days as routes name them.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

#[derive(Clone, Debug)]
struct Hours {
    zone: TimeZone,
    /// Empty: every day.
    days: Vec<Weekday>,
    from: Time,
    to: Time,
}

#[derive(Clone, Debug)]
struct Route {
    severity: Severity,
    operators: Vec<String>,
    jurisdictions: Vec<JurisdictionNo>,
    rules: Vec<String>,
    hours: Option<Hours>,
    channels: Vec<String>,
    goes_on: bool,
}

/// Routes, checked.
#[derive(Clone, Debug, Default)]
pub struct Router {
    routes: Vec<Route>,
    default: Vec<String>,
}

impl Router {
    /// Checks routes against the names that there are; gives every mistake at once, each with its place.
    pub fn new(
        specs: &[RouteSpec],
        default: &[String],
        channels: &[&str],
        jurisdictions: &[Jurisdiction],
    ) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        if specs.len() > ROUTES_MAX {
            wrong.push(format!("notify.routes: more than {ROUTES_MAX}"));
        }
        let unknown = |place: &str, names: &[String]| {
            let unknown = names.iter().filter(|name| !channels.contains(&name.as_str()));
            unknown.map(|name| format!("{place}: no channel {name}")).collect::<Vec<_>>()
        };
        wrong.extend(unknown("notify.default", default));
        let mut routes = Vec::new();
        for (i, spec) in specs.iter().enumerate() {
            let place = format!("notify.routes[{i}]");
            wrong.extend(unknown(&format!("{place}.channels"), &spec.channels));
            for names in [&spec.operators, &spec.jurisdictions, &spec.rules, &spec.channels] {
                if names.len() > NAMES_MAX {
                    wrong.push(format!("{place}: more than {NAMES_MAX} names in a list"));
                }
            }
            let mut numbers = Vec::new();
            for code in &spec.jurisdictions {
                match Jurisdiction::by_code(jurisdictions, code) {
                    Some(no) => numbers.push(no),
                    None => wrong.push(format!("{place}.jurisdictions: no jurisdiction {code}")),
                }
            }
            let hours = spec.hours.as_ref().map(|hours| Hours::new(hours, &format!("{place}.hours"))).transpose();
            let hours = hours.unwrap_or_else(|mistakes| {
                wrong.extend(mistakes);
                None
            });
            routes.push(Route {
                severity: spec.severity,
                operators: spec.operators.clone(),
                jurisdictions: numbers,
                rules: spec.rules.clone(),
                hours,
                channels: spec.channels.clone(),
                goes_on: spec.goes_on,
            });
        }
        if wrong.is_empty() { Ok(Self { routes, default: default.to_vec() }) } else { Err(wrong) }
    }

    /// Names of the channels a notice goes to at `now`, each once, in the order of the routes. A test goes nowhere: who
    /// asks for one says where to.
    #[must_use]
    pub fn route(&self, notice: &Notice, now: Ts) -> Vec<&str> {
        if notice.kind == NoticeKind::Test {
            return Vec::new();
        }
        let (mut found, mut taken) = (Vec::new(), false);
        for route in self.routes.iter().filter(|route| route.takes(notice, now)) {
            taken = true;
            add(&mut found, &route.channels);
            if !route.goes_on {
                return found;
            }
        }
        if !taken {
            add(&mut found, &self.default);
        }
        found
    }
}

fn add<'a>(found: &mut Vec<&'a str>, channels: &'a [String]) {
    for name in channels {
        if !found.contains(&name.as_str()) {
            found.push(name);
        }
    }
}

impl Route {
    fn takes(&self, notice: &Notice, now: Ts) -> bool {
        let operator = notice.operator.as_ref().map(|operator| &operator.code);
        notice.severity >= self.severity
            && (self.operators.is_empty() || operator.is_some_and(|code| self.operators.contains(code)))
            && (self.jurisdictions.is_empty() || self.jurisdictions.contains(&notice.jurisdiction))
            && (self.rules.is_empty() || self.rules.iter().any(|rule| names(rule, &notice.rule)))
            && self.hours.as_ref().is_none_or(|hours| hours.hold(now))
    }
}

/// Is it the rule, or the beginning of it before a `*`?
fn names(pattern: &str, rule: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == rule, |beginning| rule.starts_with(beginning))
}

impl Hours {
    fn new(spec: &HoursSpec, place: &str) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let zone = TimeZone::get(&spec.zone);
        if zone.is_err() {
            wrong.push(format!("{place}.zone: no time zone {}", spec.zone));
        }
        let mut days = Vec::new();
        for name in &spec.days {
            match DAYS.iter().find(|(known, _)| known == name) {
                Some((_, day)) => days.push(*day),
                None => wrong.push(format!("{place}.days: no day {name}; they are mon to sun")),
            }
        }
        let mut time = |name: &str, text: &str| {
            let parsed = Time::strptime("%H:%M", text).ok();
            if parsed.is_none() {
                wrong.push(format!("{place}.{name}: not of the form HH:MM"));
            }
            parsed
        };
        let (from, to) = (time("from", &spec.from), time("to", &spec.to));
        match (zone, from, to) {
            (Ok(zone), Some(from), Some(to)) if wrong.is_empty() => Ok(Self { zone, days, from, to }),
            _ => Err(wrong),
        }
    }

    fn hold(&self, now: Ts) -> bool {
        let local: Zoned = Timestamp::from_microsecond(now.0).unwrap_or_default().to_zoned(self.zone.clone());
        let (time, today) = (local.time(), local.weekday());
        let is_one = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        if self.from == self.to {
            return is_one(today);
        }
        if self.from < self.to {
            return is_one(today) && self.from <= time && time < self.to;
        }
        (is_one(today) && time >= self.from) || (is_one(today.previous()) && time < self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::{NoticeId, OperatorNo};
    use models::money::Currency;
    use models::notice::NoticeOperator;
    use models::phone::Country;

    const CHANNELS: &[&str] = &["in_app", "mail", "sms", "pager", "lagos", "audit"];

    fn jurisdictions() -> Vec<Jurisdiction> {
        let one = |code: &str, time_zone: &str| Jurisdiction {
            code: code.to_owned(),
            name: code.to_owned(),
            country: Country::Ke,
            currency: Currency::KES,
            time_zone: time_zone.to_owned(),
        };
        vec![one("KE", "Africa/Nairobi"), one("NG-LA", "Africa/Lagos")]
    }

    fn spec(toml: &str) -> Vec<RouteSpec> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            routes: Vec<RouteSpec>,
        }
        toml::from_str::<File>(toml).expect("routes").routes
    }

    fn router(routes: &str) -> Router {
        Router::new(&spec(routes), &["in_app".to_owned()], CHANNELS, &jurisdictions()).expect("valid routes")
    }

    /// `severity rule operator jurisdiction`, an operator `-` is none.
    fn notice(text: &str) -> Notice {
        let words: Vec<&str> = text.split(' ').collect();
        let [severity, rule, operator, jurisdiction] = words[..] else { panic!("{text}") };
        let no = jurisdictions().iter().position(|j| j.code == jurisdiction).expect("a jurisdiction");
        let mut notice = Notice::test(NoticeId(1), "x", JurisdictionNo(no as u8), Ts(0));
        notice.kind = NoticeKind::Raised;
        notice.severity = Severity::parse(severity).expect("a severity");
        notice.rule = rule.to_owned();
        notice.operator = (operator != "-").then(|| NoticeOperator { no: OperatorNo(1), code: operator.to_owned() });
        notice
    }

    fn at(text: &str) -> Ts {
        Ts::parse(text).expect("a time")
    }

    const ROUTES: &str = r#"
        [[routes]]
        rules = ["feed_*", "test_rule"]
        channels = ["audit"]
        continue = true

        [[routes]]
        operators = ["muted"]
        channels = []

        [[routes]]
        jurisdictions = ["NG-LA"]
        channels = ["lagos"]

        [[routes]]
        severity = "critical"
        channels = ["pager", "sms"]
        continue = true

        [[routes]]
        severity = "high"
        hours = { zone = "Africa/Nairobi", days = ["mon", "tue", "wed", "thu", "fri"], from = "08:00", to = "18:00" }
        channels = ["mail"]

        [[routes]]
        severity = "high"
        hours = { zone = "Africa/Nairobi", days = ["fri"], from = "18:00", to = "08:00" }
        channels = ["sms"]
    "#;

    #[test]
    fn scenarios() {
        // 2026-11-20 is a Friday; Nairobi is three hours ahead of UTC
        let table: &[(&str, &str, &[&str])] = &[
            ("low spike acme KE", "2026-11-20T09:00:00Z", &["in_app"]),
            ("high spike acme KE", "2026-11-20T09:00:00Z", &["mail"]),
            ("high spike acme KE", "2026-11-20T04:59:59Z", &["in_app"]),
            ("high spike acme KE", "2026-11-20T05:00:00Z", &["mail"]),
            ("high spike acme KE", "2026-11-20T14:59:59Z", &["mail"]),
            ("high spike acme KE", "2026-11-20T15:00:00Z", &["sms"]),
            ("high spike acme KE", "2026-11-20T21:30:00Z", &["sms"]),
            ("high spike acme KE", "2026-11-21T04:59:59Z", &["sms"]),
            ("high spike acme KE", "2026-11-21T05:00:00Z", &["in_app"]),
            ("high spike acme KE", "2026-11-21T16:00:00Z", &["in_app"]),
            ("critical spike acme KE", "2026-11-20T09:00:00Z", &["pager", "sms", "mail"]),
            ("critical spike acme KE", "2026-11-20T16:00:00Z", &["pager", "sms"]),
            ("critical spike acme KE", "2026-11-22T09:00:00Z", &["pager", "sms"]),
            ("critical spike muted KE", "2026-11-20T09:00:00Z", &[]),
            ("critical feed_silent muted KE", "2026-11-20T09:00:00Z", &["audit"]),
            ("low feed_silent acme KE", "2026-11-20T09:00:00Z", &["audit"]),
            ("low test_rule_2 acme KE", "2026-11-20T09:00:00Z", &["in_app"]),
            ("critical spike acme NG-LA", "2026-11-20T09:00:00Z", &["lagos"]),
            ("low spike - KE", "2026-11-20T09:00:00Z", &["in_app"]),
        ];
        let router = router(ROUTES);
        for (said, when, expected) in table {
            assert_eq!(router.route(&notice(said), at(when)), *expected, "{said} at {when}");
        }
    }

    #[test]
    fn hours_follow_the_wall_clock_over_the_change_to_summer_time() {
        let router = router(
            r#"
            [[routes]]
            hours = { zone = "Europe/Berlin", from = "22:00", to = "06:00" }
            channels = ["sms"]
            [[routes]]
            hours = { zone = "Europe/Berlin", days = ["sun"], from = "00:00", to = "00:00" }
            channels = ["mail"]
            "#,
        );
        // summer time begins on 2026-03-29 at 01:00 UTC and ends on 2026-10-25 at 01:00 UTC
        let table: &[(&str, &[&str])] = &[
            ("2026-03-28T20:59:00Z", &["in_app"]),
            ("2026-03-28T21:00:00Z", &["sms"]),
            ("2026-03-29T03:59:00Z", &["sms"]),
            ("2026-03-29T04:00:00Z", &["mail"]),
            ("2026-10-25T04:59:00Z", &["sms"]),
            ("2026-10-25T05:00:00Z", &["mail"]),
        ];
        for (when, expected) in table {
            assert_eq!(router.route(&notice("low spike acme KE"), at(when)), *expected, "{when}");
        }
    }

    #[test]
    fn a_test_is_not_routed() {
        let mut notice = notice("critical spike acme KE");
        notice.kind = NoticeKind::Test;
        assert_eq!(router(ROUTES).route(&notice, Ts(0)), [""; 0]);
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let routes = spec(
            r#"
            [[routes]]
            channels = ["mial"]
            [[routes]]
            jurisdictions = ["KE", "XX"]
            hours = { zone = "Mars/Olympus", days = ["friday"], from = "8", to = "25:00" }
            channels = ["mail"]
            "#,
        );
        let wrong = Router::new(&routes, &["inapp".to_owned()], CHANNELS, &jurisdictions()).expect_err("mistakes");
        let expected = [
            "notify.default: no channel inapp",
            "notify.routes[0].channels: no channel mial",
            "notify.routes[1].jurisdictions: no jurisdiction XX",
            "notify.routes[1].hours.zone: no time zone Mars/Olympus",
            "notify.routes[1].hours.days: no day friday; they are mon to sun",
            "notify.routes[1].hours.from: not of the form HH:MM",
            "notify.routes[1].hours.to: not of the form HH:MM",
        ];
        assert_eq!(wrong, expected);
    }
}
