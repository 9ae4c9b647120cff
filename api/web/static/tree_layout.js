// Where the nodes of a tree stand: pure functions from cards to places. A thread grows to the right, a search downwards; on
// a narrow screen both are an outline, one node below the other.
import { hierarchy, tree } from "./vendor/d3-hierarchy.js";

export const SIZES = {
  thread: { width: 264, height: 66, apart: 12, between: 44 },
  search: { width: 236, height: 66, apart: 22, between: 64 },
};
export const INDENT = 20;
const OUTLINE_BELOW = 640;
export const ROOT = "";
const OPEN_AT_FIRST = 300;

/** The cards as a tree: a root that stands for the request, and below it what has no parent. `upTo`: the number of the
 *  event behind which it is shown; later nodes are left out. */
export function grow(root, cards, upTo = Infinity) {
  const nodes = new Map([[ROOT, { id: ROOT, parent: null, born: 0, ...root, children: [] }]]);
  for (const card of cards) if (card.born <= upTo) nodes.set(card.id, { ...card, children: [] });
  for (const node of nodes.values()) {
    if (node.id === ROOT) continue;
    node.above = nodes.get(node.parent ?? ROOT) ?? nodes.get(ROOT);
    node.above.children.push(node);
  }
  return nodes;
}

/** What is closed at first: nothing in a small tree; in a large one what lies deep, but for the best path. */
export function foldedAtFirst(nodes) {
  const folded = new Set();
  if (nodes.size <= OPEN_AT_FIRST) return folded;
  let open = 1;
  const waiting = [nodes.get(ROOT)];
  const path = new Set([...nodes.values()].filter((node) => node.best).map((node) => node.id));
  for (const node of waiting) {
    if (node.children.length === 0) continue;
    if (open + node.children.length > 60 && !path.has(node.id)) folded.add(node.id);
    else {
      open += node.children.length;
      waiting.push(...node.children);
    }
  }
  return folded;
}

/** How a tree of that kind grows on a stage of that width: right, down, or as an outline. */
export function shapeOf(kind, width) {
  if (width < OUTLINE_BELOW) return "outline";
  return kind === "thread" ? "right" : "down";
}

/** The places of all nodes whose branches are open, parents first: a map by id to the middle of the left side of a card. */
export function place(nodes, folded, kind, shape) {
  const { width, height, apart, between } = SIZES[kind];
  const top = hierarchy(nodes.get(ROOT), (node) => (folded.has(node.id) ? null : node.children));
  const size = shape === "right" ? [height + apart, width + between] : [width + apart, height + between];
  if (shape === "outline") {
    let row = 0;
    top.eachBefore((at) => Object.assign(at, { x: (height + apart / 2) * row++, y: at.depth * INDENT }));
  } else tree().nodeSize(size).separation((a, b) => (a.parent === b.parent ? 1 : 1.12))(top);
  const places = new Map();
  top.each((at) => {
    const [x, y] = shape === "down" ? [at.x, at.y] : [at.y, at.x];
    places.set(at.data.id, { x, y, node: at.data, parent: at.parent?.data.id ?? null, depth: at.depth });
  });
  return places;
}

/** How many nodes lie below a node. */
export function below(node) {
  let count = 0;
  const waiting = [...node.children];
  for (let one = waiting.pop(); one; one = waiting.pop()) {
    count += 1;
    waiting.push(...one.children);
  }
  return count;
}

/** The box around all places. */
export function box(places, kind) {
  const { width, height } = SIZES[kind];
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const at of places.values()) {
    left = Math.min(left, at.x);
    top = Math.min(top, at.y - height / 2);
    right = Math.max(right, at.x + width);
    bottom = Math.max(bottom, at.y + height / 2);
  }
  return { left, top, right, bottom };
}

/** The node that an arrow key leads to: parent, first child, or the next one of the same depth; in an outline the rows. */
export function neighbour(places, id, key, shape) {
  const here = places.get(id);
  if (!here) return places.keys().next().value;
  const [up, deeper, before] = shape === "down" ? ["ArrowUp", "ArrowDown", "ArrowLeft"] : ["ArrowLeft", "ArrowRight", "ArrowUp"];
  if (key === up) return here.parent ?? id;
  if (key === deeper) return here.node.children.find((child) => places.has(child.id))?.id ?? id;
  const axis = shape === "down" ? "x" : "y";
  const way = key === before ? -1 : 1;
  let found = null;
  for (const [other, at] of places) {
    if ((shape !== "outline" && at.depth !== here.depth) || (at[axis] - here[axis]) * way <= 0) continue;
    if (found === null || Math.abs(at[axis] - here[axis]) < Math.abs(places.get(found)[axis] - here[axis])) found = other;
  }
  return found ?? id;
}
