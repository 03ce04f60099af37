// The console's page: which view is shown, and the events that feed them.

import * as actions from "./actions.js";
import {byId, setText} from "./dom.js";
import * as explain from "./explain.js";
import {drawState} from "./state.js";
import * as traffic from "./traffic.js";

const VIEWS = ["state", "traffic", "explain", "actions"];
let state = null;
let stale = true;

function show() {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return;
  const view = VIEWS.includes(wanted) && !byId(`go-${wanted}`).hidden ? wanted : "state";
  for (const name of VIEWS) {
    byId(`view-${name}`).hidden = name !== view;
    if (name === view) byId(`go-${name}`).setAttribute("aria-current", "page");
    else byId(`go-${name}`).removeAttribute("aria-current");
  }
  draw();
  traffic.drawLadder();
}

// What nobody sees is not drawn.
function draw() {
  if (!state || document.hidden) { stale = true; return; }
  if (!stale) return;
  if (!byId("view-state").hidden) { drawState(state); stale = false; }
  if (!byId("view-actions").hidden) actions.offerIds(state.machine);
}

function tell(text, bad) {
  setText(byId("status"), text);
  byId("status").className = bad ? "bad" : "good";
}

function take(found) {
  state = found;
  stale = true;
  tell(found.health || "serving", found.health !== "");
  if (byId("go-actions").hidden && found.actions) {
    byId("go-actions").hidden = false;
    show();
  }
  draw();
}

function listen() {
  const events = new EventSource("api/events");
  events.addEventListener("open", () => traffic.refresh().catch(() => {}));
  events.addEventListener("state", (event) => { if (!traffic.isPaused()) take(JSON.parse(event.data)); });
  events.addEventListener("traffic", (event) => { if (!document.hidden) traffic.news(JSON.parse(event.data)); });
  events.addEventListener("error", () => tell("no connection to the server: trying again", true));
}

traffic.start();
actions.start();
explain.start().catch(() => {});
window.addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  draw();
  if (!traffic.isPaused()) traffic.refresh().catch(() => {});
});
show();
listen();
