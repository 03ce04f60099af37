// The Explain view: a pasted message, or a capture to choose from.

import {byId, make, oneInTabOrder, reveal, roving, setText} from "./dom.js";
import {messageView} from "./message.js";

const ROWS = 500;
const MOST_BYTES = 8 << 20;
let captured = [];
let asking = 0;

// ---- asking

async function ask(question) {
  const chosen = byId("known").value;
  const file = chosen === "+mine" ? byId("spec").files[0] : null;
  const more = {spec: file ? await file.text() : "", known: chosen.startsWith("+") ? "" : chosen};
  const answer = await fetch("api/explain", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({...more, ...question})});
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

// Only the last question's answer counts.
async function answered(question, use) {
  const number = asking += 1;
  setText(byId("explain-status"), "asking …");
  byId("explain-status").className = "quiet";
  try {
    const found = await ask(question);
    if (number === asking) use(found);
  } catch (error) {
    if (number !== asking) return;
    byId("explained").replaceChildren();
    byId("explain-status").className = "bad";
    setText(byId("explain-status"), error instanceof TypeError ? "The server does not answer." : error.message);
  }
}

function showMessages(found, notes = []) {
  byId("explained").replaceChildren(...found.messages.map((message) => messageView(found.hex, message, notes)));
  const wrong = found.messages.filter((message) => message.fault).length;
  setText(byId("explain-status"), `${found.messages.length} ${found.messages.length === 1 ? "message" : "messages"}, ${wrong || "none"} of them wrong`);
}

function explainHex() {
  byId("captured").hidden = true;
  if (!byId("hex").value.trim()) { byId("hex").focus(); return undefined; }
  return answered({hex: byId("hex").value, form: byId("form").value, call: byId("call").value.trim()}, showMessages);
}

// ---- files

const CAPTURES = ["d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a"];
const HEX = Array.from({length: 256}, (_, byte) => byte.toString(16).padStart(2, "0"));
const toHex = (bytes) => Array.from(bytes, (byte) => HEX[byte]).join("");

function base64(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => failed(new Error("The file cannot be read.")));
    reader.readAsDataURL(file);
  });
}

async function takeFile(file) {
  if (!file) return;
  byId("explain-status").className = "bad";
  if (file.size > MOST_BYTES) {
    setText(byId("explain-status"), `${file.name} has more than ${MOST_BYTES >> 20} MiB: oncrpc explain takes more, or cut it with editcap.`);
    return;
  }
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  byId("explained").replaceChildren();
  if (CAPTURES.includes(toHex(head)) || (head[0] === 0x1f && head[1] === 0x8b)) {
    await answered({capture: await base64(file)}, showCapture);
    return;
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = bytes.every((byte) => byte > 8 && byte < 127) ? new TextDecoder().decode(bytes) : toHex(bytes);
  byId("hex").value = text;
  await explainHex();
}

// ---- a capture

function showCapture(found) {
  const {messages, notes, left_out: leftOut} = found.capture;
  captured = messages;
  byId("captured").hidden = false;
  byId("captured-filter").value = "";
  const all = leftOut ? [...notes, `${leftOut} more messages are too many for this page: oncrpc explain lists them`] : notes;
  byId("captured-notes").replaceChildren(...all.map((note) => make("li", {text: note})));
  setText(byId("explain-status"), messages.length ? `${messages.length} messages: choose one` : "There is no RPC in this capture.");
  drawCaptured();
}

function capturedRow(message) {
  const xid = message.xid === null ? "" : message.xid.toString(16).padStart(8, "0");
  const told = `${message.kind} ${message.title}${message.note ? ` (${message.note})` : ""}`.trim();
  const row = make("button", {type: "button", class: message.wrong ? "found failed" : "found", tabindex: "-1"},
    make("span", {text: message.number}),
    make("span", {text: message.seconds.toFixed(6)}),
    make("span", {text: `${message.source} → ${message.target} ${message.transport}`}),
    make("span", {text: xid}),
    make("span", {text: message.size}),
    make("span", {text: told, class: message.wrong ? "bad" : ""}));
  row.addEventListener("click", () => {
    for (const other of byId("captured-list").querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    const notes = message.note ? [message.note] : [];
    answered({hex: message.hex, form: message.form, call: message.call}, (found) => {
      showMessages(found, notes);
      reveal(byId("explained"));
    });
  });
  return make("li", {}, row);
}

function drawCaptured() {
  const typed = byId("captured-filter").value.trim().toLowerCase().split(/\s+/);
  const fitting = captured.filter((message) => {
    const text = `${message.source} ${message.target} ${message.transport} ${message.kind} ${message.title} ${message.note} ${(message.xid ?? 0).toString(16)} ${message.xid}`.toLowerCase();
    return typed.every((word) => text.includes(word));
  });
  byId("captured-list").replaceChildren(...fitting.slice(0, ROWS).map(capturedRow));
  oneInTabOrder(byId("captured-list"), ".found");
  if (captured.length) setText(byId("explain-status"), `${fitting.length} of ${captured.length} messages${fitting.length > ROWS ? `, the first ${ROWS} shown` : ""}: choose one`);
}

// ---- beginning

export async function start() {
  byId("explain-form").addEventListener("submit", (event) => { event.preventDefault(); explainHex(); });
  byId("file").addEventListener("change", () => takeFile(byId("file").files[0]));
  byId("known").addEventListener("change", () => { byId("mine").hidden = byId("known").value !== "+mine"; });
  byId("captured-filter").addEventListener("input", drawCaptured);
  byId("captured-filter").form.addEventListener("submit", (event) => event.preventDefault());
  roving(byId("captured-list"), ".found");
  const view = byId("view-explain");
  view.addEventListener("dragover", (event) => { event.preventDefault(); view.classList.add("over"); });
  view.addEventListener("dragleave", () => view.classList.remove("over"));
  view.addEventListener("drop", (event) => {
    event.preventDefault();
    view.classList.remove("over");
    takeFile(event.dataTransfer.files[0]);
  });
  const {specs, calls} = await (await fetch("api/specs")).json();
  for (const name of specs) byId("known").insertBefore(make("option", {value: name, text: name}), byId("known").lastElementChild);
  byId("calls").append(...calls.map((name) => make("option", {value: name})));
}
