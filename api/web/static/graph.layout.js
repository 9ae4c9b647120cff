// Where the nodes of a graph stand. d3-force draws by lot with a fixed seed, so the same graph looks the same each time; what
// was there before keeps its place when more comes.
import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY } from "./vendor/d3-force.js";

const LENGTH = 62;
const ROUNDS = { first: 100, more: 50 };
const WITHOUT_PAUSE = 10;

/** Places by id. `nodes`: [{id, size}], `edges`: [{source, target}]; `start` is in the middle; `old`: places that were given
 *  before, by id; `aspect`: width to height of the area. The page can answer meanwhile. */
export async function arrange(nodes, edges, start, { old = new Map(), aspect = 1.6 } = {}) {
  const bodies = new Map(nodes.map(({ id, size }) => [id, { id, size }]));
  const links = edges.filter(({ source, target }) => bodies.has(source) && bodies.has(target)).map((edge) => ({ ...edge }));
  for (const body of bodies.values()) {
    const at = old.get(body.id) ?? (body.id === start ? { x: 0, y: 0 } : null);
    if (at) Object.assign(body, { x: at.x, y: at.y, fx: at.x, fy: at.y });
  }
  // What is new begins where the node stands that it hangs on.
  for (const { source, target } of links) for (const [one, other] of [[source, target], [target, source]]) {
    if (old.has(one) && bodies.get(other).x === undefined) Object.assign(bodies.get(other), { x: old.get(one).x, y: old.get(one).y });
  }
  const rounds = old.size ? ROUNDS.more : ROUNDS.first;
  const simulation = forceSimulation([...bodies.values()]).stop()
    .alphaDecay(1 - 0.001 ** (1 / rounds))
    .force("bonds", forceLink(links).id((body) => body.id).distance(LENGTH))
    .force("room", forceManyBody().strength(-4 * LENGTH).distanceMax(8 * LENGTH).theta(1.2))
    .force("x", forceX().strength(0.08 / aspect))
    .force("y", forceY().strength(0.08 * aspect));
  for (let round = 0; round < rounds; round += WITHOUT_PAUSE) {
    // What touches is pushed apart when all have found their surroundings.
    if (round >= rounds / 2) simulation.force("touch", forceCollide((body) => body.size / 2 + 6));
    simulation.tick(WITHOUT_PAUSE);
    await new Promise((go) => { setTimeout(go); });
  }
  return new Map(simulation.nodes().map(({ id, x, y }) => [id, { x, y }]));
}
