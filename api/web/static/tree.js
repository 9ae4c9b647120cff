// The tree of a run: fetches its cards, draws them, steps through time, opens nodes, grows while the run goes on.
import { address, call, live, localise, refresh } from "./page.js";
import { ROOT, foldedAtFirst, grow, neighbour, place, shapeOf } from "./tree_layout.js";
import { View } from "./tree_view.js";

const stage = document.getElementById("tree");
const { run } = stage.dataset;
const page = `/ui/runs/${encodeURIComponent(run)}/tree`;
const slider = document.getElementById("step");
const GROWING = ["node.backed_up", "task.opened", "task.closed", "span.pruned", "span.recalled", "tool.call", "tool.result", "step.completed"];
const ENDED = ["run.finished", "run.failed", "run.cancelled"];
const AGAIN_MS = 250;
const SCRUB_MS = 80;
const KEPT = 40;

let whole = null;
let nodes = new Map();
let places = new Map();
let folded = null;
let shape = "right";
let chosen = null;
let index = 0;
let asked = null;
let planned = 0;
const known = new Map();
const view = new View(stage, { onPick: open, onFold: toggle, onWidth: reshape });

/* ---- what is shown ---- */

function atNow() {
  const stop = whole.stops[index];
  return index >= whole.stops.length - 1 || !stop ? null : stop.seq;
}

function draw() {
  const seq = atNow();
  const cards = (seq === null ? whole.nodes : known.get(seq)) ?? whole.nodes;
  nodes = grow(seq === null ? whole.root : { ...whole.root, note: "" }, cards, seq ?? Infinity);
  folded ??= foldedAtFirst(nodes);
  shape = shapeOf(whole.kind, stage.clientWidth || innerWidth);
  places = place(nodes, folded, whole.kind, shape);
  if (!nodes.has(chosen)) chosen = null;
  view.show(places, { kind: whole.kind, shape, folded, chosen });
  tell();
}

function tell() {
  const hidden = nodes.size - places.size;
  const name = whole.kind === "thread" ? "tasks" : "answers";
  document.getElementById("tree-words").textContent = `${nodes.size - 1} ${name}${hidden ? `, ${hidden} in closed branches` : ""}`;
  document.getElementById("unfold").textContent = folded.size > 0 ? "Open all" : "Close all";
  stage.setAttribute("role", "tree");
  stage.setAttribute("aria-label", `${nodes.size - 1} ${name} of the run; the same stands as a table below`);
}

function reshape(width) {
  if (whole === null) return;
  const other = shapeOf(whole.kind, width) !== shape;
  if (other) draw();
  if (!other && view.moved) return;
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
  return `${page}${query.size ? `?${query}` : ""}`;
}

async function open(id) {
  choose(id);
  await show();
}

function choose(id) {
  chosen = id;
  view.choose(id);
}

async function show() {
  asked?.abort();
  history.replaceState(null, "", address(address_of()));
  const panel = document.getElementById("node");
  if (!chosen) {
    panel.hidden = true;
    return;
  }
  asked = new AbortController();
  panel.setAttribute("aria-busy", "true");
  try {
    const reply = await fetch(address(address_of({ part: "node" })), { headers: { Accept: "text/html" }, signal: asked.signal });
    if (!reply.ok) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("node");
    localise(fresh);
    document.getElementById("node").replaceWith(document.adoptNode(fresh));
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    panel.removeAttribute("aria-busy");
  }
}

document.getElementById("tree-side").addEventListener("click", (event) => {
  const link = event.target.closest("#node a");
  if (!link) return;
  const target = new URL(link.href);
  if (target.pathname !== location.pathname || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const at = target.searchParams.get("at");
  if (at !== (atNow() === null ? null : String(atNow()))) step(stopAt(at));
  const id = target.searchParams.get("node");
  unfoldTo(id);
  choose(id);
  show();
  if (!id) stage.focus({ preventScroll: true });
});

function unfoldTo(id) {
  let changed = false;
  for (let node = nodes.get(id)?.above; node; node = node.above) changed = folded.delete(node.id) || changed;
  if (changed) draw();
}

/* ---- time ---- */

function stopAt(at) {
  if (at === null || at === "") return whole.stops.length - 1;
  const found = whole.stops.findIndex((stop) => stop.seq >= Number(at));
  return found < 0 ? whole.stops.length - 1 : found;
}

function step(to) {
  index = Math.min(Math.max(to, 0), whole.stops.length - 1);
  mark();
  draw();
  const seq = atNow();
  history.replaceState(null, "", address(address_of()));
  clearTimeout(planned);
  planned = setTimeout(() => settle(seq), SCRUB_MS);
}

// What a node looked like then is told by the server, and kept: the past does not change.
async function settle(seq) {
  if (seq !== null && !known.has(seq)) {
    const reply = await call("GET", `${page}?part=cards&at=${seq}`, undefined, { quiet: true });
    known.set(seq, reply.body.nodes);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    if (seq === atNow()) draw();
  }
  if (chosen && seq === atNow()) await show();
}

function mark() {
  const scrub = document.getElementById("scrub");
  scrub.hidden = whole.stops.length < 2;
  slider.max = String(whole.stops.length);
  slider.value = String(index + 1);
  const stop = whole.stops[index];
  const words = stop ? `${index + 1} of ${whole.stops.length} · ${stop.words}` : "";
  slider.setAttribute("aria-valuetext", words);
  document.getElementById("step-words").textContent = words;
  document.dispatchEvent(new CustomEvent("tree:step", { detail: { stops: whole.stops, index } }));
}

slider.addEventListener("input", () => step(Number(slider.value) - 1));
document.getElementById("earlier").addEventListener("click", () => step(index - 1));
document.getElementById("later").addEventListener("click", () => step(index + 1));
document.addEventListener("tree:ask", () => whole && mark());
document.addEventListener("tree:pick", (event) => step(event.detail));

/* ---- keys ---- */

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = {
    Enter: () => chosen && show(),
    Escape: () => { choose(null); show(); },
    c: () => toggle(chosen ?? ROOT),
    x: toggleAll,
    "+": () => view.zoom(1.25),
    "=": () => view.zoom(1.25),
    "-": () => view.zoom(0.8),
    0: () => view.fit(),
  };
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
document.getElementById("nearer").addEventListener("click", () => view.zoom(1.25));
document.getElementById("further").addEventListener("click", () => view.zoom(0.8));
document.getElementById("fit").addEventListener("click", () => view.fit());
document.getElementById("unfold").addEventListener("click", toggleAll);

/* ---- growing ---- */

async function load() {
  const reply = await call("GET", `${page}?part=cards`, undefined, { quiet: whole !== null });
  const atEnd = whole === null || index >= whole.stops.length - 1;
  const larger = whole === null || reply.body.nodes.length !== whole.nodes.length;
  whole = reply.body;
  if (atEnd) index = whole.stops.length - 1;
  mark();
  if (atEnd || larger) draw();
}

function follow() {
  let waiting = false;
  let again = false;
  async function later() {
    if (waiting) {
      again = true;
      return;
    }
    waiting = true;
    await new Promise((done) => setTimeout(done, AGAIN_MS));
    try {
      await load();
      if (!view.moved) view.fit();
      await refresh(["list"], address(address_of()));
    } finally {
      waiting = false;
      if (again) {
        again = false;
        later();
      }
    }
  }
  live(address(`/api/runs/${run}/stream?after=${whole.last}`), (event) => {
    if (!ENDED.includes(event.type)) {
      later();
      return true;
    }
    later().then(() => refresh(["head"], address(address_of())));
    return false;
  }, { types: [...GROWING, ...ENDED], onEnd: () => {} });
}

if (stage.dataset.waiting === "yes") document.getElementById("tree-words").textContent = "Reading a large tree …";
await load();
if (stage.dataset.waiting === "yes") refresh(["list", "steps"], address(address_of()));
const first = stage.dataset.at;
if (first) {
  index = stopAt(first);
  mark();
  draw();
  settle(atNow());
}
view.fit();
if (stage.dataset.node) {
  unfoldTo(stage.dataset.node);
  choose(stage.dataset.node);
  if (document.getElementById("node").hidden) show();
}
if (stage.dataset.live === "yes") follow();
