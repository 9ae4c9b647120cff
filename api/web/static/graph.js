// The drawing of the graph page. It draws the JSON twin of the page's own address, and every choice (kinds, time, what was
// expanded) goes into that address, so a link shows the same and the table below is always that of the drawing.
import cytoscape from "./vendor/cytoscape.js";
import { arrange } from "./graph.layout.js";
import { localise, notice, refresh } from "./page.js";

const MOST_EXPANDED = 12;
const LABEL = 26;
const FONT = 11.5;
const container = document.getElementById("graph");
const panel = document.getElementById("graph-panel");
const slider = document.getElementById("graph-until");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const pen = document.createElement("canvas").getContext("2d");
const root = document.body.dataset.root;
const address = new URL(location.href);
let start = null;
let times = [];
let bound = [];
let chosen = null;
let places = new Map();
let later = 0;
const widths = new Map();
const family = getComputedStyle(document.body).fontFamily;

const cy = cytoscape({ container, minZoom: 0.15, maxZoom: 2.5, boxSelectionEnabled: false, autounselectify: true });

/* Reading */

/** The twin of this page without its filters: those only hide, so they can be taken back at once. */
async function read() {
  const url = new URL(address);
  url.searchParams.delete("kind");
  url.searchParams.delete("until");
  url.searchParams.set("format", "json");
  const reply = await fetch(url);
  const said = await reply.json();
  if (!reply.ok) throw new Error(said.detail);
  return said;
}

function elementsOf({ graph, start: from }) {
  const drawn = new Set(graph.nodes.map((node) => node.id));
  const nodes = graph.edges.map((edge) => ({
    data: { id: edge.memory, label: cut(edge.title), type: edge.semantic_type, at: edge.recorded_at, size: Math.min(46, 15 + 5 * Math.sqrt(edge.uses)), weight: 2 + edge.uses },
    classes: ["memory", `kind-${edge.semantic_type}`, ["archived", "merged"].includes(edge.state) ? "past" : "", edge.memory === from.memory ? "start" : ""].join(" "),
  }));
  for (const node of graph.nodes) {
    const first = from.entity?.toLowerCase() === node.name.toLowerCase();
    const vault = graph.edges.find((edge) => edge.entities.includes(node.id))?.vault ?? from.vault;
    nodes.push({ data: { id: node.id, label: cut(node.name), name: node.name, vault, size: first ? 15 : 10, weight: node.degree }, classes: `entity${first ? " start" : ""}` });
  }
  const edges = [];
  for (const edge of graph.edges) for (const id of edge.entities) {
    if (drawn.has(id)) edges.push({ data: { id: `${edge.memory} ${id}`, source: edge.memory, target: id } });
  }
  for (const link of graph.links) {
    edges.push({ data: { id: `${link.from} ${link.type} ${link.to}`, source: link.from, target: link.to, label: link.type.toLowerCase().replace("_", " ") }, classes: `link ${link.type}` });
  }
  return { nodes, edges };
}

function cut(text) {
  const line = text.split(/\s+/).join(" ");
  return line.length <= LABEL ? line : `${line.slice(0, LABEL - 1)}…`;
}

/* Drawing */

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The colour of a kind is that of its dot in lists. */
function kindColour(type) {
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  dot.setAttribute("class", `dot kind-${type.replaceAll("_", "-")}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(dot);
  container.append(svg);
  const found = getComputedStyle(dot).fill;
  svg.remove();
  return found;
}

function styled() {
  const [text, soft, strong, panelColour, accent, bad] = ["--text", "--soft", "--line-strong", "--panel", "--accent", "--bad"].map(colour);
  const types = [...new Set(cy.nodes(".memory").map((node) => node.data("type")))];
  const letters = { "font-size": FONT / cy.zoom(), "font-family": family, "text-outline-color": panelColour, "text-outline-width": 2.5 / cy.zoom(), "text-outline-opacity": 0.9 };
  cy.style([
    { selector: "node", style: { width: "data(size)", height: "data(size)", label: "data(label)", color: text, "text-valign": "bottom", "text-margin-y": 3, "text-opacity": 0, "min-zoomed-font-size": 0, ...letters } },
    { selector: "node.memory", style: { "border-width": 1.5, "border-color": panelColour } },
    ...types.map((type) => ({ selector: `node.kind-${type}`, style: { "background-color": kindColour(type) } })),
    ...types.map((type) => ({ selector: `node.kind-${type}.past`, style: { "background-color": panelColour, "border-color": kindColour(type), "border-style": "dashed", "border-width": 2 } })),
    { selector: "node.entity", style: { shape: "round-rectangle", "background-color": strong, color: soft } },
    { selector: "node.start", style: { "border-width": 3, "border-color": accent, "border-style": "solid" } },
    { selector: "node.readable", style: { "text-opacity": 1 } },
    { selector: "node.above", style: { "text-valign": "top", "text-margin-y": -3 } },
    { selector: "edge", style: { width: 1, "line-color": strong, "line-opacity": 0.75, "curve-style": "haystack", "haystack-radius": 0 } },
    { selector: "edge.link", style: { "curve-style": "bezier", "line-opacity": 1, "line-color": soft, "target-arrow-color": soft, "target-arrow-shape": "triangle", "arrow-scale": 0.8, width: 1.5, "z-index": 2 } },
    { selector: "edge.CONTRADICTS", style: { "line-color": bad, "target-arrow-color": bad } },
    { selector: ".faded", style: { opacity: 0.2, "text-opacity": 0 } },
    { selector: "edge.lit", style: { "line-color": accent, "target-arrow-color": accent, width: 1.8 } },
    { selector: "edge.link.lit.long", style: { label: "data(label)", color: text, "text-rotation": "autorotate", ...letters } },
    { selector: "node.lit", style: { "z-index": 5 } },
    { selector: "node.chosen", style: { "border-width": 3, "border-color": accent } },
    { selector: ".out", style: { display: "none" } },
  ]);
}

/** Which labels can be read where they stand, below or above: what is lit and what is used most first, none over another
 *  or over a node. */
function label() {
  const zoom = cy.zoom();
  pen.font = `${FONT}px ${family}`;
  const boxes = [];
  const shown = cy.nodes().filter((node) => !node.hasClass("out") && !node.hasClass("faded")).toArray();
  for (const node of shown) {
    const { x, y } = node.renderedPosition();
    const half = (node.data("size") * zoom) / 2;
    boxes.push({ id: node.id(), left: x - half, right: x + half, top: y - half, bottom: y + half, x });
  }
  const hits = (one, two) => one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom;
  const order = shown.map((node, index) => [node, boxes[index], 1e6 * node.hasClass("start") + 1e7 * node.hasClass("lit") + node.data("weight")]);
  order.sort((a, b) => b[2] - a[2]);
  const taken = [];
  const readable = new Map();
  for (const [node, own] of order) {
    const half = widthOf(node.data("label")) / 2 + 3;
    for (const [side, top] of [["below", own.bottom + 3 * zoom], ["above", own.top - 3 * zoom - FONT - 4]]) {
      const box = { left: own.x - half, right: own.x + half, top, bottom: top + FONT + 4 };
      if (taken.some((other) => hits(box, other)) || boxes.some((other) => other !== own && hits(box, other))) continue;
      taken.push(box);
      readable.set(node.id(), side);
      break;
    }
  }
  cy.batch(() => cy.nodes().forEach((node) => {
    const side = readable.get(node.id());
    if (node.hasClass("readable") !== Boolean(side)) node.toggleClass("readable", Boolean(side));
    if (node.hasClass("above") !== (side === "above")) node.toggleClass("above", side === "above");
  }));
}

function widthOf(text) {
  if (!widths.has(text)) widths.set(text, pen.measureText(text).width);
  return widths.get(text);
}

function zoomed() {
  clearTimeout(later);
  later = setTimeout(() => {
    styled();
    label();
  }, 60);
}

function fit() {
  const box = cy.elements(":visible");
  cy.fit(box, 36);
  if (cy.zoom() > 1.25) {
    cy.zoom(1.25);
    cy.center(box);
  }
  zoomed();
}

function place(nodes) {
  const aspect = container.clientWidth / Math.max(1, container.clientHeight);
  const first = cy.nodes(".start")[0]?.id();
  const edges = cy.edges().map((edge) => ({ source: edge.data("source"), target: edge.data("target") }));
  places = arrange(nodes, edges, first, { old: places, aspect });
}

async function draw() {
  const said = await read();
  start = said.start;
  const { nodes, edges } = elementsOf(said);
  const fresh = nodes.filter((node) => cy.getElementById(node.data.id).empty());
  const grown = places.size > 0;
  cy.batch(() => {
    cy.add([...fresh, ...edges.filter((edge) => cy.getElementById(edge.data.id).empty())]);
  });
  if (fresh.length) {
    const before = places;
    place(cy.nodes().map((node) => ({ id: node.id(), size: node.data("size") })));
    cy.nodes().forEach((node) => {
      const to = places.get(node.id());
      if (!grown || calm.matches) return node.position(to);
      if (!before.has(node.id())) node.position(node.neighborhood("node").map((other) => before.get(other.id())).find(Boolean) ?? to);
      node.animate({ position: to, duration: 260, easing: "ease-out-cubic" });
    });
  }
  bound = cy.nodes(".entity").map((node) => [node, node.neighborhood(".memory").toArray()]);
  timeOf();
  styled();
  hide();
  if (!grown) fit();
  else setTimeout(label, 300);
  container.dataset.nodes = cy.nodes().length;
  return fresh.length;
}

/* Choosing */

async function choose(node) {
  chosen = node;
  light(node, true);
  const url = new URL(`${root}/ui/graph/panel`, location.href);
  if (node.hasClass("memory")) url.searchParams.set("memory", node.id());
  else {
    url.searchParams.set("entity", node.data("name"));
    url.searchParams.set("vault", node.data("vault"));
  }
  const reply = await fetch(url);
  if (chosen !== node) return;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  localise(page);
  panel.replaceChildren(...page.body.childNodes);
  if (node.hasClass("memory")) await expand(node.id());
}

async function expand(id) {
  const expanded = address.searchParams.getAll("with");
  if (id === start.memory || expanded.includes(id)) return;
  if (expanded.length >= MOST_EXPANDED) return notice(`The drawing has grown ${MOST_EXPANDED} times; centre it on a memory to go on from there.`, "warn");
  address.searchParams.append("with", id);
  history.replaceState(null, "", address);
  try {
    if (await draw()) {
      await retable("graph-filter");
      hide();
    }
  } catch (error) {
    notice(error.message, "bad");
  }
  if (chosen) light(chosen, true);
}

/** Lift a node with what hangs on it; `alone`: the rest steps back. Plain lines are faint already and stay as they are. */
function light(node, alone = false) {
  const lit = node ? node.closedNeighborhood() : cy.collection();
  cy.batch(() => {
    cy.$(".lit").not(lit).removeClass("lit long");
    cy.$(".chosen").not(node ?? lit).removeClass("chosen");
    if (!alone) cy.$(".faded").removeClass("faded");
    else {
      const rest = cy.$("node, edge.link").not(lit);
      rest.not(".faded").addClass("faded");
      lit.removeClass("faded");
    }
    lit.addClass("lit");
    lit.edges(".link").forEach((edge) => { edge.toggleClass("long", lengthOf(edge) * cy.zoom() > 110); });
    if (alone) node.addClass("chosen");
  });
  label();
}

function lengthOf(edge) {
  const [a, b] = [edge.source().position(), edge.target().position()];
  return Math.hypot(a.x - b.x, a.y - b.y);
}

/* Filters */

/** The boxes of the kinds; they are drawn again when the drawing has grown. */
function kinds() {
  return [...document.querySelectorAll("#graph-filter [name=kind]")];
}

function timeOf() {
  times = [...new Set(cy.nodes(".memory").map((node) => node.data("at")))].sort();
  const until = address.searchParams.get("until");
  slider.max = String(times.length - 1);
  const last = until ? times.filter((at) => Date.parse(at) <= Date.parse(until)).length - 1 : times.length - 1;
  slider.value = String(Math.max(0, last));
  document.getElementById("graph-time").hidden = times.length < 2;
}

function hide() {
  const boxes = kinds();
  const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  const known = new Set(boxes.map((box) => box.value));
  const all = !wanted.size;
  const until = times[Number(slider.value)];
  document.getElementById("graph-when").textContent = until ? new Date(until).toLocaleDateString(undefined, { dateStyle: "medium" }) : "";
  cy.batch(() => {
    cy.nodes(".memory").forEach((node) => {
      const type = node.data("type");
      out(node, (until !== undefined && node.data("at") > until) || !(all || wanted.has(type) || !known.has(type)));
    });
    for (const [node, memories] of bound) out(node, memories.every((other) => other.hasClass("out")));
  });
}

function out(node, gone) {
  if (node.hasClass("out") !== gone) node.toggleClass("out", gone);
}

function told() {
  const boxes = kinds();
  const wanted = boxes.filter((box) => box.checked).map((box) => box.value);
  address.searchParams.delete("kind");
  if (wanted.length < boxes.length) for (const value of wanted) address.searchParams.append("kind", value);
  address.searchParams.delete("until");
  if (Number(slider.value) < times.length - 1) address.searchParams.set("until", times[Number(slider.value)]);
  history.replaceState(null, "", address);
}

async function retable(...others) {
  document.getElementById("graph-address").textContent = address.href;
  await refresh(["graph-table", ...others], address);
}

document.addEventListener("change", async (event) => {
  if (!event.target.closest("#graph-filter")) return;
  hide();
  label();
  told();
  await retable();
});
slider.addEventListener("input", hide);
slider.addEventListener("change", async () => {
  label();
  told();
  await retable();
});

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
cy.on("tap", (event) => {
  if (event.target !== cy) return;
  chosen = null;
  light(null);
});
cy.on("zoom", zoomed);
cy.on("dragfree", "node", ({ target }) => {
  places.set(target.id(), { ...target.position() });
  label();
});
document.getElementById("graph-fit").onclick = fit;
document.getElementById("graph-in").onclick = () => cy.zoom({ level: cy.zoom() * 1.3, renderedPosition: { x: container.clientWidth / 2, y: container.clientHeight / 2 } });
document.getElementById("graph-out").onclick = () => cy.zoom({ level: cy.zoom() / 1.3, renderedPosition: { x: container.clientWidth / 2, y: container.clientHeight / 2 } });
dark.addEventListener("change", styled);
new ResizeObserver(() => {
  cy.resize();
  if (!chosen && places.size) fit();
}).observe(container);
document.getElementById("graph-address").textContent = address.href;
// For tests and for whoever looks closer: the drawing is a part of the page.
container.drawing = cy;

draw().catch((error) => notice(error.message, "bad"));
