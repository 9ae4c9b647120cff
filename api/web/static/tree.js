// The tree of a run: fetches its cards, draws them, steps through time, opens nodes, grows while the run goes on.
import { address, call, live, refresh } from "./page.js";
import { ROOT, foldedAtFirst, grow, neighbour, place, shapeOf } from "./tree_layout.js";
import { View } from "./tree_view.js";

const part = (id) => document.getElementById(id);
const stage = part("tree");
const { run } = stage.dataset;
const page = `/ui/runs/${encodeURIComponent(run)}/tree`;
const slider = part("step");
const GROWING = ["node.backed_up", "task.opened", "task.closed", "span.pruned", "span.recalled", "tool.call", "tool.result", "step.completed"];
const ENDED = ["run.finished", "run.failed", "run.cancelled"];
const AGAIN_MS = 250;
const SCRUB_MS = 80;
const KEPT = 40;
const NEARER = 1.25;

let whole = null;
let nodes = new Map();
let places = new Map();
let folded = null;
let shape = "right";
let chosen = null;
let index = 0;
let planned = 0;
const known = new Map();
const view = new View(stage, { onPick: open, onFold: toggle, onWidth: reshape });

/* ---- what is shown ---- */

/** The number of the event behind which the tree is shown; null for the tree as it is now. */
function atNow() {
  return index >= whole.stops.length - 1 ? null : whole.stops[index].seq;
}

/** Take the cards of that time, and draw them. */
function shown() {
  const seq = atNow();
  const cards = (seq === null ? whole.nodes : known.get(seq)) ?? whole.nodes;
  nodes = grow(seq === null ? whole.root : { ...whole.root, note: "" }, cards, seq ?? Infinity);
  folded ??= foldedAtFirst(nodes);
  if (!nodes.has(chosen)) chosen = null;
  draw();
}

function draw() {
  shape = shapeOf(whole.kind, stage.clientWidth || innerWidth);
  places = place(nodes, folded, whole.kind, shape);
  view.show(places, { kind: whole.kind, shape, folded, chosen });
  const hidden = nodes.size - places.size;
  const count = `${nodes.size - 1} ${whole.kind === "thread" ? "tasks" : "answers"}`;
  part("tree-words").textContent = `${count}${hidden ? `, ${hidden} in closed branches` : ""}`;
  part("unfold").textContent = folded.size > 0 ? "Open all" : "Close all";
  stage.setAttribute("role", "tree");
  stage.ariaLabel = `${count} of the run; the same stands as a table below`;
}

function reshape(width) {
  if (whole === null) return;
  const other = shapeOf(whole.kind, width) !== shape;
  if (other) draw();
  if (!other && view.free) return;
  view.fit();
  if (chosen) view.choose(chosen);
}

function toggle(id) {
  if (!nodes.get(id)?.children.length) return;
  if (!folded.delete(id)) folded.add(id);
  draw();
}

function toggleAll() {
  if (folded.size > 0) folded.clear();
  else for (const node of nodes.values()) if (node.children.length > 0 && node.id !== ROOT) folded.add(node.id);
  draw();
  view.fit();
}

/* ---- one node ---- */

function address_of(more = {}) {
  const query = new URLSearchParams(Object.entries({ at: atNow(), node: chosen || null, ...more }).filter(([, value]) => value !== null));
  return address(`${page}${query.size ? `?${query}` : ""}`);
}

function open(id) {
  choose(id);
  return show();
}

function choose(id) {
  chosen = id;
  view.choose(id);
}

/** The chosen node with its words beside the drawing. */
async function show() {
  history.replaceState(null, "", address_of());
  const asked = address_of({ part: "node" });
  if (chosen) await refresh(["node"], asked);
  else part("node").hidden = true;
  // Another one was chosen meanwhile, and may have been answered before.
  if (asked !== address_of({ part: "node" })) await show();
}

part("tree-side").addEventListener("click", (event) => {
  const link = event.target.closest("#node a");
  if (!link) return;
  const target = new URL(link.href);
  if (target.pathname !== location.pathname || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const at = target.searchParams.get("at");
  if (at !== (atNow() === null ? null : String(atNow()))) step(stopAt(at));
  const id = target.searchParams.get("node");
  unfoldTo(id);
  open(id);
  if (!id) stage.focus({ preventScroll: true });
});

function unfoldTo(id) {
  let changed = false;
  for (let node = nodes.get(id)?.above; node; node = node.above) changed = folded.delete(node.id) || changed;
  if (changed) draw();
}

/* ---- time ---- */

function stopAt(at) {
  const found = at ? whole.stops.findIndex((stop) => stop.seq >= Number(at)) : -1;
  return found < 0 ? whole.stops.length - 1 : found;
}

function step(to) {
  index = Math.min(Math.max(to, 0), whole.stops.length - 1);
  mark();
  shown();
  history.replaceState(null, "", address_of());
  clearTimeout(planned);
  planned = setTimeout(settle, SCRUB_MS, atNow());
}

// What a node looked like then is told by the server, and kept: the past does not change.
async function settle(seq) {
  if (seq !== null && !known.has(seq)) {
    const reply = await call("GET", `${page}?part=cards&at=${seq}`, undefined, { quiet: true });
    known.set(seq, reply.body.nodes);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    if (seq === atNow()) shown();
  }
  if (chosen && seq === atNow()) await show();
}

function mark() {
  const { stops } = whole;
  part("scrub").hidden = stops.length < 2;
  slider.max = String(stops.length);
  slider.value = String(index + 1);
  const words = stops.length ? `${index + 1} of ${stops.length} · ${stops[index].words}` : "";
  slider.setAttribute("aria-valuetext", words);
  part("step-words").textContent = words;
  document.dispatchEvent(new CustomEvent("tree:step", { detail: { stops, index } }));
}

slider.addEventListener("input", () => step(Number(slider.value) - 1));
part("earlier").addEventListener("click", () => step(index - 1));
part("later").addEventListener("click", () => step(index + 1));
document.addEventListener("tree:ask", () => whole && mark());
document.addEventListener("tree:pick", (event) => step(event.detail));

/* ---- keys: those of the drawing; its buttons name their own ---- */

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = { Enter: () => chosen && show(), Escape: () => open(null), c: () => toggle(chosen ?? ROOT) };
  if (event.key.startsWith("Arrow")) choose(chosen === null ? ROOT : neighbour(places, chosen, event.key, shape));
  else if (acts[event.key]) acts[event.key]();
  else return;
  event.preventDefault();
  event.stopPropagation();
});
document.addEventListener("keydown", (event) => {
  if (!["ArrowLeft", "ArrowRight"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, [contenteditable], [tabindex='0'], dialog[open]")) return;
  step(index + (event.key === "ArrowRight" ? 1 : -1));
  event.preventDefault();
});
part("nearer").addEventListener("click", () => view.zoom(NEARER));
part("further").addEventListener("click", () => view.zoom(1 / NEARER));
part("fit").addEventListener("click", () => view.fit());
part("unfold").addEventListener("click", toggleAll);

/* ---- growing ---- */

async function load() {
  const reply = await call("GET", `${page}?part=cards`, undefined, { quiet: whole !== null });
  const atEnd = whole === null || index >= whole.stops.length - 1;
  const larger = whole === null || reply.body.nodes.length !== whole.nodes.length;
  whole = reply.body;
  if (atEnd) index = Math.max(0, whole.stops.length - 1);
  mark();
  if (atEnd || larger) shown();
}

function follow() {
  let wanted = 0;
  let reading = null;
  // One reading at a time; what happens meanwhile is in the next one.
  async function read() {
    for (let had = 0; had < wanted; ) {
      await new Promise((done) => { setTimeout(done, AGAIN_MS); });
      had = wanted;
      await load();
      if (!view.free) view.fit();
      await refresh(["list"], address_of());
    }
    reading = null;
  }
  live(address(`/api/runs/${run}/stream?after=${whole.last}`), (event) => {
    wanted += 1;
    reading ??= read();
    if (ENDED.includes(event.type)) reading.then(() => refresh(["head"], address_of()));
    return !ENDED.includes(event.type);
  }, { types: [...GROWING, ...ENDED] });
}

const { at, node, waiting } = stage.dataset;
if (waiting === "yes") part("tree-words").textContent = "Reading a large tree …";
await load();
if (at) {
  index = stopAt(at);
  mark();
  shown();
  settle(atNow());
}
view.fit();
if (node) {
  unfoldTo(node);
  choose(node);
  if (part("node").hidden) show();
}
if (waiting === "yes") refresh(["list", "steps"], address_of({ part: "whole" }));
if (stage.dataset.live === "yes") follow();
