"""Runs a program on a fresh store of each kind, does a little of everything, and keeps what it left behind.

Called by make-upgrade-fixture.sh, which brings PostgreSQL. Times and random ids differ from run to run, nothing else.
"""

import gzip
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM, OUT = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
PG_ADMIN, PG_BIN = os.environ["MLINZI_TEST_PG"], Path(os.environ["MLINZI_TEST_PG_BIN"])
DATABASE = "upgrade_fixture"
SCOPES = ["register:write", "operators:manage", "feeds:manage", "feeds:write", "lookup", "market:read", "system:read"]
PERIODS = [
    "24_hours", "10_days", "1_month", "3_months", "6_months", "1_year", "3_years", "5_years", "5_years_renewing",
    "permanent",
]
# of kinds that a quiet day does not bring; as the release writes them
SAMPLES = [
    {"v": 1, "type": "exclusion_renewed", "id": "exc_0000000000000000000000000m", "person_no": 3, "jurisdiction": 0,
     "period": "5_years_renewing", "at_end": "renew", "reason_class": "self", "channel": "web",
     "effective_at": 1500000000000000, "ends_at": 1800000000000000, "ended_at": None},
    {"v": 1, "type": "exclusion_lapsed", "id": "exc_0000000000000000000000000m", "person_no": 3, "jurisdiction": 0,
     "period": "24_hours", "at_end": "lapse", "reason_class": "self", "channel": "web",
     "effective_at": 1500000000000000, "ends_at": 1500086400000000, "ended_at": 1500086400000000},
    {"v": 1, "type": "evidence_rooted", "node": 1, "boot": 7, "chains": [{"worker": 0, "block": 3, "digest": "00" * 32}]},
    {"v": 1, "type": "operator_ticked", "operator_no": 1, "operator_seq": 9, "at": 1800000000000000},
    {"v": 1, "type": "operator_input_set_aside", "operator_no": 1, "operator_seq": 9, "records": [1, 2]},
    {"v": 1, "type": "operator_rules_taken", "operator_no": 1, "behind": 9, "rules_seq": 0, "at": 1800000000000000},
    {"v": 1, "type": "evidence_key_destroyed", "month": 202401},
    {"v": 1, "type": "actor_quarantined", "actor": "operator ny-betmgm", "reason": "5 restarts in 60 s"},
    {"v": 1, "type": "actor_released", "actor": "operator ny-betmgm"},
    {"v": 1, "type": "record_dead_lettered", "source_no": 1, "index": 3},
    {"v": 1, "type": "quarantine_replayed", "source_no": 1, "act": {"by": "key_0000000000000000000000000m",
     "at": 1800000000000000}, "attempts": [{"id": "qua_0000000000000000000000000m", "outcome": "refused",
     "code": "invalid_field", "detail": "kind: not one of the contract's", "changed": ["/kind"]}]},
    {"v": 1, "type": "quarantine_dismissed", "source_no": 1, "id": "qua_0000000000000000000000000m",
     "act": {"by": "key_0000000000000000000000000m", "at": 1800000000000000}, "reason": "test_data"},
    {"v": 1, "type": "quarantine_read", "source_no": 1, "id": "qua_0000000000000000000000000m",
     "act": {"by": "key_0000000000000000000000000m", "at": 1800000000000000}},
    {"v": 1, "type": "compliance_day_counted", "operator_no": 1, "day": "2026-11-20", "revision": 1, "tally": {
     "entries": 9, "lacking": 1, "in_gaps": 0, "unidentified": 2, "bets": 30, "bets_excluded": 1, "minutes_sum": 20,
     "minutes": [20], "minutes_max": 20, "bets_beyond": 0}},
    {"v": 1, "type": "compliance_scored", "operator_no": 1, "jurisdiction": 0, "day": "2026-11-20",
     "from": 1797454800000000, "to": 1800046800000000, "revision": 1, "formula": 1, "score_ppm": 912345,
     "measured_weight": 25, "band": "good", "components": [{"component": "checks", "weight": 25, "value": 998000,
     "points_ppm": 912345, "figures": {"entries": 9, "lacking": 1}}], "at": 1800047000000000},
    {"v": 1, "type": "recognition_set", "jurisdiction": 1, "recognises": 2, "valid_from": 1800000000000000,
     "valid_to": None},
    {"v": 1, "type": "token_rotated", "operator_no": 1, "digest_version": 0, "key": "d7b0563c41fa0a01dbdba6",
     "generation": 1, "reason": "compromised"},
    {"v": 1, "type": "key_version_started", "purpose": "digest", "version": 1, "fingerprint": "00" * 8},
    {"v": 1, "type": "key_version_ready", "purpose": "digest", "version": 1, "left_behind": 0},
    {"v": 1, "type": "key_version_retired", "purpose": "token", "version": 0},
    {"v": 1, "type": "match_keys_derived", "digest_version": 1, "people": [{"person_no": 3, "keys": [
        {"kind": "phone", "digest_version": 1, "key": "d7b0563c41fa0a01dbdba6", "valid_from": 1500000000000000,
         "valid_to": None}]}]},
    {"v": 1, "type": "source_integrity_set", "source_no": 1, "state": {"version": 1, "link": {"token": "ab" * 32,
     "body_sha256": "cd" * 32}, "links": 1, "without_token": 0, "refused": 0, "tampered_since": 1800000000000000,
     "last_number": 9, "missing": [{"from": 3, "to": 4}], "missing_since": 1800000000000000, "gaps": 1, "given_up": 0,
     "repeated": 0}},
    {"v": 1, "type": "tamper_chain_ended", "source_no": 1, "by": "key_0000000000000000000000000m",
     "reason": "lost_state", "token": "ab" * 32, "next_number": 1},
    {"v": 1, "type": "totals_declared", "source_no": 1, "day": "2026-11-20", "time_zone": "Africa/Nairobi",
     "from": 1800000000000000, "to": 1800086400000000, "version": 1, "status": "successful",
     "totals": [{"kind": "stake", "count": 2, "amount_minor": 300}], "at": 1800090000000000,
     "by": "key_0000000000000000000000000m"},
    {"v": 1, "type": "totals_compared", "source_no": 1, "day": "2026-11-20", "from": 1800000000000000,
     "to": 1800086400000000, "version": 1, "status": "successful", "through": 7, "at": 1800090000000000,
     "differs": True, "turns": 1, "lines": [{"kind": "stake", "declared": {"count": 2, "amount_minor": 300},
     "stored": {"count": 1, "amount_minor": 100}}]},
    {"v": 1, "type": "seals_rewrapped", "version": 1, "table": "vault", "rows": 512},
]


def phone(n):
    return f"07{10_000_000 + n:08}"


def document(n):
    return str(20_000_000 + n)


class Program:
    """The program on one store."""

    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        self.base = self.child = self.key = None

    def run(self, *args):
        command = [PROGRAM, "--store", self.store, "--keys", self.folder / "keys.toml", *args]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment())
        if done.returncode:
            sys.exit(f"{args}: {done.stderr}")
        return done.stdout

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLINZI")}
        return {**kept, "MLINZI__LOG__LEVEL": "error", **more}

    def start(self, snapshot_seconds, **more):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        command = [PROGRAM, "--store", self.store, "--keys", self.folder / "keys.toml", "serve", "--port", str(port)]
        settings = self.environment(MLINZI__ENGINE__SNAPSHOT_SECONDS=str(snapshot_seconds), **more)
        self.child = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL)
        self.wait(lambda: self.call("GET", "/health/ready", may_fail=True) is not None, "the program is not ready")

    def stop(self, kill=False):
        self.child.kill() if kill else self.child.terminate()
        code = self.child.wait(60)
        if code and not kill:
            sys.exit(f"the program ended with {code}")

    @staticmethod
    def wait(is_so, what):
        end = time.monotonic() + 60
        while not is_so():
            if time.monotonic() > end:
                sys.exit(what)
            time.sleep(0.05)

    def call(self, method, path, body=None, key=None, may_fail=False):
        headers = {"content-type": "application/json"}
        if key or self.key:
            headers["authorization"] = f"Bearer {key or self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read() or b"null") or {}
        except (urllib.error.URLError, json.JSONDecodeError) as error:
            if may_fail:
                return None
            sys.exit(f"{method} {path}: {error} {getattr(error, 'read', bytes)()}")

    def metric(self, name):
        with urllib.request.urlopen(self.base + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def register(self, **what):
        return self.call("POST", "/api/v1/nser/register", {"reason_class": "self", "channel": "web", **what})


def a_weekly_report(path):
    """Five quiet quarters and a week that is not."""
    day, rows = 1_641_729_600, ["Date,Handle,GGR,Brand"]
    for week in range(65):
        date = time.strftime("%Y-%m-%d", time.gmtime(day + week * 7 * 86_400))
        handle = 9_000_000 if week == 60 else 1_000_000 + week % 7 * 10_000
        rows.append(f"{date},{handle},{handle // 10},BetMGM")
    path.write_text("\n".join(rows) + "\n")


def fill(program, work):
    """A little of everything; gives what the store answers."""
    keys = program.folder / "keys.toml"
    if not keys.exists():
        program.run("key", "init")
    old = work / "old.csv"
    old.write_text(
        "id_number,phone,period,effective_at,source_id,legal_basis,names\n"
        f"{document(50)},{phone(50)},24_hours,2024-02-01T10:00:00Z,old-50,Act 1,Achieng\n"
        f"{document(51)},{phone(51)},5_years,2025-06-01T10:00:00Z,old-51,Act 1,Otieno\n"
    )
    program.run("register", "import", str(old), "--origin", "old register", "--legal-basis", "Act 1")
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    made = program.run("key", "create", "--label", "fixture", "--rate", "100000", "--json", *scopes)
    program.key = json.loads(made)["bearer"]
    gone = json.loads(program.run("key", "create", "--label", "gone", "--json", "--scope", "lookup"))
    program.run("key", "revoke", gone["id"])

    program.start(1)
    operator = program.call("POST", "/api/v1/operators/register", {"code": "acme", "name": "Acme"})
    licence = {"number": "L-1", "class": "bookmaker", "products": ["sportsbook"], "valid_from": "2024-01-01T00:00:00Z"}
    program.call("PUT", f"/api/v1/operators/{operator['id']}/licence", licence)
    new = {"label": "k", "scopes": ["lookup"], "rate_per_second": 100_000}
    asker = program.call("POST", f"/api/v1/operators/{operator['id']}/keys", new)["bearer"]

    exclusions = {}
    for n, period in enumerate(PERIODS):
        exclusions[n] = program.register(phone=phone(n), id_number=document(n), period=period)
    extended = program.register(phone=phone(20), id_number=document(20), period="1_month")
    program.call("PUT", f"/api/v1/nser/{extended['exclusion_id']}/extend", {"period": "3_years"})
    program.register(phone=phone(21), id_number=document(20), period="5_years")
    # two people under one phone: a case opens
    program.register(phone=phone(22), id_number=document(22), period="6_months")
    program.register(phone=phone(22), id_number=document(23), period="1_year")
    # a new exclusion of somebody whose break is over
    program.register(phone=phone(50), id_number=document(50), period="1_month")

    report = work / "weekly.csv"
    a_weekly_report(report)
    feed = [PROGRAM, "feed", "push", "--url", program.base, "--mapping", "config/feeds/ny_weekly.toml", str(report)]
    pushed = subprocess.run(feed, capture_output=True, text=True, env=program.environment(MLINZI_KEY=program.key))
    if pushed.returncode:
        sys.exit(pushed.stderr)
    program.wait(lambda: program.call("GET", "/api/v1/alerts")["items"], "no alert was raised")
    snapshots = program.metric("mlinzi_index_snapshot_seconds_count")
    program.wait(lambda: program.metric("mlinzi_index_snapshot_seconds_count") > snapshots, "no snapshot was made")
    # a gap in the evidence
    program.stop(kill=True)

    # behind the newest snapshot there is a journal
    program.start(86_400)
    program.register(phone=phone(30), id_number=document(30), period="permanent")
    answers = []
    for n in [*range(len(PERIODS)), 20, 21, 22, 23, 30, 50, 51, 40]:
        for who in [{"phone": phone(n)}, {"id_number": document(n)}, {"phone": phone(n), "id_number": document(n)}]:
            for purpose in ["login", "marketing"]:
                answer = program.call("POST", "/api/v1/operators/lookup", {**who, "purpose": purpose}, key=asker)
                told = {field: answer[field] for field in ["decision", "status", "excluded", "bst", "match", "lookup_id"]}
                told["effective_at"] = (answer["exclusion"] or {}).get("effective_at")
                # the clock ends these without a word
                lapsing = n in exclusions and PERIODS[n] in ("24_hours", "10_days")
                lapses_at = exclusions[n]["ends_at"] if lapsing else None
                answers.append({"ask": {**who, "purpose": purpose}, "answer": told, "lapses_at": lapses_at})
    program.call("POST", "/api/v1/operators/batch/lookup",
                 {"purpose": "sweep", "users": [{"phone": phone(n), "correlation_id": str(n)} for n in range(5)]},
                 may_fail=True)
    alerts = [{field: alert[field] for field in ["id", "rule", "severity"]}
              for alert in program.call("GET", "/api/v1/alerts")["items"]]
    sources = [{field: source[field] for field in ["id", "records"] if field in source}
               for source in program.call("GET", "/api/v1/feeds")["items"]]
    stats = program.call("GET", "/api/v1/nser/stats")
    program.stop()
    program.run("evidence", "export", "--case", "C-1", "--operator", "acme", "--from", "2024-01-01T00:00:00Z",
                "--to", "2100-01-01T00:00:00Z", "--out", str(work / "evidence.ndjson"))
    if "export" in subprocess.run([PROGRAM, "register", "--help"], capture_output=True, text=True).stdout:
        program.run("register", "export", str(work / "people.csv"), "--case", "C-1", "--by", "the fixture")
    verified = json.loads(program.run("audit", "verify"))
    if verified["first_bad"] is not None:
        sys.exit(f"the journal is bad: {verified}")
    return {"operator": operator["id"], "staff_key": program.key, "operator_key": asker, "revoked_key": gone["bearer"],
            "lookups": answers, "alerts": alerts, "sources": sources, "stats": stats}


def sqlite(work):
    folder = work / "sqlite"
    folder.mkdir()
    expected = fill(Program(folder, f"sqlite:{folder / 'db.sqlite'}"), folder)
    database = sqlite3.connect(folder / "db.sqlite")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    events = [json.loads(payload) for (payload,) in database.execute("SELECT payload FROM journal ORDER BY seq")]
    database.close()
    kept = sorted(path for path in folder.iterdir() if path.name == "keys.toml" or re.fullmatch(
        r"db\.sqlite(\.index-[0-9a-f]+)?", path.name))
    with tarfile.open(OUT / "sqlite.tar.gz", "w:gz", compresslevel=9) as tar:
        for path in kept:
            # without this machine's names
            tar.add(path, path.name, filter=lambda entry: entry.replace(uid=0, gid=0, uname="", gname="", deep=False))
    (OUT / "sqlite.json").write_text(json.dumps(expected, indent=1) + "\n")
    return events


def postgres(work):
    folder = work / "postgres"
    folder.mkdir()
    psql = [PG_BIN / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", PG_ADMIN, "-c"]
    subprocess.run([*psql, f"CREATE DATABASE {DATABASE} TEMPLATE template0"], check=True)
    url = f"{PG_ADMIN.rsplit('/', 1)[0]}/{DATABASE}"
    expected = fill(Program(folder, url), folder)
    dump = subprocess.run([PG_BIN / "pg_dump", "--no-owner", "--no-privileges", "-d", url], check=True,
                          capture_output=True).stdout
    # psql of another release knows neither
    dump = b"\n".join(line for line in dump.split(b"\n") if not line.startswith((b"\\restrict", b"\\unrestrict")))
    (OUT / "postgres.sql.gz").write_bytes(gzip.compress(dump, 9, mtime=0))
    shutil.copy(folder / "keys.toml", OUT / "postgres.keys.toml")
    (OUT / "postgres.json").write_text(json.dumps(expected, indent=1) + "\n")


def keep_events(events):
    """One of each kind that this release can write."""
    source = Path("models/src/event.rs").read_text()
    kinds = re.findall(r'Self::\w+[^=\n]*=> "(\w+)",', source[source.index("pub fn kind(&self)"):])
    by_kind = {event["type"]: event for event in [*SAMPLES, *events]}
    missing = [kind for kind in kinds if kind not in by_kind]
    if missing:
        sys.exit(f"no event of these kinds; add one to SAMPLES: {', '.join(missing)}")
    (OUT / "events.ndjson").write_text("".join(json.dumps(by_kind[kind]) + "\n" for kind in kinds))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="mlinzi-fixture-") as work:
        events = sqlite(Path(work))
        postgres(Path(work))
    keep_events(events)
    size = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{OUT}: {size / 1024:.0f} KiB")
    if size > 300 << 10:
        sys.exit("more than 300 KiB")


main()
