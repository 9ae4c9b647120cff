// A tree that grows while a run goes on, as a nested list: nodes of a search with their values, tasks with their
// conclusions. It draws so many; the page of the tree draws all of them.
const DRAWN = 300;

/** Fill the list `root`; `take(type, data)` says whether the event was of a tree, `size` how many nodes there are. */
export function growing(root) {
  const nodes = new Map();
  let best = null;
  root.replaceChildren();

  function add(id, parent, words) {
    if (nodes.has(id)) return;
    const node = { value: 0, line: null };
    nodes.set(id, node);
    if (nodes.size > DRAWN) return;
    const line = document.createElement("li");
    const row = document.createElement("p");
    const text = document.createElement("span");
    const value = document.createElement("span");
    text.className = "words";
    value.className = "num soft";
    text.textContent = text.title = words;
    row.append(text, value);
    line.append(row);
    node.line = line;
    node.number = value;
    const above = nodes.get(parent)?.line;
    let list = above?.querySelector(":scope > ul") ?? null;
    if (above && !list) {
      list = document.createElement("ul");
      above.append(list);
    }
    (list ?? root).append(line);
    if (root.scrollHeight - root.scrollTop - root.clientHeight < 120) root.scrollTop = root.scrollHeight;
  }

  function mark(id, name, on = true) {
    nodes.get(id)?.line?.classList.toggle(name, on);
  }

  function valued(id, value, visits) {
    const node = nodes.get(id);
    if (!node) return;
    node.value = value;
    if (node.number) node.number.textContent = visits === undefined ? value.toFixed(2) : `${value.toFixed(2)} · ${visits}×`;
    if (best === null || value >= nodes.get(best).value) {
      mark(best, "best", false);
      best = id;
      mark(id, "best");
    }
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
        case "task.opened": add(data.path, data.path.split(".").slice(0, -1).join("."), `${data.path} ${data.title}`); mark(data.path, "going"); break;
        case "task.closed": mark(data.path, "going", false); mark(data.path, "done"); break;
        case "span.pruned": if (data.path) mark(data.path, "pruned"); break;
        case "span.recalled": if (data.path) mark(data.path, "pruned", false); break;
        default: return false;
      }
      return true;
    },
  };
}

function line(text, otherwise) {
  return text === undefined || text === null || text === "" ? otherwise : String(text).replace(/\s+/g, " ").slice(0, 160);
}
