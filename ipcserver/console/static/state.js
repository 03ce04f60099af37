// The State view: plots, figures, tables; only what changed is touched.

import {byId, drawing, make, setText, shown, words} from "./dom.js";

const plots = {};

function plot(title, values, unit) {
  if (!plots[title]) {
    const now = make("span", {class: "big"});
    const line = drawing("path", {d: ""});
    const image = drawing("svg", {class: "plot", viewBox: `0 0 ${values.length} 40`, preserveAspectRatio: "none", role: "img"}, line);
    byId("plots").append(make("div", {class: "card"}, make("h3", {text: title}), now, ` ${unit}`, image));
    plots[title] = {now, line, image};
  }
  const known = values.filter((value) => value !== null);
  const most = Math.max(1e-9, ...known);
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null) { pen = "M"; return; }
    path += `${pen}${index} ${(38 - 36 * value / most).toFixed(1)}`;
    pen = values[index + 1] === null || index + 1 === values.length ? "h.8M" : "L";
    if (pen !== "L") { path += "h.8"; pen = "M"; }
  });
  const last = known.length ? known[known.length - 1] : null;
  const parts = plots[title];
  setText(parts.now, shown(last));
  parts.line.setAttribute("d", path || "M0 38h1");
  parts.image.setAttribute("aria-label", `${title}: now ${shown(last)} ${unit}, at most ${known.length ? Math.max(...known) : 0} in two minutes`);
}

const cards = {};

function figures(title, pairs, tell = words) {
  if (!cards[title]) {
    const list = make("dl");
    byId("counts").append(make("div", {class: "card"}, make("h3", {text: title}), list));
    cards[title] = {list, names: "", values: []};
  }
  const card = cards[title];
  const names = JSON.stringify(pairs.map(([name]) => name));
  if (names !== card.names) {
    card.names = names;
    card.values = pairs.map(() => make("dd"));
    card.list.replaceChildren(...pairs.flatMap(([name], index) => [make("dt", {text: tell(name)}), card.values[index]]));
    if (!pairs.length) card.list.append(make("dt", {text: "none yet", class: "quiet"}));
  }
  pairs.forEach(([, value], index) => setText(card.values[index], shown(value)));
}

const TITLES = {
  queues: "Message queues", sets: "Semaphore sets", segments: "Shared memory segments",
  sessions: "Sessions", waiters: "Calls that wait", registrations: "Registrations",
};
const tables = {};

function table(name, content) {
  if (!tables[name]) {
    const title = make("summary");
    const where = make("p", {class: "quiet"});
    const head = make("tr");
    const rows = make("tbody");
    const inside = make("table", {}, make("caption", {class: "unseen", text: TITLES[name]}), make("thead", {}, head), rows);
    const body = make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": TITLES[name]}, inside);
    const box = make("details", {}, title, where, body);
    box.open = true;
    byId("tables").append(box);
    tables[name] = {title, where, head, rows, body, columns: ""};
  }
  const known = tables[name];
  const more = content.total > content.rows.length ? `, the first ${content.rows.length} shown` : "";
  setText(known.title, `${TITLES[name]}: ${content.total}${more}`);
  setText(known.where, content.where || "");
  known.where.hidden = !content.where;
  known.body.hidden = !content.rows.length;
  if (content.rows.length) {
    const columns = Object.keys(content.rows[0]);
    if (columns.join() !== known.columns) {
      known.columns = columns.join();
      known.head.replaceChildren(...columns.map((column) => make("th", {scope: "col", text: words(column)})));
      known.rows.replaceChildren();
    }
  }
  const rows = known.rows;
  while (rows.rows.length > content.rows.length) rows.lastElementChild.remove();
  content.rows.forEach((row, index) => {
    const values = Object.values(row);
    let line = rows.rows[index];
    if (!line) {
      line = make("tr", {}, ...values.map((value) => make("td", {text: shown(value)})));
      rows.append(line);
      return;
    }
    values.forEach((value, column) => setText(line.cells[column], shown(value)));
  });
}

export function drawState(state) {
  setText(byId("where"), state.addresses.join(" · "));
  plot("Calls", state.plots.calls, "a second");
  plot("Errors", state.plots.errors, "a second");
  plot("Median latency", state.plots.median_ms, "ms at most");
  plot("99th percentile", state.plots.p99_ms, "ms at most");
  figures("Outcomes", Object.entries(state.outcomes), String);
  figures("Refused and failed", Object.entries(state.counters));
  figures("Journal", Object.entries(state.journal));
  figures("Procedures", [["connections open", state.connections], ...Object.entries(state.procedures)], String);
  for (const name of Object.keys(TITLES)) table(name, name === "registrations" ? state.registrations : state.machine[name]);
}
