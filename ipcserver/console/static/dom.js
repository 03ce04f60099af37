// Building blocks of the page. What comes from the server is set as text, never as HTML: clients choose much of it.

export const byId = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function drawing(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const shown = (value) => value === null || value === undefined ? "–" : String(value);
export const words = (name) => name.replaceAll("_", " ");

// Only what changed is touched: a page that repaints itself twice a second costs a core, and a screen reader its voice.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Of many rows, one is in the order of the Tab key; arrows, Home and End go from there.
export function roving(box, selector) {
  const rows = () => [...box.querySelectorAll(selector)];
  box.addEventListener("focusin", (event) => {
    const row = event.target.closest(selector);
    if (!row) return;
    for (const other of box.querySelectorAll(`${selector}[tabindex="0"]`)) other.tabIndex = -1;
    row.tabIndex = 0;
  });
  box.addEventListener("keydown", (event) => {
    const all = rows();
    const at = all.indexOf(event.target.closest(selector));
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: all.length - 1}[event.key];
    if (to === undefined || at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, to))].focus();
  });
}

export function oneInTabOrder(box, selector) {
  if (!box.querySelector(`${selector}[tabindex="0"]`)) {
    const first = box.querySelector(selector);
    if (first) first.tabIndex = 0;
  }
}

// What is wanted many times is done once, before the next frame.
export function onNextFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; work(); });
  };
}

// Brings what was chosen into sight without taking the list that it was chosen from out of it.
export function reveal(node) {
  node.focus({preventScroll: true});
  const top = node.getBoundingClientRect().top;
  if (top > innerHeight * 0.7 || top < 0) scrollBy({top: top - innerHeight * 0.4});
}
