// Shows /api/openapi.json; nothing is loaded from elsewhere.

import { el } from "/sparkline.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

/** A type in words. */
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf || schema.anyOf) return (schema.oneOf ?? schema.anyOf).map(typeOf).join(" or ");
  if (schema.allOf) return schema.allOf.map(typeOf).join(" and ");
  const names = [].concat(schema.type ?? "any").map((name) => (name === "array" ? `list of ${typeOf(schema.items)}` : name));
  return names.join(" or ") + (schema.format ? ` (${schema.format})` : "");
}

/** A sentence with its `names` as code. */
const prose = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));

/** The fields of a schema, those of its parts included. */
function fields(schema, all, depth = 0) {
  if (!schema || depth > 4) return [];
  if (schema.$ref) return fields(all[schema.$ref.split("/").pop()], all, depth + 1);
  const own = Object.entries(schema.properties ?? {}).map(([name, s]) => ({ name, schema: s, required: schema.required?.includes(name) }));
  return [...(schema.allOf ?? []).flatMap((part) => fields(part, all, depth + 1)), ...own];
}

function fieldList(schema, all) {
  const list = fields(schema, all);
  if (!list.length) return el("p", { class: "quiet" }, typeOf(schema));
  return el("ul", {}, ...list.map((f) => el("li", {}, el("code", {}, f.name), ` ${typeOf(f.schema)}${f.required ? "" : ", may be missing"}`,
    f.schema.description ? el("span", { class: "quiet" }, " – ", ...prose(f.schema.description)) : null)));
}

function operation(path, method, op, all) {
  const parts = [el("h3", {}, el("span", { class: "method" }, method.toUpperCase()), path), el("p", {}, ...prose(op.summary ?? op.description ?? ""))];
  const scopes = (op.security ?? []).flatMap((s) => Object.values(s).flat());
  if (scopes.length) parts.push(el("p", { class: "quiet" }, "Scope: ", ...scopes.flatMap((s, i) => [i ? " or " : "", el("code", {}, s)])));
  if (op.parameters?.length) {
    parts.push(el("h4", {}, "Parameters"), el("ul", {}, ...op.parameters.map((p) => el("li", {}, el("code", {}, p.name),
      ` in ${p.in}, ${typeOf(p.schema)}`, p.description ? el("span", { class: "quiet" }, " – ", ...prose(p.description)) : null))));
  }
  for (const [type, content] of Object.entries(op.requestBody?.content ?? {})) {
    parts.push(el("h4", {}, `Body, ${type}`), fieldList(content.schema, all));
  }
  for (const [status, response] of Object.entries(op.responses ?? {})) {
    if (status === "default") continue;
    parts.push(el("h4", {}, `${status} ${response.description ?? ""}`));
    for (const content of Object.values(response.content ?? {})) if (content.schema) parts.push(fieldList(content.schema, all));
  }
  return el("article", {}, ...parts);
}

/** The people of the sandbox, where there is one. */
async function sandbox() {
  const answer = await fetch("/api/v1/sandbox");
  const head = [el("h2", {}, "People of the sandbox")];
  const { items } = await answer.json();
  if (!items.length) return el("section", { id: "people" }, ...head, el("p", { class: "quiet" }, "This node has no sandbox."));
  const row = (tag, cells) => el("tr", {}, ...cells.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, cell)));
  const rows = items.map((p) => row("td", [p.jurisdiction, p.phone, `${p.id_number} (${p.id_type})`, p.note]));
  return el("section", { id: "people" }, ...head, el("table", {}, el("thead", {}, row("th", ["Jurisdiction", "phone", "id_number", "What comes of a lookup"])),
    el("tbody", {}, ...rows)));
}

async function show() {
  const document_ = await (await fetch("/api/openapi.json")).json();
  const all = document_.components?.schemas ?? {};
  document.getElementById("version").textContent = `API ${document_.info.version}`;
  const main = document.getElementById("main");
  const sections = (document_.tags ?? []).map((tag) => {
    const found = Object.entries(document_.paths).flatMap(([path, item]) => METHODS.filter((m) => item[m]?.tags?.includes(tag.name))
      .map((m) => operation(path, m, item[m], all)));
    document.getElementById("tags").append(el("a", { href: `#${tag.name}` }, tag.name));
    return el("section", { id: tag.name }, el("h2", {}, tag.name), el("p", { class: "quiet" }, ...prose(tag.description ?? "")), ...found);
  });
  const problem = Object.values(document_.paths)[0]?.[METHODS.find((m) => Object.values(document_.paths)[0][m])]?.responses?.default;
  const people = await sandbox();
  main.replaceChildren(...sections, people, el("section", {}, el("h2", {}, "Problems"), el("p", {}, ...prose(problem?.description ?? "")), fieldList(all.Problem, all)));
}

show().catch(() => { document.getElementById("loading").textContent = "The contract cannot be loaded."; });
