// The drawing of the graph page. The page carries what is drawn, and every choice (kinds, time, what was expanded) goes into
// its address, so a link shows the same and the table below is always that of the drawing.
import cytoscape from "./vendor/cytoscape.js";
import { arrange } from "./graph.layout.js";
import { notice, refresh } from "./page.js";

const MOST_EXPANDED = 12;
const LABEL = 26;
const FONT = 11.5;
const MOVING_MS = 260;
const container = document.getElementById("graph");
const slider = document.getElementById("graph-until");
const pen = document.createElement("canvas").getContext("2d");
const family = getComputedStyle(document.body).fontFamily;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const address = new URL(location.href);
const { start } = JSON.parse(container.dataset.told);
let times = [];
let chosen = null;
let places = new Map();
let later = 0;
let growing = Promise.resolve();

const cy = cytoscape({ container, minZoom: 0.15, maxZoom: 2.5, boxSelectionEnabled: false, autounselectify: true });

/* Reading */

function elementsOf(graph) {
  const drawn = new Set(graph.nodes.map((node) => node.id));
  const nodes = graph.edges.map((edge) => ({
    data: { id: edge.memory, label: cut(edge.title), first: edge.memory === start.memory, type: edge.semantic_type, at: edge.recorded_at, size: Math.min(46, 15 + 5 * Math.sqrt(edge.uses)), weight: 2 + edge.uses },
    classes: ["memory", `kind-${edge.semantic_type}`, ["archived", "merged"].includes(edge.state) ? "past" : "", edge.memory === start.memory ? "start" : ""].join(" "),
  }));
  for (const node of graph.nodes) {
    const first = start.entity?.toLowerCase() === node.name.toLowerCase();
    const vault = graph.edges.find((edge) => edge.entities.includes(node.id))?.vault ?? start.vault;
    nodes.push({ data: { id: node.id, first, label: cut(node.name), name: node.name, vault, size: first ? 15 : 10, weight: node.degree }, classes: `entity${first ? " start" : ""}` });
  }
  const bonds = graph.edges.flatMap((edge) => edge.entities.filter((id) => drawn.has(id)).map((id) => ({ data: { id: `${edge.memory} ${id}`, source: edge.memory, target: id } })));
  const links = graph.links.map((link) => ({
    data: { id: `${link.from} ${link.type} ${link.to}`, source: link.from, target: link.to, label: link.type.toLowerCase().replace("_", " ") },
    classes: `link ${link.type}`,
  }));
  return [...nodes, ...bonds, ...links].map((one) => ({ ...one, group: one.data.source ? "edges" : "nodes" }));
}

function cut(text) {
  const line = text.split(/\s+/).join(" ");
  return line.length <= LABEL ? line : `${line.slice(0, LABEL - 1)}…`;
}

/* Drawing */

function styled() {
  const colours = getComputedStyle(document.documentElement);
  const [text, soft, strong, panel, accent, bad] = ["--text", "--soft", "--line-strong", "--panel", "--accent", "--bad"].map((name) => colours.getPropertyValue(name).trim());
  // The colour of a kind is that of its dot in the form above.
  const kinds = boxes().map(({ value }) => [value, getComputedStyle(document.querySelector(`#graph-filter .kind-${value.replaceAll("_", "-")}`)).fill]);
  cy.style([
    { selector: "node", style: { width: "data(size)", height: "data(size)", color: text, "font-family": family, "text-valign": "bottom", "text-margin-y": 3, "text-outline-color": panel, "text-outline-opacity": 0.9 } },
    { selector: "node.memory", style: { "border-width": 1.5, "border-color": panel } },
    ...kinds.map(([kind, fill]) => ({ selector: `node.kind-${kind}`, style: { "background-color": fill } })),
    ...kinds.map(([kind, fill]) => ({ selector: `node.kind-${kind}.past`, style: { "background-color": panel, "border-color": fill, "border-style": "dashed", "border-width": 2 } })),
    { selector: "node.entity", style: { shape: "round-rectangle", "background-color": strong, color: soft } },
    { selector: "node.start", style: { "border-width": 3, "border-color": accent, "border-style": "solid", "z-index": 4 } },
    { selector: "node.readable", style: { label: "data(label)" } },
    { selector: "node.above", style: { "text-valign": "top", "text-margin-y": -3 } },
    { selector: "edge", style: { width: 1, "line-color": strong, "line-opacity": 0.75, "curve-style": "haystack", "haystack-radius": 0, color: text, "font-family": family, "text-outline-color": panel, "text-outline-opacity": 0.9, "text-rotation": "autorotate" } },
    { selector: "edge.link", style: { "curve-style": "bezier", "line-opacity": 1, "line-color": soft, "target-arrow-color": soft, "target-arrow-shape": "triangle", "arrow-scale": 0.8, width: 1.5, "z-index": 2 } },
    { selector: "edge.CONTRADICTS", style: { "line-color": bad, "target-arrow-color": bad } },
    { selector: ".faded", style: { opacity: 0.2, "text-opacity": 0 } },
    { selector: "edge.lit", style: { "line-color": accent, "target-arrow-color": accent, width: 1.8 } },
    { selector: "edge.link.lit.long", style: { label: "data(label)" } },
    { selector: "node.lit", style: { "z-index": 5 } },
    { selector: "node.chosen", style: { "border-width": 3, "border-color": accent } },
    { selector: ".out", style: { display: "none" } },
  ]);
}

/** Which labels can be read where they stand, below or above: what is lit and what is used most first, none over another
 *  or over a node, but for that of the start and of what is chosen. They are as large on the screen at every zoom. */
function label() {
  const zoom = cy.zoom();
  pen.font = `${FONT}px ${family}`;
  const shown = cy.nodes().not(".out, .faded").map((node) => {
    const { x, y } = node.renderedPosition();
    const half = (node.data("size") * zoom) / 2;
    const rank = 1e6 * node.hasClass("start") + 1e7 * node.hasClass("lit") + 1e8 * node.hasClass("chosen") + node.data("weight");
    return { node, rank, x, left: x - half, right: x + half, top: y - half, bottom: y + half };
  });
  const hits = (one, two) => one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom;
  const taken = [];
  const readable = new Map();
  for (const own of [...shown].sort((a, b) => b.rank - a.rank)) {
    const half = pen.measureText(own.node.data("label")).width / 2 + 3;
    const sides = [["below", own.bottom + 3 * zoom], ["above", own.top - 3 * zoom - FONT - 4]].map(([side, top]) => ({ side, left: own.x - half, right: own.x + half, top, bottom: top + FONT + 4 }));
    const whole = sides.filter((box) => box.left >= 0 && box.right <= container.clientWidth);
    const free = whole.filter((box) => !taken.some((other) => hits(box, other)));
    const clear = free.filter((box) => !shown.some((other) => other !== own && hits(box, other)));
    const box = clear[0] ?? (own.node.is(".start, .chosen") ? free[0] : undefined);
    if (!box) continue;
    taken.push(box);
    readable.set(own.node.id(), box.side);
  }
  cy.batch(() => {
    cy.nodes().forEach((node) => {
      const side = readable.get(node.id());
      toggle(node, "readable", Boolean(side));
      toggle(node, "above", side === "above");
    });
    cy.$("node.readable, edge.long").style({ "font-size": FONT / zoom, "text-outline-width": 2.5 / zoom });
  });
}

function toggle(element, name, on) {
  if (element.hasClass(name) !== on) element.toggleClass(name, on);
}

function fit() {
  const box = cy.elements(":visible");
  cy.fit(box, Math.min(64, container.clientWidth / 8));
  if (cy.zoom() > 1.25) {
    cy.zoom(1.25);
    cy.center(box);
  }
}

function zoom(factor) {
  cy.zoom({ level: cy.zoom() * factor, renderedPosition: { x: container.clientWidth / 2, y: container.clientHeight / 2 } });
}

/** Add what is not drawn yet. */
async function draw(graph) {
  const before = places;
  const fresh = elementsOf(graph).filter((one) => cy.getElementById(one.data.id).empty());
  if (fresh.length === 0) return;
  const all = [...cy.elements().map((one) => one.data()), ...fresh.map((one) => one.data)];
  const nodes = all.filter((one) => !one.source);
  if (nodes.length > cy.nodes().length) {
    const aspect = container.clientWidth / Math.max(1, container.clientHeight);
    places = await arrange(nodes, all.filter((one) => one.source), nodes.find((one) => one.first)?.id, { old: before, aspect });
  }
  styled();
  cy.batch(() => cy.add(fresh).nodes().forEach((node) => {
    const to = places.get(node.id());
    const beside = calm.matches ? null : node.neighborhood("node").map((other) => before.get(other.id())).find(Boolean);
    node.position({ ...(beside ?? to) });
    if (beside) node.animate({ position: to, duration: MOVING_MS, easing: "ease-out-cubic" });
  }));
  timeOf();
  hide();
  if (!before.size) fit();
  setTimeout(label, before.size ? MOVING_MS + 40 : 0);
  if (chosen) light(chosen, true);
  container.dataset.nodes = cy.nodes().length;
}

/* Choosing */

async function choose(node) {
  chosen = node;
  light(node, true);
  const { id, name, vault } = node.data();
  await refresh(["graph-panel"], `${document.body.dataset.root}/ui/graph/panel?${new URLSearchParams(name ? { entity: name, vault } : { memory: id })}`);
  // Another one was chosen meanwhile, and may have been answered before.
  if (chosen && chosen !== node) return choose(chosen);
  if (!name) growing = growing.then(() => expand(id));
}

async function expand(id) {
  const expanded = address.searchParams.getAll("with");
  if (id === start.memory || expanded.includes(id)) return;
  if (expanded.length >= MOST_EXPANDED) {
    notice(`The drawing has grown ${MOST_EXPANDED} times; centre it on a memory to go on from there.`, "warn");
    return;
  }
  address.searchParams.append("with", id);
  const fresh = await retable("graph-filter");
  if (fresh === null) {
    address.searchParams.delete("with", id);
    notice("What is around it could not be read; it may have been deleted meanwhile.", "bad");
    return;
  }
  history.replaceState(null, "", address);
  await draw(JSON.parse(fresh.getElementById("graph").dataset.told).graph);
}

/** Lift a node with what hangs on it; `alone`: the rest steps back. Plain lines are faint already and stay as they are. */
function light(node, alone = false) {
  const lit = node ? node.closedNeighborhood() : cy.collection();
  cy.batch(() => {
    cy.$(".lit").not(lit).removeClass("lit long");
    cy.$(".chosen").removeClass("chosen");
    lit.addClass("lit");
    // A line says what it is when it is long enough for it.
    lit.edges(".link").forEach((edge) => {
      const [a, b] = [edge.source().renderedPosition(), edge.target().renderedPosition()];
      toggle(edge, "long", Math.hypot(a.x - b.x, a.y - b.y) > 110);
    });
    cy.$("node, edge.link").forEach((one) => toggle(one, "faded", alone && !one.hasClass("lit")));
    if (alone) node.addClass("chosen");
  });
  label();
}

/* Filters */

/** The boxes of the kinds; they are drawn again when the drawing has grown. */
function boxes() {
  return [...document.querySelectorAll("#graph-filter [name=kind]")];
}

function timeOf() {
  times = [...new Set(cy.nodes(".memory").map((node) => node.data("at")))].sort();
  const until = address.searchParams.get("until");
  const last = until ? times.filter((at) => Date.parse(at) <= Date.parse(until)).length - 1 : times.length - 1;
  slider.max = String(times.length - 1);
  slider.value = String(Math.max(0, last));
  document.getElementById("graph-time").hidden = times.length < 2;
}

function hide() {
  const wanted = boxes().filter((box) => box.checked).map((box) => box.value);
  const until = times[Number(slider.value)];
  document.getElementById("graph-when").textContent = until ? new Date(until).toLocaleDateString(undefined, { dateStyle: "medium" }) : "";
  cy.batch(() => {
    cy.nodes(".memory").forEach((node) => toggle(node, "out", (until !== undefined && node.data("at") > until) || (wanted.length > 0 && !wanted.includes(node.data("type")))));
    cy.nodes(".entity").forEach((node) => toggle(node, "out", node.neighborhood(".memory").not(".out").empty()));
  });
}

/** The filters into the address, and its table below. */
async function told() {
  label();
  const wanted = boxes().filter((box) => box.checked).map((box) => box.value);
  for (const name of ["kind", "until", "from"]) address.searchParams.delete(name);
  if (wanted.length < boxes().length) for (const value of wanted) address.searchParams.append("kind", value);
  if (Number(slider.value) < times.length - 1) address.searchParams.set("until", times[Number(slider.value)]);
  history.replaceState(null, "", address);
  await retable();
}

function retable(...others) {
  document.getElementById("graph-address").textContent = address.href;
  return refresh(["graph-table", ...others], address);
}

document.addEventListener("change", (event) => {
  if (!event.target.closest("#graph-filter")) return;
  hide();
  told();
});
slider.addEventListener("input", hide);
slider.addEventListener("change", told);

/* Pointing */

cy.on("mouseover", "node", ({ target }) => {
  container.classList.add("pointing");
  if (!chosen) light(target);
});
cy.on("mouseout", "node", () => {
  container.classList.remove("pointing");
  if (!chosen) light(null);
});
cy.on("tap", "node", ({ target }) => choose(target));
cy.on("tap", ({ target }) => {
  if (target !== cy) return;
  chosen = null;
  light(null);
});
cy.on("zoom", () => {
  clearTimeout(later);
  later = setTimeout(label, 60);
});
cy.on("dragfree", "node", ({ target }) => {
  places.set(target.id(), { ...target.position() });
  label();
});
document.getElementById("graph-fit").onclick = fit;
document.getElementById("graph-in").onclick = () => zoom(1.3);
document.getElementById("graph-out").onclick = () => zoom(1 / 1.3);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", styled);
new ResizeObserver(() => {
  cy.resize();
  if (!chosen && places.size) fit();
}).observe(container);
document.getElementById("graph-address").textContent = address.href;
// For tests and for whoever looks closer: the drawing is a part of the page.
container.drawing = cy;

await draw(JSON.parse(container.dataset.told).graph);
