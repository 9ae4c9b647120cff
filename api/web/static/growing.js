// A tree that grows while a run goes on, as a nested list: nodes of a search with their values, tasks with their
// conclusions. It draws so many; the page of the tree draws all of them.
import { make } from "./dom.js";

const DRAWN = 300;

/** Fill the list `root`; `take(type, data)` says whether the event was of a tree, `size` how many nodes there are. */
export function growing(root) {
  const nodes = new Map();
  let best = null;
  root.replaceChildren();

  function add(id, parent, words) {
    if (nodes.has(id)) return;
    const number = make("span", { className: "num soft" });
    const line = make("li", {}, make("p", {}, make("span", { className: "words", title: words }, words), number));
    nodes.set(id, { line, number, value: 0 });
    if (nodes.size > DRAWN) return;
    const above = nodes.get(parent)?.line;
    if (above && !above.querySelector(":scope > ul")) above.append(make("ul"));
    (above?.querySelector(":scope > ul") ?? root).append(line);
    if (root.scrollHeight - root.scrollTop - root.clientHeight < 120) root.scrollTop = root.scrollHeight;
  }

  function mark(id, name, on) {
    nodes.get(id)?.line.classList.toggle(name, on);
  }

  function valued(id, value, visits) {
    const node = nodes.get(id);
    if (!node) return;
    node.value = value;
    node.number.textContent = visits === undefined ? value.toFixed(2) : `${value.toFixed(2)} · ${visits}×`;
    if (best !== null && value < nodes.get(best).value) return;
    mark(best, "best", false);
    best = id;
    mark(id, "best", true);
  }

  return {
    get size() {
      return nodes.size;
    },
    take(type, data) {
      switch (type) {
        case "node.created": add(data.id, data.parent, line(data.detail.final ?? data.detail.answer ?? data.detail.text, `node ${data.id}`)); break;
        case "node.scored": if (data.q_global != null || data.q_local != null) valued(data.id, data.q_global ?? data.q_local); break;
        case "node.backed_up": valued(data.id, data.value, data.visits); break;
        case "node.selected": for (const id of nodes.keys()) mark(id, "going", id === data.id); break;
        case "task.opened": add(data.path, data.path.split(".").slice(0, -1).join("."), `${data.path} ${data.title}`); mark(data.path, "going", true); break;
        case "task.closed": mark(data.path, "going", false); mark(data.path, "done", true); break;
        case "span.pruned": case "span.recalled": mark(data.path, "pruned", type === "span.pruned"); break;
        default: return false;
      }
      return true;
    },
  };
}

function line(text, otherwise) {
  return text ? String(text).replace(/\s+/g, " ").slice(0, 160) : otherwise;
}
