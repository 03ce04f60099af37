// The console's page. What comes from the server is set as text, never as HTML: clients choose much of it.
"use strict";

const byId = (id) => document.getElementById(id);

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function drawing(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const shown = (value) => value === null || value === undefined ? "–" : String(value);
const words = (name) => name.replaceAll("_", " ");

// ---- views

const VIEWS = ["state", "traffic", "explain"];

function show() {
  const wanted = location.hash.slice(1);
  const view = VIEWS.includes(wanted) ? wanted : "state";
  for (const name of VIEWS) {
    byId(`view-${name}`).hidden = name !== view;
    if (name === view) byId(`go-${name}`).setAttribute("aria-current", "page");
    else byId(`go-${name}`).removeAttribute("aria-current");
  }
  drawLadder();
}

// ---- state

function plot(title, values, unit) {
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null) { pen = "M"; return; }
    path += `${pen}${index} ${(38 - 36 * value / most).toFixed(2)}`;
    pen = values[index + 1] === null || index + 1 === values.length ? "h.8M" : "L";
    if (pen !== "L") { path += "h.8"; pen = "M"; }
  });
  const known = values.filter((value) => value !== null);
  const last = known.length ? known[known.length - 1] : null;
  const label = `${title}: now ${shown(last)} ${unit}, at most ${known.length ? Math.max(...known) : 0} in two minutes`;
  return make("div", {class: "card"},
    make("h3", {text: title}),
    make("span", {class: "big", text: shown(last)}), ` ${unit}`,
    drawing("svg", {class: "plot", viewBox: `0 0 ${values.length} 40`, preserveAspectRatio: "none", role: "img", "aria-label": label},
      drawing("path", {d: path || "M0 38h1"})));
}

function figures(title, pairs, tell = words) {
  const list = make("dl");
  for (const [name, value] of pairs) list.append(make("dt", {text: tell(name)}), make("dd", {text: shown(value)}));
  if (!pairs.length) list.append(make("dt", {text: "none yet", class: "quiet"}));
  return make("div", {class: "card"}, make("h3", {text: title}), list);
}

const TITLES = {
  queues: "Message queues", sets: "Semaphore sets", segments: "Shared memory segments",
  sessions: "Sessions", waiters: "Calls that wait", registrations: "Registrations",
};
const tables = {};

function table(name, content) {
  if (!tables[name]) {
    const title = make("summary");
    const body = make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": TITLES[name]});
    const box = make("details", {}, title, body);
    box.open = true;
    byId("tables").append(box);
    tables[name] = {title, body, seen: ""};
  }
  const known = tables[name];
  const text = JSON.stringify(content);
  if (text === known.seen) return;
  known.seen = text;
  const more = content.total > content.rows.length ? `, the first ${content.rows.length} shown` : "";
  known.title.textContent = `${TITLES[name]}: ${content.total}${more}`;
  known.body.replaceChildren();
  if (content.where) known.body.append(make("p", {class: "quiet", text: content.where}));
  if (!content.rows.length) return;
  const columns = Object.keys(content.rows[0]);
  known.body.append(make("table", {},
    make("thead", {}, make("tr", {}, ...columns.map((column) => make("th", {scope: "col", text: words(column)})))),
    make("tbody", {}, ...content.rows.map((row) =>
      make("tr", {}, ...columns.map((column) => make("td", {text: shown(row[column])})))))));
}

function drawState(state) {
  byId("status").textContent = state.health || "serving";
  byId("status").className = state.health ? "bad" : "good";
  byId("where").textContent = state.addresses.join(" · ");
  byId("plots").replaceChildren(
    plot("Calls", state.plots.calls, "a second"),
    plot("Errors", state.plots.errors, "a second"),
    plot("Median latency", state.plots.median_ms, "ms at most"),
    plot("99th percentile", state.plots.p99_ms, "ms at most"));
  byId("counts").replaceChildren(
    figures("Outcomes", Object.entries(state.outcomes), String),
    figures("Refused and failed", Object.entries(state.counters)),
    figures("Journal", Object.entries(state.journal)),
    figures("Procedures", [["connections open", state.connections], ...Object.entries(state.procedures)], String));
  for (const name of Object.keys(TITLES)) table(name, name === "registrations" ? state.registrations : state.machine[name]);
}

// ---- traffic

const MOST = 500;
const calls = new Map();
let paused = false;
let current = 0;
let missed = 0;

const good = (call) => !call.outcome || call.outcome === "SUCCESS" || call.outcome === "REPLAYED";

function fits(call) {
  const kind = byId("outcome").value;
  if (kind === "good" && !(call.done && good(call))) return false;
  if (kind === "bad" && good(call)) return false;
  if (kind === "open" && call.done) return false;
  const text = `${call.client} ${call.netid} ${call.title} ${call.program} ${call.outcome} ${call.lane} ${call.xid} ${call.xid.toString(16)}`.toLowerCase();
  return byId("filter").value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function take(rows) {
  for (const call of rows) calls.set(call.number, call);
  for (const number of [...calls.keys()].sort((a, b) => a - b).slice(0, Math.max(0, calls.size - MOST))) calls.delete(number);
}

function rung(call) {
  // Three posts: client, portmapper, server. The call goes to its post, the answer comes back.
  const to = call.lane === "portmapper" ? 100 : 198;
  const parts = [
    drawing("path", {d: "M2 0V34M100 0V34M198 0V34", opacity: ".35"}),
    drawing("path", {d: `M2 9H${to}m-6-4l6 4l-6 4`}),
  ];
  if (call.done && call.reply_bytes) parts.push(drawing("path", {class: "back", d: `M${to} 25H2m6-4l-6 4l6 4`}));
  else if (call.done) parts.push(drawing("path", {class: "back", d: `M${to - 4} 21l-8 8m0-8l8 8`}));
  return drawing("svg", {viewBox: "0 0 200 34", preserveAspectRatio: "none", "aria-hidden": "true"}, ...parts);
}

function callRow(call) {
  const time = new Date(call.at * 1000);
  const clock = `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
  const outcome = call.done ? `${call.outcome || "answered"}${call.ms === null ? "" : ` ${call.ms} ms`}` : "waits";
  const row = make("button", {type: "button", class: good(call) ? "call" : "call failed", "data-number": call.number,
    "aria-label": `${call.title} from ${call.client} to the ${call.lane}, ${outcome}`},
    make("span", {text: clock}),
    make("span", {text: call.netid === "local" ? call.client : `${call.client} ${call.netid}`}),
    rung(call),
    make("span", {text: `${call.call_bytes} → ${call.done ? call.reply_bytes : "?"}`}),
    make("span", {text: `${call.title} ${outcome}`, class: good(call) ? "" : "bad"}));
  if (call.number === current) row.setAttribute("aria-current", "true");
  row.addEventListener("click", () => open(call.number));
  return row;
}

function drawLadder() {
  if (byId("view-traffic").hidden) return;
  const fitting = [...calls.values()].filter(fits).sort((a, b) => b.number - a.number);
  const rows = fitting.slice(0, 200);
  const focused = document.activeElement?.dataset?.number;
  byId("ladder").replaceChildren(
    make("div", {class: "call head"}, make("span", {text: "time"}), make("span", {text: "client"}),
      make("span", {text: "client → portmapper → server"}), make("span", {text: "bytes"}), make("span", {text: "call and outcome"})),
    ...rows.map(callRow));
  if (focused) byId("ladder").querySelector(`[data-number="${Number(focused)}"]`)?.focus({preventScroll: true});
  byId("traffic-note").textContent = `${rows.length} of ${fitting.length} fitting calls, newest first; the last ${MOST} are kept` +
    (missed ? `; ${missed} went by too fast to be shown at once` : "") + (paused ? "; paused" : "");
  byId("download").href = rows.length ? `api/traffic.pcapng?calls=${rows.map((call) => call.number).join(",")}` : "api/traffic.pcapng?calls=0";
}

async function open(number) {
  current = number;
  drawLadder();
  const place = byId("detail");
  try {
    const answer = await fetch(`api/traffic/${number}`);
    const found = await answer.json();
    if (number !== current) return;
    place.replaceChildren();
    if (!answer.ok) { place.append(make("p", {class: "bad", text: found.error})); return; }
    place.append(make("h2", {text: `${found.title}, from ${found.client} over ${found.netid}`}));
    for (const message of found.messages) {
      const note = message.whole ? "" : `Only the first bytes of ${message.size} were kept.`;
      place.append(messageView(message.hex, message.explanation, note));
    }
    place.focus();
    place.scrollIntoView({block: "start"});
  } catch { place.replaceChildren(make("p", {class: "bad", text: "The server does not answer."})); }
}

// ---- a message, byte by byte

const LINES = 4096;

function messageView(hex, explanation, note) {
  const size = hex.length / 2;
  const owner = new Map();
  explanation.parts.forEach((part, index) => {
    for (let at = part.offset; at < part.offset + Math.min(part.size, LINES * 16); at += 1) owner.set(at, index);
  });
  const cells = new Map();
  const dump = make("div", {class: "hex", role: "img", "aria-label": `${size} bytes in hexadecimal; the list beside it says what they are`});
  let first = size;
  let end = 0;
  for (const part of explanation.parts) { first = Math.min(first, part.offset); end = Math.max(end, part.offset + part.size); }
  if (!explanation.parts.length) { first = 0; end = size; }
  const begin = first - first % 16;
  for (let start = begin; start < Math.min(end, begin + LINES * 16); start += 16) {
    const line = make("div", {class: "line"}, make("span", {class: "at", text: `${start.toString(16).padStart(4, "0")}  `}));
    let text = "";
    for (let at = start; at < start + 16; at += 1) {
      if (at >= size) { line.append("   "); continue; }
      const byte = hex.slice(2 * at, 2 * at + 2);
      const cell = make("span", {text: byte, "data-part": owner.get(at) ?? -1});
      if (!cells.has(owner.get(at))) cells.set(owner.get(at), []);
      cells.get(owner.get(at)).push(cell);
      line.append(cell, at % 4 === 3 ? "  " : " ");
      const code = parseInt(byte, 16);
      text += code > 31 && code < 127 ? String.fromCharCode(code) : ".";
    }
    line.append(make("span", {class: "at", text}));
    dump.append(line);
  }
  const tree = make("ol", {class: "tree"});
  const rows = explanation.parts.map((part, index) => {
    const told = part.section ? `${part.sentence} ${part.section}` : part.sentence;
    const row = make("li", {class: `l${Math.min(part.level, 5)}`, "data-part": index, tabindex: "0"},
      make("b", {text: part.name}), ` ${part.value}`, make("i", {text: told, class: part.fault ? "bad" : ""}));
    tree.append(row);
    return row;
  });
  let lit = -1;
  const light = (index, scroll) => {
    if (index === lit) return;
    for (const node of [...(cells.get(lit) ?? []), rows[lit]]) node?.classList.remove("on");
    lit = index;
    for (const node of [...(cells.get(lit) ?? []), rows[lit]]) node?.classList.add("on");
    if (scroll) (scroll === "tree" ? rows[lit] : cells.get(lit)?.[0])?.scrollIntoView({block: "nearest"});
  };
  const over = (event, scroll) => {
    const index = event.target.closest?.("[data-part]")?.dataset.part;
    if (index !== undefined) light(Number(index), scroll);
  };
  dump.addEventListener("mouseover", (event) => over(event, ""));
  dump.addEventListener("click", (event) => over(event, "tree"));
  tree.addEventListener("mouseover", (event) => over(event, ""));
  tree.addEventListener("focusin", (event) => over(event, "bytes"));
  tree.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step || lit < 0) return;
    event.preventDefault();
    rows[Math.max(0, Math.min(rows.length - 1, lit + step))].focus();
  });
  const box = make("article", {class: "card"}, make("h3", {text: `${explanation.kind} ${explanation.title}`.trim()}));
  if (explanation.fault) box.append(make("p", {class: "bad", text: `Wrong: ${explanation.fault}`}));
  if (note) box.append(make("p", {class: "quiet", text: note}));
  box.append(make("div", {class: "bytes"}, dump, tree));
  return box;
}

// ---- explain

async function explain(event) {
  event.preventDefault();
  const place = byId("explained");
  place.replaceChildren(make("p", {class: "quiet", text: "…"}));
  try {
    const file = byId("spec").files[0];
    const question = {hex: byId("hex").value, spec: file ? await file.text() : "", form: byId("form").value, call: byId("call").value.trim()};
    const answer = await fetch("api/explain", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(question)});
    const found = await answer.json();
    place.replaceChildren();
    if (!answer.ok) place.append(make("p", {class: "bad", text: found.error}));
    else for (const message of found.messages) place.append(messageView(found.hex, message, ""));
  } catch { place.replaceChildren(make("p", {class: "bad", text: "The server does not answer."})); }
}

// ---- beginning

function listen() {
  const events = new EventSource("api/events");
  events.addEventListener("open", async () => {
    const answer = await fetch("api/traffic");
    calls.clear();
    take((await answer.json()).calls);
    drawLadder();
  });
  events.addEventListener("state", (event) => { if (!paused) drawState(JSON.parse(event.data)); });
  events.addEventListener("traffic", (event) => {
    if (paused) return;
    const found = JSON.parse(event.data);
    missed += found.left_out;
    take(found.calls);
    drawLadder();
  });
  events.addEventListener("error", () => {
    byId("status").textContent = "no connection to the server: trying again";
    byId("status").className = "bad";
  });
}

byId("pause").addEventListener("click", async () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", paused);
  byId("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) take((await (await fetch("api/traffic")).json()).calls);
  drawLadder();
});
byId("filter").addEventListener("input", drawLadder);
byId("outcome").addEventListener("change", drawLadder);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("explain-form").addEventListener("submit", explain);
window.addEventListener("hashchange", show);
fetch("api/specs").then((answer) => answer.json()).then((names) => {
  byId("known").textContent = `Programs of ${names.join(", ")} are known by name; for others choose their .x file.`;
}).catch(() => {});
show();
listen();
