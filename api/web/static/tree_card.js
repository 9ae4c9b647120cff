// One node of a tree as a card, and the line that leads to it. The style sheet lays a card out and cuts its words.
import { make } from "./dom.js";
import { INDENT, ROOT, SIZES } from "./tree_layout.js";

const REMARK_AT = 14;
const STATES = { open: "thinks", tool_wait: "waits for its tool", in_subtasks: "in its subtasks", closed: "", ok: "", gen_failed: "no answer", judge_failed: "not judged", duplicate: "said before" };
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** In words what the lines of a card show. */
function marks(node) {
  return [node.live === false && "pruned", node.recalled > 0 && "read back", node.best && "on the best path"].filter(Boolean).join(", ");
}

/** The words of a node, whole, for those who point at it. */
function words(node, kind) {
  const parts = [node.label ?? "", node.title];
  if (kind === "thread") parts.push(node.tool ? `tool ${node.tool}` : "", STATES[node.state] ?? "");
  else if (node.id !== ROOT) parts.push(`value ${node.value.toFixed(2)}, ${node.visits} visits`);
  return [[...parts, marks(node)].filter(Boolean).join(", "), node.note].filter(Boolean).join("\n");
}

/** The card of a node of a tree of that kind. `most`: visits of the node with most; `folded`: how many nodes are closed
 *  below it. */
export function card(node, kind, { most = 1, folded = 0, chosen = false }) {
  const names = ["card", node.state, node.id === ROOT && "root", node.live === false && "gone", node.best && "best", chosen && "chosen", node.recalled > 0 && "recalled"];
  const element = make("div", { className: names.filter(Boolean).join(" "), role: "treeitem", id: `tree-node-${node.id}`, ariaSelected: String(chosen), title: words(node, kind) });
  element.dataset.id = node.id;
  if (node.id === ROOT) element.append(row(part("soft", "Request")), row(part("title", node.title)));
  else element.append(...(kind === "thread" ? task(node) : answer(node, most)));
  element.append(row(part("soft", node.note ?? "")));
  if (node.edge) element.append(remark(node));
  if (node.children.length > 0) {
    const fold = part("fold num", folded ? `+${compact.format(folded)}` : "–");
    fold.dataset.fold = node.id;
    fold.ariaHidden = "true";
    element.append(fold);
    element.ariaExpanded = String(folded === 0);
  }
  element.append(part("visually-hidden", marks(node)));
  return element;
}

function part(className, text) {
  return make("span", { className }, text);
}

function row(...parts) {
  return make("p", {}, ...parts.filter((one) => one.textContent || one.firstChild));
}

function task(node) {
  const tokens = node.live ? `${compact.format(node.tokens)} tok` : `gave back ${compact.format(node.tokens)}`;
  return [
    row(part("mono soft", node.label), part("title", node.title)),
    row(part("mono tool", node.tool ?? ""), part("state", STATES[node.state] ?? node.state), part("end soft num", node.recalled ? `↺ ${node.recalled} · ${tokens}` : tokens)),
  ];
}

function answer(node, most) {
  const [visits, value] = [part("visits", ""), make("span", { className: "track" }, part("value", ""))];
  visits.style.width = `${2 + 4 * Math.sqrt(node.visits / most)}px`;
  value.firstChild.style.width = `${100 * Math.min(1, Math.max(0, node.value))}%`;
  const state = STATES[node.state] ?? node.state;
  return [
    visits,
    row(part("mono soft", node.label), part("title", node.title), part("end soft num", node.rank ? `rank ${node.rank}` : "")),
    row(value, part("num", node.value.toFixed(3)), part(`end num ${state ? "state" : "soft"}`, state || (node.visits === 1 ? "1 visit" : `${node.visits} visits`))),
  ];
}

/** What the judge said of a node beside its parent, along the line that leads to it. */
function remark(node) {
  const { scores, against, critique } = node.edge;
  return make("div", { className: "remark", title: `#${node.id} against #${against}: ${scores}\n${critique}` }, row(part("strong num", scores), part("soft", `against #${against}`)), row(part("soft", critique)));
}

/** The line from a card to the one of its child, in the words of an SVG path. */
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
