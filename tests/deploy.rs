//! What `deploy/` says is true of this program: metrics, settings, limits and entries of the runbook that it names exist.

mod program;

use program::{PROGRAM, prepare, serve, status};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that name metrics.
const WATCHING: &[&str] = &[
    "deploy/grafana/mlinzi.json",
    "deploy/prometheus/alerts.yaml",
    "deploy/prometheus/alerts_test.yaml",
    "deploy/prometheus/prometheus.yaml",
];

/// What begins the names of metrics of which the dashboard shows each.
const SHOWN: &[&str] = &[
    "mlinzi_compliance_",
    "mlinzi_feed_",
    "mlinzi_forecast",
    "mlinzi_harm_signals_",
    "mlinzi_model_",
    "mlinzi_notices_",
    "mlinzi_operator_",
    "mlinzi_quarantine_",
    "mlinzi_rule",
    "mlinzi_series_",
];

/// Files that set options of the program by its environment.
const SETTING: &[&str] = &["deploy/Dockerfile", "deploy/compose.yaml", "deploy/mlinzi.service"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The words of a text that begin with one of `prefixes` and go on after it.
fn words<'a>(text: &'a str, prefixes: &[&str]) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|w| prefixes.iter().any(|p| w.len() > p.len() && w.starts_with(p))).collect()
}

/// Names under which an exposition's metrics can be asked for: a histogram only by its parts.
fn askable(exposition: &str) -> BTreeSet<String> {
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

#[tokio::test]
async fn every_metric_that_is_watched_is_exposed() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir.path(), &store).await;
    // the histogram of a route shows with its first request
    let lookup = format!("{}/api/v1/operators/lookup", server.base);
    assert_eq!(status(&client, lookup, "no-key", "{}".to_owned()).await, Some(401));
    let answer = client.get(format!("{}/metrics", server.base)).send().await.expect("an answer");
    let exposition = String::from_utf8(answer.bytes().await.expect("a body").to_vec()).expect("text");
    let exposed = askable(&exposition);

    for file in WATCHING {
        let text = read(file).replace("\\\"", "\"");
        for name in words(&text, &["mlinzi_", "process_"]) {
            assert!(exposed.contains(name), "{file} names {name}, which the program does not expose");
        }
        for route in text.split("{route=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(exposition.contains(&format!("route=\"{route}\"")), "{file} names the route {route}");
        }
    }
    let dashboard = words(&read("deploy/grafana/mlinzi.json"), &["mlinzi_"]).len();
    assert!(dashboard > 20, "the dashboard shows {dashboard} metrics: the search finds too few");
    server.stop();

    let dashboard = read("deploy/grafana/mlinzi.json");
    let shown = words(&dashboard, &["mlinzi_"]);
    // whoever is woken by an alert wants to see what it was
    for name in words(&read("deploy/prometheus/alerts.yaml"), &["mlinzi_"]) {
        assert!(shown.contains(name), "the dashboard does not show {name}, of which an alert speaks");
    }
    // and whoever is on call, how feeds, rules, models and scores fare; of a histogram any part will do
    let names = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let families: Vec<_> = names.filter(|name| SHOWN.iter().any(|family| name.starts_with(family))).collect();
    for family in SHOWN {
        assert!(families.iter().any(|name| name.starts_with(family)), "the program has no metrics {family}…");
    }
    for name in families {
        let parts = ["", "_bucket", "_count"].map(|part| format!("{name}{part}"));
        assert!(parts.iter().any(|part| shown.contains(part.as_str())), "the dashboard does not show {name}");
    }
}

/// `MLINZI__…` and values as a file sets them: `NAME=value` or `NAME: value`, a reference by `$` is none.
fn settings(text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for (at, _) in text.match_indices("MLINZI__") {
        if text[..at].ends_with(['$', '{']) {
            continue;
        }
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_')).expect("a value follows");
        let (name, rest) = rest.split_at(end);
        let value = rest.strip_prefix('=').or_else(|| rest.strip_prefix(": ")).expect("a value follows");
        let value = value.split_whitespace().next().expect("a value follows");
        found.insert(name, value.trim_matches('"'));
    }
    found
}

fn check_config(environment: &BTreeMap<&str, &str>) -> Result<(), String> {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(path("deploy/mlinzi.toml")).arg("check-config").envs(environment);
    let out = command.output().expect("the program runs");
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
}

#[test]
fn every_setting_is_accepted() {
    for file in SETTING {
        let text = read(file);
        let set = settings(&text);
        assert!(!set.is_empty(), "{file} sets something");
        assert_eq!(check_config(&set), Ok(()), "{file}: {set:?}");
    }
    let unknown = check_config(&BTreeMap::from([("MLINZI__SERVER__PROT", "1")]));
    assert!(unknown.is_err_and(|said| said.contains("prot")), "an unknown setting is refused");
}

/// The number after the first `key` in a text.
fn number(text: &str, key: &str) -> i64 {
    let rest = text.split(key).nth(1).unwrap_or_else(|| panic!("no {key}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {key}"))
}

#[test]
fn whoever_runs_it_gives_it_the_time_and_the_files_that_it_needs() {
    let defaults: toml::Table = toml::from_str(&read("config/default.toml")).expect("TOML");
    let server = |name: &str| defaults["server"][name].as_integer().expect("a number");
    let (unit, compose) = (read("deploy/mlinzi.service"), read("deploy/compose.yaml"));
    let (_, engine) = compose.split_once("\n  engine:\n").expect("the engine's service");
    for seconds in [number(&unit, "\nTimeoutStopSec="), number(engine, "stop_grace_period: ")] {
        assert!(seconds > 2 * server("shutdown_seconds"), "{seconds} s to stop");
    }
    for files in [number(&unit, "\nLimitNOFILE="), number(engine, "nofile: ")] {
        assert!(files > 2 * server("connections_max"), "{files} files");
    }
}

#[test]
fn whoever_watches_it_asks_and_hears_what_it_says() {
    let unit = read("deploy/mlinzi.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    assert_eq!((value("Type"), value("NotifyAccess")), ("notify", "main"));
    assert!(number(&unit, "\nWatchdogSec=") >= 10, "a busy machine is no dead engine");
    let given_up: Vec<&str> = value("RestartPreventExitStatus").split(' ').collect();
    let wrong = Command::new(PROGRAM).arg("check-config").env("MLINZI__NODE__ID", "0").output().expect("it runs");
    let mistyped = Command::new(PROGRAM).arg("no-such-command").output().expect("it runs");
    for ended in [wrong, mistyped] {
        let code = ended.status.code().expect("a code").to_string();
        assert!(given_up.contains(&code.as_str()), "{code} is tried again: {given_up:?}");
    }
    // the database was away, or a defect ended it: a new start goes better
    assert!(!["69", "70"].iter().any(|code| given_up.contains(code)), "{given_up:?}");
    assert_eq!(value("Restart"), "on-failure");
    assert!(read("deploy/Dockerfile").contains(r#"CMD ["/usr/local/bin/mlinzi", "health"]"#));
    assert!(read("deploy/compose.yaml").contains("- CMD\n        - /usr/local/bin/mlinzi\n        - health\n"));
    assert!(Command::new(PROGRAM).args(["health", "--help"]).output().expect("it runs").status.success());
}

#[test]
fn the_image_is_built_of_everything_and_has_both_programs() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("members");
    let taken = read(".dockerignore");
    for member in members.iter().filter_map(toml::Value::as_str) {
        assert!(
            taken.lines().any(|line| line == format!("!{member}")),
            "{member} is not part of what the image is built of"
        );
    }
    let image = read("deploy/Dockerfile");
    let copied = image.lines().find(|line| line.starts_with("COPY --from=builder")).expect("programs are copied");
    for program in ["/mlinzi", "/mlinzi-sim"] {
        assert!(image.contains(&format!("--bin {}", &program[1..])), "{program} is not built");
        assert!(copied.split(' ').any(|word| word == program), "{copied}");
    }
    // side by side, as `mlinzi demo` needs them
    assert!(copied.ends_with(" /usr/local/bin/"), "{copied}");
}

/// What stands under a service of the compose file.
fn service<'a>(compose: &'a str, name: &str) -> &'a str {
    let (_, rest) = compose.split_once(&format!("\n  {name}:\n")).unwrap_or_else(|| panic!("no service {name}"));
    let is_next = |line: &str| !line.starts_with("   ") && !line.is_empty();
    let length = rest.split_inclusive('\n').take_while(|line| !is_next(line.trim_end())).map(str::len).sum();
    &rest[..length]
}

#[test]
fn the_engine_cannot_write_its_keys_and_whoever_rotates_them_can() {
    let compose = read("deploy/compose.yaml");
    let (engine, keys) = (service(&compose, "engine"), service(&compose, "keys"));
    assert!(engine.contains("- mlinzi_keys:/var/lib/mlinzi:ro\n"), "{engine}");
    assert!(keys.contains("- mlinzi_keys:/var/lib/mlinzi\n"), "{keys}");
    assert!(keys.contains("entrypoint:\n      - /usr/local/bin/mlinzi\n      - keys\n"), "{keys}");
    for needed in
        ["- database\n", "- pgpass\n", "condition: service_healthy\n", "mlinzi.toml:/etc/mlinzi/mlinzi.toml:ro\n"]
    {
        assert!(keys.contains(needed), "{needed} is missing: {keys}");
    }
    assert!(!service(&compose, "key-init").contains("- database\n"), "a service ends where the next begins");
}

#[test]
fn the_sandbox_has_a_place_that_the_engine_may_write() {
    let (compose, image, settings) =
        (read("deploy/compose.yaml"), read("deploy/Dockerfile"), read("deploy/mlinzi.toml"));
    let off =
        settings.split_once("# [sandbox]\n# store = \"sqlite:").expect("two lines to take out of their comment").1;
    let file = Path::new(off.split('"').next().expect("a path"));
    let folder = file.parent().and_then(Path::to_str).expect("a folder");
    let engine = service(&compose, "engine");
    let mounted = engine.lines().find_map(|line| line.trim().strip_prefix("- ")?.strip_suffix(&format!(":{folder}")));
    let volume = mounted.unwrap_or_else(|| panic!("{folder} is no volume that is written: {engine}"));
    assert!(compose.split_once("\nvolumes:\n").is_some_and(|(_, all)| all.contains(&format!("  {volume}:\n"))));
    // a new volume takes its owner from the folder of the image
    let made = image.lines().find(|line| line.contains("install -d -m 0700 -o 10001")).expect("folders are made");
    assert!(made.split_whitespace().any(|word| word == folder), "{made}");
    let store = format!("sqlite:{}", file.display());
    assert_eq!(check_config(&BTreeMap::from([("MLINZI__SANDBOX__STORE", store.as_str())])), Ok(()));
}

#[test]
fn the_proxy_in_front_can_be_named() {
    let (compose, settings) = (read("deploy/compose.yaml"), read("deploy/mlinzi.toml"));
    let line = settings.lines().find_map(|line| line.strip_prefix("# trusted_proxies = ")).expect("a line to take out");
    let gateway = compose.lines().find_map(|line| line.trim().strip_prefix("gateway: ")).expect("a gateway");
    assert!(line.contains(&format!("\"{gateway}\"")), "{line} does not name {gateway}");
    assert!(read("deploy/README.md").contains(gateway));
    let dir = testkit::temp_dir();
    let file = dir.path().join("mlinzi.toml");
    std::fs::write(&file, settings.replace("# trusted_proxies", "trusted_proxies")).expect("a file");
    let out = Command::new(PROGRAM).arg("--config").arg(&file).arg("check-config").output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// The words of a line of a shell: quoted ones are one, and it ends with what is no part of the command.
fn shell_words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(no, part)| match no % 2 {
        1 => vec![part.to_owned()],
        _ => part.split_whitespace().map(ToOwned::to_owned).collect(),
    });
    words.take_while(|word| !["#", ">", "|", ";", "&&"].contains(&word.as_str())).collect()
}

#[test]
fn what_the_guide_runs_in_containers_is_there() {
    let (guide, compose) = (read("deploy/README.md"), read("deploy/compose.yaml"));
    let mut ran = BTreeSet::new();
    for line in guide.lines().filter_map(|line| line.strip_prefix("docker compose run ")) {
        if line.contains("--entrypoint") {
            continue;
        }
        let mut words = shell_words(line).into_iter().skip_while(|word| word.starts_with('-'));
        let name = words.next().expect("a service");
        let before: &[&str] = if name == "keys" { &["keys"] } else { &[] };
        assert!(!service(&compose, &name).is_empty(), "{line}");
        let out = Command::new(PROGRAM).args(before).args(words).arg("--help").output().expect("it runs");
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        ran.insert(name);
    }
    assert_eq!(ran.iter().map(String::as_str).collect::<Vec<_>>(), ["engine", "key-init", "keys"]);
}

/// Groups of system calls as `systemd-analyze syscall-filter` lists them, as far as the unit names them, with what is
/// looked for in them.
const GROUPS: &[(&str, &[&str])] = &[
    ("@system-service", &["read", "nice", "setpriority", "sched_setscheduler", "ioprio_set", "setuid"]),
    ("@privileged", &["setuid", "reboot"]),
    ("@resources", &["nice", "setpriority", "sched_setscheduler", "ioprio_set"]),
];

/// Does the unit let a system call pass? Its lines add and take away in their order (systemd.exec(5)).
fn passes(unit: &str, call: &str) -> bool {
    let mut passes = false;
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (names, adds) = line.strip_prefix('~').map_or((line, true), |names| (names, false));
        for name in names.split_whitespace() {
            let group = GROUPS.iter().find(|(group, _)| *group == name);
            assert!(group.is_some() || !name.starts_with('@'), "{name} is not among the groups of this test");
            if name == call || group.is_some_and(|(_, calls)| calls.contains(&call)) {
                passes = adds;
            }
        }
    }
    passes
}

#[test]
fn the_unit_lets_batches_and_snapshots_give_way() {
    let unit = read("deploy/mlinzi.service");
    for (call, allowed) in
        [("read", true), ("nice", true), ("setpriority", true), ("sched_setscheduler", false), ("setuid", false)]
    {
        assert_eq!(passes(&unit, call), allowed, "{call}");
    }
}

/// Anchors of a document's headings, as its viewers make them.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings =
        document.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|h| h.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_alert_is_complete_and_has_its_entry_in_the_runbook() {
    let (rules, runbook) = (read("deploy/prometheus/alerts.yaml"), read("docs/RUNBOOK.md"));
    let anchors = anchors(&runbook);
    let mut alerts = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let (name, rule) = rule.split_once('\n').expect("a rule follows its name");
        for key in ["expr: ", "for: ", "severity: ", "summary: ", "description: ", "runbook_url: docs/RUNBOOK.md#"] {
            assert!(rule.contains(key), "{name} has no {key}");
        }
        let anchor = rule.split("docs/RUNBOOK.md#").nth(1).and_then(|rest| rest.split_whitespace().next());
        assert!(anchor.is_some_and(|a| anchors.contains(a)), "{name}: no entry {anchor:?} in docs/RUNBOOK.md");
        assert!(alerts.insert(name), "{name} stands twice");
    }
    assert!(alerts.len() > 20, "{alerts:?}");
    assert_eq!(words(&runbook, &["Mlinzi"]), alerts, "the alerts of docs/RUNBOOK.md and those that there are");
}

/// Prometheus's own judgement; without promtool the test fails and says how to get it.
fn promtool(args: &[&str]) {
    let out = Command::new("promtool").args(args).current_dir(path("deploy/prometheus")).output();
    let out = out.expect("promtool is needed: `make test` installs it (Debian: apt-get install prometheus)");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "promtool {args:?}: {said}");
}

#[test]
fn the_alerts_fire_when_they_should() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
}

#[test]
fn every_query_of_the_dashboard_is_one() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/mlinzi.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    // as recording rules, which promtool can read; Grafana's variables stand for a time and for names
    let plain = queries.map(|query| query.replace("$__rate_interval", "1m").replace("$instance", ".*"));
    let rules: Vec<_> =
        plain.enumerate().map(|(i, expr)| serde_json::json!({"record": format!("panel:{i}"), "expr": expr})).collect();
    assert!(rules.len() > 30, "{} queries", rules.len());
    let dir = testkit::temp_dir();
    let file = dir.path().join("panels.yaml");
    // JSON is YAML
    let text = serde_json::json!({"groups": [{"name": "panels", "rules": rules}]}).to_string();
    std::fs::write(&file, text).expect("a file");
    promtool(&["check", "rules", file.to_str().expect("text")]);
}
