// Where the nodes of a graph stand: springs along edges, repulsion between nodes, a pull to the middle. There is no chance in
// it, so the same graph looks the same each time, and what was there before keeps its place when more comes.
const LENGTH = 74;
const ROUNDS = 320;

/** Places by id. `nodes`: [{id, size}], `edges`: [{source, target}]; `start` is in the middle; `old`: places that were given
 *  before, by id; `aspect`: width to height of the area. */
export function arrange(nodes, edges, start, { old = new Map(), aspect = 1.6 } = {}) {
  const at = new Map(nodes.map((node, index) => [node.id, index]));
  const near = nodes.map(() => []);
  const pairs = [];
  for (const { source, target } of edges) {
    const [a, b] = [at.get(source), at.get(target)];
    if (a === undefined || b === undefined || a === b) continue;
    near[a].push(b);
    near[b].push(a);
    pairs.push([a, b]);
  }
  const first = at.get(start) ?? 0;
  const { x, y, kept } = begin(nodes, near, first, old);
  const [wide, tall] = [Math.sqrt(aspect), 1 / Math.sqrt(aspect)];
  for (let round = 0; round < ROUNDS; round += 1) {
    const heat = LENGTH * 0.55 * (1 - round / ROUNDS) ** 1.5 + 0.4;
    step(nodes, near, pairs, x, y, { heat, kept, first, wide, tall });
  }
  apart(nodes, x, y, first);
  return new Map(nodes.map((node, index) => [node.id, { x: x[index], y: y[index] }]));
}

/** The first places: rings around the start by distance, each node in the wedge of the one it hangs on. */
function begin(nodes, near, first, old) {
  const count = nodes.length;
  const [x, y, kept] = [new Float64Array(count), new Float64Array(count), new Uint8Array(count)];
  const depth = new Int32Array(count).fill(-1);
  const angle = new Float64Array(count);
  let ring = [first];
  depth[first] = 0;
  for (let level = 1; ring.length; level += 1) {
    const next = [];
    for (const parent of ring) for (const child of near[parent]) if (depth[child] < 0) {
      depth[child] = level;
      next.push(child);
    }
    next.forEach((child, index) => { angle[child] = (2 * Math.PI * (index + 0.5 * (level % 2))) / next.length; });
    ring = next;
  }
  for (let index = 0; index < count; index += 1) {
    const before = old.get(nodes[index].id);
    if (before) {
      [x[index], y[index], kept[index]] = [before.x, before.y, 1];
      continue;
    }
    const host = old.size ? near[index].map((other) => old.get(nodes[other].id)).find(Boolean) : undefined;
    // What hangs on nothing gets a place of its own on the outermost ring.
    const turn = depth[index] < 0 ? index * 2.399963 : angle[index];
    const radius = host ? LENGTH * 0.9 : LENGTH * 1.3 * (depth[index] < 0 ? 4 : depth[index]);
    x[index] = (host?.x ?? 0) + radius * Math.cos(host ? index * 2.399963 : turn);
    y[index] = (host?.y ?? 0) + radius * Math.sin(host ? index * 2.399963 : turn);
  }
  return { x, y, kept };
}

function step(nodes, near, pairs, x, y, { heat, kept, first, wide, tall }) {
  const count = nodes.length;
  const [dx, dy] = [new Float64Array(count), new Float64Array(count)];
  for (let a = 0; a < count; a += 1) {
    for (let b = a + 1; b < count; b += 1) {
      const [gx, gy] = [x[a] - x[b], y[a] - y[b]];
      const square = gx * gx + gy * gy + 0.01;
      if (square > 250_000) continue;
      const push = (LENGTH * LENGTH) / square;
      dx[a] += gx * push;
      dy[a] += gy * push;
      dx[b] -= gx * push;
      dy[b] -= gy * push;
    }
  }
  for (const [a, b] of pairs) {
    const [gx, gy] = [x[a] - x[b], y[a] - y[b]];
    // What binds very many pulls less at each, or all of them would lie on top of it.
    const pull = Math.sqrt(gx * gx + gy * gy) / LENGTH / Math.sqrt(Math.max(1, Math.min(near[a].length, near[b].length) / 2));
    dx[a] -= gx * pull;
    dy[a] -= gy * pull;
    dx[b] += gx * pull;
    dy[b] += gy * pull;
  }
  for (let index = 0; index < count; index += 1) {
    if (index === first) continue;
    dx[index] -= (x[index] * 0.35) / wide;
    dy[index] -= (y[index] * 0.35) / tall;
    const far = Math.hypot(dx[index], dy[index]) || 1;
    const most = kept[index] ? heat * 0.08 : heat;
    x[index] += (dx[index] / far) * Math.min(far, most);
    y[index] += (dy[index] / far) * Math.min(far, most);
  }
}

/** Push apart what still touches. */
function apart(nodes, x, y, first) {
  for (let round = 0; round < 24; round += 1) {
    let moved = false;
    for (let a = 0; a < nodes.length; a += 1) {
      for (let b = a + 1; b < nodes.length; b += 1) {
        const room = (nodes[a].size + nodes[b].size) / 2 + 10;
        const [gx, gy] = [x[a] - x[b] || 0.1, y[a] - y[b] || 0.1];
        const far = Math.hypot(gx, gy);
        if (far >= room) continue;
        const by = (room - far) / 2 / far;
        moved = true;
        if (a !== first) [x[a], y[a]] = [x[a] + gx * by, y[a] + gy * by];
        if (b !== first) [x[b], y[b]] = [x[b] - gx * by, y[b] - gy * by];
      }
    }
    if (!moved) return;
  }
}
