// A message, byte by byte: hexadecimal on one side, the fields on the other.

import {make, oneInTabOrder, roving} from "./dom.js";

const LINES = 4096;
const narrow = matchMedia("(max-width: 46rem)");
const OWNED = LINES * 16;

export function messageView(hex, explanation, notes = []) {
  const size = hex.length / 2;
  const owner = new Map();
  explanation.parts.forEach((part, index) => {
    for (let at = part.offset; at < part.offset + Math.min(part.size, OWNED); at += 1) owner.set(at, index);
  });
  const title = `${explanation.kind} ${explanation.title}`.trim();
  const cells = new Map();
  const dump = make("div", {class: "hex", role: "img", tabindex: "0", "aria-label": `${size} bytes in hexadecimal; the list of fields says what they are`});
  let first = size;
  let end = 0;
  for (const part of explanation.parts) { first = Math.min(first, part.offset); end = Math.max(end, part.offset + part.size); }
  if (!explanation.parts.length) { first = 0; end = size; }
  const wide = narrow.matches ? 8 : 16;
  const begin = first - first % wide;
  for (let start = begin; start < Math.min(end, begin + OWNED); start += wide) {
    const line = make("div", {class: "line"}, make("span", {class: "at", text: `${start.toString(16).padStart(4, "0")}  `}));
    let text = "";
    for (let at = start; at < start + wide; at += 1) {
      if (at >= size) { line.append(at % 4 === 3 ? "    " : "   "); continue; }
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
  const tree = make("ol", {class: "tree", role: "tree", "aria-label": `Fields of ${title}; the arrow keys go from one to the next`});
  const rows = explanation.parts.map((part, index) => {
    const told = part.section ? `${part.sentence} ${part.section}` : part.sentence;
    const row = make("li", {class: `l${Math.min(part.level, 5)}`, role: "treeitem", "aria-level": part.level + 1, "data-part": index, tabindex: "-1"},
      make("b", {text: part.name}), ` ${part.value}`, make("i", {text: told, class: part.fault ? "bad" : part.section ? "" : "type"}));
    tree.append(row);
    return row;
  });
  roving(tree, "li");
  oneInTabOrder(tree, "li");
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
  const box = make("article", {class: "card", "aria-label": title}, make("h3", {text: title}));
  if (explanation.fault) box.append(make("p", {class: "bad", text: `Wrong: ${explanation.fault}`}));
  for (const note of notes) box.append(make("p", {class: "quiet", text: note}));
  box.append(make("div", {class: "bytes"}, dump, tree));
  return box;
}
