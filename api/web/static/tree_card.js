// One node as a card of SVG, and the line that leads to it. Text goes in as text; it is cut where its width ends.
import { INDENT, ROOT, SIZES } from "./tree_layout.js";

const NAMES = "http://www.w3.org/2000/svg";
const FONTS = {
  title: "500 13px Inter, system-ui, sans-serif",
  small: "400 11.5px Inter, system-ui, sans-serif",
  mono: "400 11.5px ui-monospace, monospace",
};
const PAD = 12;
const REMARK_AT = 14;
const ink = document.createElement("canvas").getContext("2d");
const STATES = { open: "thinks", tool_wait: "waits for its tool", in_subtasks: "in its subtasks", closed: "", ok: "", gen_failed: "no answer", judge_failed: "not judged", duplicate: "said before" };

/** An element of SVG with attributes and children. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMES, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function cut(text, room, font) {
  ink.font = FONTS[font];
  if (ink.measureText(text).width <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ink.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low).trimEnd()}…`;
}

function line(text, x, y, room, font, className = "", anchor = null) {
  const element = svg("text", { x, y, class: `${font} ${className}`.trim(), "text-anchor": anchor });
  element.textContent = cut(text, room, font);
  return element;
}

function wide(text, font) {
  ink.font = FONTS[font];
  return ink.measureText(text).width;
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** The words of a node for those who hear it. */
export function spoken(node, kind) {
  const parts = [node.label ?? "", node.title];
  if (kind === "thread") parts.push(node.tool ? `tool ${node.tool}` : "", STATES[node.state] ?? "", node.live === false ? "pruned" : "", node.recalled ? "read back" : "");
  else if (node.id !== ROOT) parts.push(`value ${node.value.toFixed(2)}, ${node.visits} visits`, node.best ? "on the best path" : "");
  return parts.filter(Boolean).join(", ");
}

/** The card of a node around the point (0, 0) at the middle of its left side. `most`: visits of the node with most. */
export function card(node, kind, { shape, most = 1, folded = 0, chosen = false }) {
  const { width, height } = SIZES[kind];
  const top = -height / 2;
  const names = ["card", node.state, node.id === ROOT && "root", node.live === false && "gone", node.best && "best", chosen && "chosen", node.recalled > 0 && "recalled"];
  const group = svg("g", { class: names.filter(Boolean).join(" "), role: "treeitem", id: `tree-node-${node.id}`, "data-id": node.id, "aria-level": 1, "aria-selected": String(chosen) });
  if (node.children.length > 0) group.setAttribute("aria-expanded", String(folded === 0));
  const name = svg("title");
  name.textContent = [spoken(node, kind), node.note].filter(Boolean).join("\n");
  group.append(name, svg("rect", { class: "face", y: top, width, height, rx: 8 }));
  const room = width - 2 * PAD;
  if (node.id === ROOT) group.append(line("Request", PAD, top + 17, room, "small", "soft"), line(node.title, PAD, top + 36, room, "title"), line(node.note || " ", PAD, top + 54, room, "small", "soft"));
  else if (kind === "thread") task(group, node, top, width);
  else answer(group, node, top, width, most);
  if (node.children.length > 0) group.append(fold(node, shape === "down" ? [REMARK_AT, height / 2] : [width, 0], folded));
  return group;
}

function head(group, node, top, width, right) {
  const gone = right ? wide(right, "small") + 8 : 0;
  const label = wide(node.label, "mono") + 7;
  group.append(line(node.label, PAD, top + 21, width, "mono", "soft"), line(node.title, PAD + label, top + 21, width - 2 * PAD - label - gone, "title"));
  if (right) group.append(line(right, width - PAD, top + 21, width, "small", "soft num", "end"));
}

function task(group, node, top, width) {
  head(group, node, top, width, "");
  const tokens = node.live ? `${compact.format(node.tokens)} tok` : `gave back ${compact.format(node.tokens)}`;
  const end = node.recalled ? `↺ ${node.recalled} · ${tokens}` : tokens;
  group.append(line(end, width - PAD, top + 40, width, "small", "soft num", "end"));
  let x = PAD;
  let room = width - 2 * PAD - wide(end, "small") - 10;
  if (node.tool) {
    const name = cut(node.tool, room - 12, "mono");
    const chip = wide(name, "mono") + 12;
    group.append(svg("rect", { class: "chip", x, y: top + 28, width: chip, height: 16, rx: 4 }), line(name, x + 6, top + 40, room, "mono", "tool"));
    x += chip + 8;
    room -= chip + 8;
  }
  const state = STATES[node.state] ?? node.state;
  if (state && room > 30) group.append(line(state, x, top + 40, room, "small", "state"));
  if (node.note) group.append(line(node.note, PAD, top + 57, width - 2 * PAD, "small", "soft"));
}

function answer(group, node, top, width, most) {
  const stripe = 2 + 4 * Math.sqrt(node.visits / most);
  group.append(svg("rect", { class: "visits", x: 0, y: top + 10, width: stripe, height: 46, rx: 1.5 }));
  head(group, node, top, width, node.rank ? `rank ${node.rank}` : "");
  const state = STATES[node.state] ?? node.state;
  const long = 84;
  group.append(
    svg("rect", { class: "track", x: PAD, y: top + 33.5, width: long, height: 5, rx: 2.5 }),
    svg("rect", { class: "value", x: PAD, y: top + 33.5, width: long * Math.min(1, Math.max(0, node.value)), height: 5, rx: 2.5 }),
    line(node.value.toFixed(3), PAD + long + 8, top + 40, 60, "small", "num"),
    line(state || (node.visits === 1 ? "1 visit" : `${node.visits} visits`), width - PAD, top + 40, 90, "small", state ? "state num" : "soft num", "end"),
    line(node.note, PAD, top + 57, width - 2 * PAD, "small", "soft"),
  );
}

function fold(node, [x, y], folded) {
  const words = folded ? `+${compact.format(folded)}` : "–";
  const half = Math.max(9, wide(words, "small") / 2 + 5);
  const button = svg("g", { class: "fold", "data-fold": node.id, "aria-hidden": "true", transform: `translate(${x},${y})` });
  button.append(svg("rect", { x: -half, y: -9, width: 2 * half, height: 18, rx: 9 }), line(words, 0, 4, 80, "small", "num", "middle"));
  return button;
}

/** The line from a card to the one of its child. */
export function curve(from, to, kind, shape) {
  const { width, height } = SIZES[kind];
  if (shape === "right") {
    const x = from.x + width;
    const middle = (to.x - x) / 2;
    return `M${x},${from.y}C${x + middle},${from.y} ${x + middle},${to.y} ${to.x},${to.y}`;
  }
  if (shape === "outline") {
    const x = from.x + INDENT / 2;
    return `M${x},${from.y + height / 2}V${to.y - 6}Q${x},${to.y} ${x + 6},${to.y}H${to.x}`;
  }
  const [x, end] = [from.x + REMARK_AT, to.x + REMARK_AT];
  const [top, bottom] = [from.y + height / 2, to.y - height / 2];
  if (Math.abs(end - x) < 1) return `M${x},${top}V${bottom}`;
  const round = Math.min(9, Math.abs(end - x) / 2);
  const way = Math.sign(end - x);
  const turn = top + 18;
  return `M${x},${top}V${turn - round}Q${x},${turn} ${x + way * round},${turn}H${end - way * round}Q${end},${turn} ${end},${turn + round}V${bottom}`;
}

/** What the judge said of a node beside its parent, along the line that leads to it; null for nothing. */
export function remark(node) {
  if (!node.edge) return null;
  const { width, height } = SIZES.search;
  const group = svg("g", { class: "remark", "aria-hidden": "true" });
  const scores = wide(node.edge.scores, "small") + 14;
  const room = width - REMARK_AT - 8;
  const x = REMARK_AT + 8;
  group.append(line(node.edge.scores, x, -height / 2 - 24, room, "small", "strong num"), line(`against #${node.edge.against}`, x + scores, -height / 2 - 24, room, "small", "soft"), line(node.edge.critique, x, -height / 2 - 9, room, "small", "soft"));
  const hover = svg("title");
  hover.textContent = `#${node.id} against #${node.edge.against}: ${node.edge.scores}\n${node.edge.critique}`;
  group.append(hover);
  return group;
}
