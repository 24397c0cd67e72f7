// Drawing and words: no state, no network. Texts go in as text nodes only.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, a text and children. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

function svg(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
const exponents = new Map();

/** Digits behind the point of a currency; the browser knows them. */
function digitsOf(currency) {
  if (!exponents.has(currency)) {
    let digits = 2;
    try { digits = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits; } catch { /* unknown code */ }
    exponents.set(currency, digits);
  }
  return exponents.get(currency);
}

export const count = (n) => (Number.isFinite(n) ? whole.format(n) : "–");

/** Minor units in full. */
export function money(minor, currency) {
  if (!Number.isFinite(minor)) return "–";
  const digits = digitsOf(currency);
  return new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(minor / 10 ** digits);
}

/** Minor units, short. */
export const moneyShort = (minor, currency) => (Number.isFinite(minor) ? compact.format(minor / 10 ** digitsOf(currency)) : "–");

export const percent = (part, of) => (Number.isFinite(part) && of > 0 ? `${((100 * part) / of).toFixed(1)} %` : "–");

/** Seconds in words. */
function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** How long ago, in words. */
export function ago(time, now) {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (!Number.isFinite(seconds)) return "–";
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

/** What a rule counts, one of it. */
const ONE = { records: "record", minutes: "minute", days: "day", accounts: "account", pairs: "pair", exclusions: "exclusion", players: "player" };

/** What a rule's finding, or the metric of a window, counts. */
function unitOf({ subject: { metric }, evidence, rule }) {
  if (evidence.unit) return evidence.unit;
  if (metric === "hold") return "ppm";
  if (metric === "silence") return "seconds";
  if (metric === "integrity") return rule === "declared_totals_differ" ? "minor_units" : "number";
  return ["count", "unique_players", "first_contacts"].includes(metric) ? "number" : "minor_units";
}

/** A value of an alert in its unit. */
export function measured(value, alert) {
  const unit = unitOf(alert);
  if (!Number.isFinite(value)) return "–";
  if (unit === "ppm") return `${(value / 10000).toFixed(2)} %`;
  if (unit === "minor_units") return `${money(value, alert.subject.currency)} ${alert.subject.currency}`;
  if (unit === "seconds") return duration(value);
  return unit === "number" ? count(value) : `${count(value)} ${value === 1 ? ONE[unit] ?? unit : unit}`;
}

/** Which figures of an operator an alert or a group is about; null where it is about something else. */
export const figuresOf = ({ metric, granularity }) => (WORDS[metric] ? `${WORDS[metric]} of the ${granularity}` : null);

/** The name of a rule as words. */
export const ruleWords = (rule) => (rule === "confidential" ? "confidential finding" : rule.replaceAll("_", " "));

/** Whom it is about, short: a pseudonym says what it stands for, and the beginning of its digest is enough to tell two apart. */
export function whoShort(who) {
  const [what, which = ""] = who.split(/:(.*)/s);
  return `${what} ${which.split(",").map((one) => (/^[0-9a-f]{16,}$/.test(one) ? one.slice(0, 8) : one)).join(" and ")}`;
}

/** A line of values with its zero, described in words for who does not see it. */
export function sparkline(values, label) {
  const usable = values.filter(Number.isFinite);
  if (usable.length < 2) return el("span", { class: "quiet" }, "too few windows");
  const low = Math.min(0, ...usable), high = Math.max(0, ...usable), span = high - low || 1;
  const x = (i) => ((i * 100) / (usable.length - 1)).toFixed(2);
  const y = (v) => (29 - ((v - low) * 28) / span).toFixed(2);
  const path = usable.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join("");
  const title = document.createElementNS(SVG, "title");
  title.textContent = label;
  return svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": label },
    title, svg("line", { x1: 0, x2: 100, y1: y(0), y2: y(0) }), svg("path", { d: path }));
}

/** Where the observed value lies against the band that would have been quiet. */
export function bandChart(evidence, label) {
  const values = [evidence.observed, evidence.expected, evidence.band_low, evidence.band_high];
  if (!values.every(Number.isFinite)) return null;
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const x = (v) => 4 + ((v - low) * 252) / span;
  return svg("svg", { class: "band", viewBox: "0 0 260 16", role: "img", "aria-label": label },
    svg("line", { class: "axis", x1: 0, x2: 260, y1: 8, y2: 8 }),
    svg("rect", { class: "quietly", x: x(evidence.band_low), y: 3, width: Math.max(1, x(evidence.band_high) - x(evidence.band_low)), height: 10, rx: 2 }),
    svg("line", { class: "mid", x1: x(evidence.expected), x2: x(evidence.expected), y1: 1, y2: 15 }),
    svg("circle", { class: "seen", cx: x(evidence.observed), cy: 8, r: 4 }));
}

export const WORDS = {
  count: "number of records", stakes: "stakes", payouts: "payouts", gross_gaming_revenue: "gross gaming revenue",
  unique_players: "unique players", hold: "hold", first_contacts: "people it never asked about before",
};
