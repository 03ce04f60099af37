// The Traffic view: the last calls as a ladder, and one of them byte by byte.

import {byId, drawing, make, onNextFrame, oneInTabOrder, reveal, roving, setText} from "./dom.js";
import {messageView} from "./message.js";

const MOST = 500;
const ROWS = 150;
const OPTIONS = 200;
const calls = new Map();
const rows = new Map();
let paused = false;
let current = 0;
let missed = 0;
let forced = false;

export const good = (call) => !call.outcome || call.outcome === "SUCCESS" || call.outcome === "REPLAYED";

// ---- filters

const host = (call) => call.client.replace(/:\d+$/, "");
const CHOICES = {
  "by-client": host,
  "by-program": (call) => call.program ? call.title.split(" ")[0] : "",
  "by-procedure": (call) => call.title.split(" ").slice(1).join(" "),
  "by-outcome": (call) => call.outcome,
};
const offered = Object.fromEntries(Object.keys(CHOICES).map((id) => [id, new Set()]));

function offer(call) {
  for (const [id, value] of Object.entries(CHOICES)) {
    const found = value(call);
    if (!found || offered[id].has(found) || offered[id].size >= OPTIONS) continue;
    offered[id].add(found);
    const select = byId(id);
    const behind = [...select.options].find((option) => option.value && !option.value.startsWith("+") && option.value > found);
    select.insertBefore(make("option", {value: found, text: found}), behind ?? null);
  }
}

function fits(call) {
  for (const [id, value] of Object.entries(CHOICES)) {
    const wanted = byId(id).value;
    if (!wanted) continue;
    if (wanted === "+good") { if (!call.done || !good(call)) return false; }
    else if (wanted === "+bad") { if (good(call)) return false; }
    else if (wanted === "+open") { if (call.done) return false; }
    else if (value(call) !== wanted) return false;
  }
  const typed = byId("filter").value.trim().toLowerCase();
  if (!typed) return true;
  const text = `${call.client} ${call.netid} ${call.title} ${call.program} ${call.outcome} ${call.lane} ${call.xid} ${call.xid.toString(16)}`.toLowerCase();
  return typed.split(/\s+/).every((word) => text.includes(word));
}

// ---- the ladder

export function take(list) {
  for (const call of list) { calls.set(call.number, call); offer(call); }
  if (calls.size <= MOST) return;
  for (const number of [...calls.keys()].sort((a, b) => a - b).slice(0, calls.size - MOST)) calls.delete(number);
}

function rung(call) {
  // Three posts: client, portmapper, server. The call goes to its post, the answer comes back; what the server itself
  // asks of rpcbind goes from right to left.
  const from = call.lane === "rpcbind" ? 198 : 2;
  const to = call.lane === "server" ? 198 : 100;
  const way = Math.sign(to - from);
  const parts = [
    drawing("path", {class: "post", d: "M2 0V34M100 0V34M198 0V34"}),
    drawing("path", {d: `M${from} 9H${to}m${-6 * way}-4l${6 * way} 4l${-6 * way} 4`}),
  ];
  if (call.done && call.reply_bytes) parts.push(drawing("path", {class: "back", d: `M${to} 25H${from}m${6 * way}-4l${-6 * way} 4l${6 * way} 4`}));
  else if (call.done) parts.push(drawing("path", {class: "back", d: `M${to - 4 * way} 21l${-8 * way} 8m0-8l${8 * way} 8`}));
  return drawing("svg", {viewBox: "0 0 200 34", preserveAspectRatio: "none", "aria-hidden": "true"}, ...parts);
}

function callRow(call) {
  const time = new Date(call.at * 1000);
  const clock = `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
  const outcome = call.done ? `${call.outcome || "answered"}${call.ms === null ? "" : ` ${call.ms} ms`}` : "waits";
  const row = make("button", {type: "button", class: good(call) ? "call" : "call failed", "data-number": call.number, tabindex: "-1"},
    make("span", {text: clock}),
    make("span", {text: call.netid === "local" ? call.client : `${call.client} ${call.netid}`}, make("span", {class: "unseen", text: ` to the ${call.lane}`})),
    rung(call),
    make("span", {text: `${call.call_bytes} → ${call.done ? call.reply_bytes : "?"}`}),
    make("span", {text: `${call.title} ${outcome}`, class: good(call) ? "" : "bad"}));
  row.addEventListener("click", () => open(call.number));
  return make("li", {}, row);
}

// A row under the pointer or with the focus must not walk away: what comes meanwhile is shown when it is left.
const held = () => byId("ladder").matches(":hover, :focus-within") && byId("ladder").childElementCount > 0;

export const drawLadder = onNextFrame(() => {
  if (byId("view-traffic").hidden) return;
  if (held() && !forced) { tell("the list is held while you are in it"); return; }
  forced = false;
  const fitting = [...calls.values()].filter(fits).sort((a, b) => b.number - a.number);
  const wanted = fitting.slice(0, ROWS);
  const ladder = byId("ladder");
  const keep = new Set(wanted.map((call) => call.number));
  for (const [number, known] of rows) if (!keep.has(number)) { known.row.remove(); rows.delete(number); }
  let place = ladder.firstElementChild;
  for (const call of wanted) {
    let known = rows.get(call.number);
    if (!known || known.call !== call) {
      const row = callRow(call);
      if (known) {
        const focused = known.row.contains(document.activeElement);
        known.row.replaceWith(row);
        if (focused) row.firstElementChild.focus({preventScroll: true});
      } else ladder.insertBefore(row, place);
      known = {call, row};
      rows.set(call.number, known);
    } else if (known.row !== place) ladder.insertBefore(known.row, place);
    place = known.row.nextElementSibling;
  }
  mark();
  oneInTabOrder(ladder, ".call");
  tell(paused ? "paused" : "", fitting.length);
  byId("download").href = `api/traffic.pcapng?calls=${wanted.length ? wanted.map((call) => call.number).join(",") : "0"}`;
});

function redraw() {
  forced = true;
  drawLadder();
}

let fittingNow = 0;

function tell(more, fitting = fittingNow) {
  fittingNow = fitting;
  setText(byId("traffic-note"), `${rows.size} of ${fitting} fitting calls, newest first; the last ${MOST} are kept` +
    (missed ? `; ${missed} went by too fast to be listed` : "") + (more ? `; ${more}` : ""));
}

function mark() {
  for (const row of byId("ladder").querySelectorAll("[aria-current]")) if (Number(row.dataset.number) !== current) row.removeAttribute("aria-current");
  rows.get(current)?.row.firstElementChild.setAttribute("aria-current", "true");
}

async function open(number) {
  current = number;
  mark();
  const place = byId("detail");
  try {
    const answer = await fetch(`api/traffic/${number}`);
    const found = await answer.json();
    if (number !== current) return;
    place.replaceChildren();
    if (!answer.ok) { place.append(make("p", {class: "bad", text: found.error})); return; }
    place.append(make("h2", {text: `${found.title}, from ${found.client} over ${found.netid}`}));
    for (const message of found.messages) {
      const notes = [];
      if (!message.whole) notes.push(`Only the first bytes of ${message.size} were kept.`);
      if (message.fragments.length > 1) notes.push(`It came in ${message.fragments.length} fragments.`);
      place.append(messageView(message.hex, message.explanation, notes));
    }
    reveal(place);
  } catch { place.replaceChildren(make("p", {class: "bad", text: "The server does not answer."})); }
}

export async function refresh() {
  const answer = await fetch("api/traffic");
  calls.clear();
  take((await answer.json()).calls);
  redraw();
}

export function news(found) {
  if (paused) return;
  missed += found.left_out;
  take(found.calls);
  drawLadder();
}

export const isPaused = () => paused;

export function start() {
  byId("pause").addEventListener("click", async () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", paused);
    setText(byId("pause"), paused ? "Go on" : "Pause");
    if (!paused) await refresh();
    redraw();
  });
  for (const id of Object.keys(CHOICES)) byId(id).addEventListener("change", redraw);
  byId("filter").addEventListener("input", redraw);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("ladder").addEventListener("mouseleave", drawLadder);
  byId("ladder").addEventListener("focusout", drawLadder);
  roving(byId("ladder"), ".call");
}
