// The Actions view: shown only where the server allows them. The token lives in the page's field and nowhere else.

import {byId, make} from "./dom.js";

const LISTS = {queue: "ids-queues", set: "ids-sets", segment: "ids-segments"};

function operations(text) {
  return text.trim().split(/[\s,]+/).map((word) => {
    const found = /^(\d+):([+-]?\d+)$/.exec(word);
    if (!found) throw new Error(`“${word}” is not NUMBER:CHANGE, for example 0:-1`);
    return {num: Number(found[1]), op: Number(found[2])};
  });
}

function request(form) {
  const members = Object.fromEntries(new FormData(form));
  delete members.sure;
  if (members.wait_ms !== undefined) members.wait_ms = Number(members.wait_ms);
  if (members.operations !== undefined) members.operations = operations(members.operations);
  return members;
}

async function act(form) {
  const out = form.querySelector("output");
  const button = form.querySelector("button");
  out.className = "";
  out.textContent = "…";
  button.disabled = true;
  try {
    const answer = await fetch(`api/actions/${form.dataset.action}`, {method: "POST",
      headers: {"Content-Type": "application/json", Authorization: `Bearer ${byId("token").value.trim()}`}, body: JSON.stringify(request(form))});
    const found = await answer.json();
    const fine = answer.ok && found.status === "RIPC_OK";
    out.className = fine ? "good" : "bad";
    out.textContent = fine ? "done" : found.meaning || found.error;
    if (fine && found.hex !== undefined) {
      out.textContent = `type ${found.mtype}, ${found.hex.length / 2} bytes`;
      out.append(make("pre", {text: found.text ?? found.hex.replace(/(.{8})/g, "$1 ")}));
    }
    if (answer.status === 401) byId("token").focus();
    const sure = form.elements.sure;
    if (sure) sure.checked = false;
  } catch (error) {
    out.className = "bad";
    out.textContent = error instanceof TypeError ? "The server does not answer." : error.message;
  } finally { button.disabled = false; }
}

// Which numbers there are to act on.
export function offerIds(machine) {
  for (const [kind, id] of [["queues", "ids-queues"], ["sets", "ids-sets"], ["segments", "ids-segments"]]) {
    const rows = machine[kind].rows.map((row) => [row.id, row.key]);
    if (JSON.stringify(rows) === byId(id).dataset.seen) continue;
    byId(id).dataset.seen = JSON.stringify(rows);
    byId(id).replaceChildren(...rows.map(([number, key]) => make("option", {value: number, label: `${number}, key ${key}`})));
  }
}

export function start() {
  for (const form of document.querySelectorAll("form[data-action]")) {
    form.addEventListener("submit", (event) => { event.preventDefault(); act(form); });
  }
  const remove = document.querySelector("form[data-action=remove]");
  remove.elements.kind.addEventListener("change", () => remove.elements.id.setAttribute("list", LISTS[remove.elements.kind.value]));
}
