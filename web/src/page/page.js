// The screen: one socket, a state per topic, and a redraw at most every animation frame.
// Offsets are gapless per topic. What does not fit is never shown as if it did: the topic is asked for anew.

import { ago, bandChart, count, el, figuresOf, measured, money, moneyShort, percent, ruleWords, sparkline, whoShort } from "/sparkline.js";

const BASE = ["national", "alerts", "groups", "feeds", "system", "regions", "products"];
const ALERTS_SHOWN = 100;
const RETRY_MS_MAX = 15000;
const $ = (id) => document.getElementById(id);

/** @type {Map<string, {offset: number, data: any}>} */
const topics = new Map();
const alerts = new Map();
/** Topics that this session may not see. */
const withheld = new Set();
let fresh = new Set();
let socket = null;
let epoch = null;
let retryMs = 500;
let timer = 0;
let lastHeard = 0;
let drawing = false;

function connect() {
  clearTimeout(timer);
  say("wait", "connecting");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(`${scheme}//${location.host}/ws/dashboards/realtime`, "mlinzi.v1");
  socket = opened;
  opened.onmessage = (event) => { if (socket === opened) hear(JSON.parse(event.data)); };
  opened.onclose = (event) => { if (socket === opened) closed(event.code); };
}

function closed(code) {
  socket = null;
  if (code === 4001 || code === 4003) {
    say("bad", code === 4001 ? "not signed in" : "signed out");
    $("signin").hidden = false;
    $("live").hidden = topics.size === 0;
    if (code === 4003) $("signin-why").textContent = "The rights of this session have ended. Open a new one-time link.";
    return;
  }
  say("warn", code === 4008 ? "this browser was too slow; reconnecting" : "disconnected; reconnecting");
  timer = setTimeout(connect, retryMs * (0.7 + 0.6 * Math.random()));
  retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
}

function send(frame) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}

/** Asks for topics, with what is already held. */
function subscribe(names, resume) {
  const offsets = {};
  for (const name of names) if (topics.get(name)?.data != null) offsets[name] = topics.get(name).offset;
  const known = resume && epoch && Object.keys(offsets).length > 0;
  send({ type: "subscribe", topics: names, ...(known ? { resume: { epoch, offsets } } : {}) });
}

function hear(frame) {
  lastHeard = Date.now();
  switch (frame.type) {
    case "welcome": return welcome(frame);
    case "snapshot": topics.set(frame.topic, { offset: frame.offset, data: frame.data }); if (isAlerts(frame.topic)) resetAlerts(frame.data); break;
    case "resumed": break;
    case "delta": delta(frame); break;
    case "gap": notice(`Some changes of “${frame.topic}” were missed while disconnected; its full state is shown instead.`); break;
    case "error": refused(frame); break;
  }
  redraw();
}

function welcome(frame) {
  const wanted = new Set([...BASE, ...topics.keys()]);
  $("signin").hidden = true;
  $("live").hidden = false;
  retryMs = 500;
  say("good", "live");
  // offsets of before belong to the epoch of before: it goes along with them, and only then is replaced
  subscribe([...wanted], true);
  epoch = frame.epoch;
}

function delta(frame) {
  const held = topics.get(frame.topic);
  if (!held || frame.offset !== held.offset + 1) {
    if (held && frame.offset <= held.offset) return;
    notice(`A change of “${frame.topic}” is missing; asking for its full state.`);
    topics.delete(frame.topic);
    subscribe([frame.topic], false);
    return;
  }
  held.offset = frame.offset;
  if (isAlerts(frame.topic)) takeAlert(frame.data); else held.data = frame.data;
}

const isAlerts = (topic) => topic === "alerts" || topic.startsWith("alerts:");

function refused(frame) {
  withheld.add(frame.topic);
  if (frame.topic === "system") { $("engine-none").hidden = false; topics.delete("system"); return; }
  if (frame.code === "forbidden" || frame.code === "unknown_topic") return void topics.delete(frame.topic);
  notice(`The server refused: ${frame.code}.`);
}

function resetAlerts(data) {
  alerts.clear();
  for (const alert of [...(data?.items ?? [])].reverse()) alerts.set(alert.id, alert);
}

function takeAlert(alert) {
  alerts.delete(alert.id);
  alerts.set(alert.id, alert);
  while (alerts.size > ALERTS_SHOWN) alerts.delete(alerts.keys().next().value);
  fresh.add(alert.id);
  $("alert-said").textContent = `${alert.kind}, ${alert.severity}: ${headline(alert)}`;
}

/** Every operator that has a source is worth a topic. */
function followOperators() {
  const ids = new Set((topics.get("feeds")?.data?.items ?? []).map((source) => source.operator));
  const missing = [...ids].map((id) => `operator:${id}`).filter((name) => !topics.has(name));
  if (missing.length === 0) return;
  for (const name of missing) topics.set(name, { offset: 0, data: null });
  subscribe(missing, false);
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    followOperators();
    drawTotals();
    drawOperators();
    drawParts("regions", (item) => item.region);
    drawParts("products", (item) => item.product);
    drawGroups();
    drawAlerts();
    drawFeeds();
    drawActors();
    drawAge();
  });
}

function say(state, text) {
  const pill = $("connection");
  pill.dataset.state = state;
  if (pill.textContent !== text) pill.textContent = text;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = false;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => { $("notice").hidden = true; }, 12000);
}

function drawAge() {
  const times = (topics.get("feeds")?.data?.items ?? []).map((s) => s.last_success_at).filter(Boolean).sort();
  const newest = times.at(-1);
  $("age").textContent = newest ? ago(newest, Date.now()) : "–";
  if (newest) $("age").setAttribute("datetime", newest);
}

function drawTotals() {
  const national = topics.get("national")?.data;
  $("totals").replaceChildren(...(national?.currencies ?? []).map((t) => el("div", { class: "total" },
    el("h3", {}, `Gross gaming revenue, ${t.currency}`),
    el("div", { class: t.ggr < 0 ? "big negative" : "big", title: money(t.ggr, t.currency) }, moneyShort(t.ggr, t.currency)),
    el("dl", {},
      el("dt", {}, "Stakes"), el("dd", {}, money(t.stakes, t.currency)),
      el("dt", {}, "Payouts"), el("dd", {}, money(t.payouts, t.currency)),
      el("dt", {}, "Hold"), el("dd", {}, percent(t.ggr, t.stakes)),
      el("dt", {}, "Records"), el("dd", {}, count(t.records)),
      el("dt", {}, "Operators"), el("dd", {}, count(t.operators)),
      el("dt", {}, "Complete to"), el("dd", {}, national.as_of ? local(national.as_of) : "–"),
      el("dt", {}, "Oldest input"), el("dd", {}, oldest(national))))));
}

/** When the source that has been silent for longest last delivered, and how many never did. */
const oldest = (view) => [view.oldest_input_at ? local(view.oldest_input_at) : "–", view.inputs_missing ? `${count(view.inputs_missing)} missing` : ""].filter(Boolean).join(", ");

/** The same, short. */
const oldestAge = (view) => [view.oldest_input_at ? ago(view.oldest_input_at, Date.now()) : "–", view.inputs_missing ? `${count(view.inputs_missing)} missing` : ""].filter(Boolean).join(", ");

/** The current day by region or product: one row a currency. */
function drawParts(topic, name) {
  const cell = (value) => el("td", { class: "n" }, value);
  const rows = (topics.get(topic)?.data?.items ?? []).flatMap((item) => item.currencies.filter((c) => c.day).map(({ currency, day }) => el("tr", {},
    el("th", { scope: "row" }, name(item)), el("td", {}, currency), cell(count(day.count)), cell(money(day.stakes, currency)),
    el("td", { class: day.ggr < 0 ? "n negative" : "n" }, money(day.ggr, currency)), el("td", { title: oldest(item) }, oldestAge(item)))));
  $(topic).replaceChildren(...(rows.length ? rows : [empty(6, unlessHeard(topic, "No play today."))]));
}

const local = (time) => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

const LENGTH_MS = { minute: 60e3, hour: 3600e3, day: 86400e3, week: 7 * 86400e3 };

/** The finest series without many holes: minutes of a live feed, weeks of a weekly one. */
function courseOf(series) {
  for (const [unit, length] of Object.entries(LENGTH_MS)) {
    const points = series?.[unit] ?? [];
    if (points.length < 3) continue;
    const span = Date.parse(points.at(-1).at) - Date.parse(points[0].at);
    if (span <= 2 * length * (points.length - 1)) return { unit, points };
  }
  return { unit: "week", points: series?.week ?? [] };
}

/** Rows of an operator's view: one a currency. */
function rowsOf(view) {
  return (view?.currencies ?? []).map(({ currency, totals, series }) => {
    const { unit, points } = courseOf(series);
    const newest = points.at(-1);
    // feeds of sums name no players: that is not nobody
    const players = newest?.unique_players ? `${newest.unique_players_estimated ? "≈ " : ""}${count(newest.unique_players)} in the ${unit}` : "–";
    return { currency, ...totals, unit, players, course: points.map((point) => point.ggr) };
  });
}

const FRESH = { fresh: "good", late: "warn", stale: "bad", dead: "bad", never: "wait" };
const RANK = ["fresh", "never", "late", "stale", "dead"];
const worst = (labels) => labels.reduce((a, b) => (RANK.indexOf(b) > RANK.indexOf(a) ? b : a), "fresh");
const pill = (text, state) => el("span", { class: "pill", "data-state": state }, text);

function drawOperators() {
  const sources = topics.get("feeds")?.data?.items ?? [];
  const codes = new Map(sources.map((s) => [s.operator, s.operator_code]));
  const rows = [];
  for (const [id, code] of [...codes].sort((a, b) => a[1].localeCompare(b[1]))) {
    const label = worst(sources.filter((s) => s.operator === id).map((s) => s.freshness));
    for (const row of rowsOf(topics.get(`operator:${id}`)?.data)) {
      const cell = (value, extra = "") => el("td", { class: `n ${extra}` }, value);
      rows.push(el("tr", {},
        el("th", { scope: "row" }, code), el("td", {}, row.currency), cell(money(row.stakes, row.currency)), cell(money(row.payouts, row.currency)),
        cell(money(row.ggr, row.currency), row.ggr < 0 ? "negative" : ""), cell(percent(row.ggr, row.stakes)),
        cell(row.players), cell(count(row.count)), el("td", {}, pill(label, FRESH[label])),
        el("td", {}, sparkline(row.course, `gross gaming revenue of the last ${row.course.length} ${row.unit}s`))));
    }
  }
  // one that is not known yet is not one without records
  const unheard = [...codes.keys()].map((id) => `operator:${id}`).find((topic) => topics.get(topic)?.data == null);
  $("operators").replaceChildren(...(rows.length ? rows : [empty(10, unlessHeard(unheard ?? "feeds", "No records yet."))]));
}

const empty = (columns, text) => el("tr", {}, el("td", { class: "empty", colspan: columns }, text));

/** Whom or which source it is about, if it is about one. */
const aboutWhom = ({ who, source }) => {
  const found = (topics.get("feeds")?.data?.items ?? []).find((item) => item.id === source);
  return who ? whoShort(who) : found ? `source ${found.name}` : null;
};

/** Of what is confidential there is nothing to be measured. */
const isTold = (alert) => alert.rule !== "confidential";

function headline(alert) {
  const value = isTold(alert) && alert.kind !== "withdrawn" ? measured(alert.evidence.observed, alert) : null;
  return [`${alert.subject.operator}: ${figuresOf(alert.subject) ?? ruleWords(alert.rule)}`, value, aboutWhom(alert.subject)].filter(Boolean).join(", ");
}

function drawAlerts() {
  const list = $("alert-list");
  const open = new Set([...list.querySelectorAll("details[open]")].map((d) => d.closest("li").dataset.id));
  const had = document.activeElement?.closest?.("li.alert")?.dataset.id;
  const items = [...alerts.values()].reverse().map((alert) => alertItem(alert, open.has(alert.id)));
  list.replaceChildren(...items);
  fresh = new Set();
  if (had) list.querySelector(`li[data-id="${CSS.escape(had)}"] summary`)?.focus();
  $("alerts-none").hidden = items.length > 0 || !topics.has("alerts");
  const standing = [...alerts.values()].filter((a) => a.kind !== "withdrawn").length;
  $("alerts-count").textContent = items.length ? `${standing} open of the newest ${items.length}` : "";
}

/** What keeps a group from being told, or who works on it. */
function stateOf(group) {
  if (group.state === "snoozed") return `snoozed until ${local(group.snoozed_until)}`;
  const quiet = group.muted_by ? ", muted by a silent feed" : group.silenced_by ? ", silenced" : "";
  return (group.state === "acknowledged" ? `acknowledged ${local(group.acknowledged.at)}` : group.state) + quiet;
}

function drawGroups() {
  const data = topics.get("groups")?.data;
  const rows = (data?.items ?? []).map((g) => el("tr", {},
    el("td", {}, pill(g.severity, SEVERE[g.severity])), el("td", {}, stateOf(g)),
    el("th", { scope: "row", title: g.who }, [g.operator_code, figuresOf(g), aboutWhom(g)].filter(Boolean).join(", ")), el("td", {}, ruleWords(g.rule)),
    el("td", { class: "n" }, count(g.hits)), el("td", {}, local(g.first_at)), el("td", {}, local(g.last_at))));
  if (data?.more) rows.push(empty(7, `and ${count(data.more)} more`));
  $("groups").replaceChildren(...(rows.length ? rows : [empty(7, unlessHeard("groups", "Nothing to be worked."))]));
}

const SEVERE = { low: "wait", medium: "warn", high: "bad", critical: "bad" };

function alertItem(alert, opened) {
  const { subject: s, evidence: e } = alert;
  const show = (value) => measured(value, alert);
  const band = `${show(e.band_low)} to ${show(e.band_high)}`;
  // a rule that learnt nothing has a limit and no band: what is missing of an invoice lies below it
  const hasBand = isTold(alert) && (s.metric !== "finding" || e.samples > 0);
  const chart = hasBand ? bandChart(e, `observed ${show(e.observed)}, expected ${show(e.expected)}, quiet from ${band}`) : null;
  const pairs = [["Observed", isTold(alert) && show(e.observed)], [hasBand ? "Expected" : "Held against", isTold(alert) && show(e.expected)], ["Quiet band", hasBand && band],
    ["Score", e.samples > 0 && `${(e.score_milli / 1000).toFixed(1)}; threshold ${(e.threshold_milli / 1000).toFixed(1)}; learnt from ${count(e.samples)}`],
    ["Window", `${local(alert.window_start)} – ${local(alert.window_end)}`], ["Rule", isTold(alert) ? `${alert.rule}, version ${alert.rule_version}` : alert.rule],
    ["About", s.who], ["Operators", e.operators?.join(", ")],
    ["Records", e.records?.join(", ")], ["Alert", alert.id]].filter(([, value]) => value);
  return el("li", { class: fresh.has(alert.id) ? "alert new" : "alert", "data-id": alert.id, "data-severity": alert.severity, "data-kind": alert.kind },
    el("div", { class: "top" }, pill(alert.severity, SEVERE[alert.severity]), el("span", { class: "what", title: s.who }, headline(alert)),
      el("span", { class: "quiet" }, alert.kind), el("time", { class: "quiet", datetime: alert.at }, local(alert.at))),
    chart,
    e.reasons?.length ? el("ul", {}, ...e.reasons.map((reason) => el("li", {}, reason))) : null,
    el("details", { open: opened }, el("summary", {}, "Evidence"),
      el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))));
}

/** What an empty table means: nothing is known before the topic's snapshot came. */
function unlessHeard(topic, text) {
  if (withheld.has(topic)) return "Not for this session.";
  return topics.get(topic)?.data == null ? "Waiting for the engine …" : text;
}

function drawFeeds() {
  const rows = (topics.get("feeds")?.data?.items ?? []).map((s) => el("tr", {},
    el("th", { scope: "row" }, `${s.operator_code} / ${s.name}`), el("td", {}, pill(s.freshness, FRESH[s.freshness])),
    el("td", {}, s.last_success_at ? ago(s.last_success_at, Date.now()) : "never"), el("td", { class: "n" }, count(s.records)),
    el("td", { class: "n" }, count(s.duplicates)), el("td", { class: s.quarantined ? "n negative" : "n" }, count(s.quarantined))));
  $("feed-rows").replaceChildren(...(rows.length ? rows : [empty(6, unlessHeard("feeds", "No sources yet."))]));
}

const STATES = { running: "good", starting: "wait", backing_off: "warn", quarantined: "bad", stopped: "wait" };

function drawActors() {
  const rows = (topics.get("system")?.data?.actors ?? []).map((a) => el("tr", {},
    el("th", { scope: "row" }, a.name), el("td", { title: a.last_error ?? "" }, pill(a.state.replace("_", " "), STATES[a.state])),
    el("td", { class: "n" }, `${count(a.queue_depth)} / ${count(a.queue_capacity)}`), el("td", { class: "n" }, count(a.handled)),
    el("td", { class: a.restarts ? "n negative" : "n" }, count(a.restarts)), el("td", { class: a.dead_letters ? "n negative" : "n" }, count(a.dead_letters))));
  $("actor-rows").replaceChildren(...(rows.length ? rows : [empty(6, unlessHeard("system", "None."))]));
}

setInterval(() => {
  if (socket) drawAge();
  if (topics.has("feeds") && document.visibilityState === "visible" && !drawing) drawFeeds();
}, 5000);
$("retry").addEventListener("click", () => { $("signin").hidden = true; connect(); });
addEventListener("online", () => { if (!socket) connect(); });
if (new URLSearchParams(location.search).has("link")) {
  $("signin-why").textContent = "That link was used already, or is too old. Ask for a new one.";
}
connect();
