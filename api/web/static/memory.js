// One memory: choosing another one in a dialog, and the receipt of an erasure.
import { address, call, notice } from "./page.js";

/* [data-picker]: what is typed is searched for; a choice goes into the [data-chosen] field of the form. */
for (const field of document.querySelectorAll("[data-picker]")) {
  const form = field.form;
  const list = form.querySelector(".picker-list");
  const chosen = form.querySelector("[data-chosen]");
  const submit = form.querySelector("[data-needs-choice]");
  let planned = 0;
  let asked = 0;

  const choose = (id, button) => {
    for (const one of list.children) one.setAttribute("aria-pressed", String(one === button));
    chosen.value = chosen.dataset.type === "json" ? JSON.stringify([chosen.dataset.chosen, id]) : id;
    submit.disabled = false;
  };

  const look = async () => {
    const words = field.value.trim();
    submit.disabled = true;
    if (!words) return list.replaceChildren();
    if (/^mem_[0-9a-f]{32}$/.test(words)) return choose(words);
    const mine = ++asked;
    const body = { query: words, k: 8, ...(field.dataset.vault ? { vaults: [field.dataset.vault] } : {}) };
    try {
      const { body: found } = await call("POST", "/api/memories/search", body, { quiet: true });
      if (mine !== asked) return;
      const others = found.hits.filter((hit) => hit.memory.id !== field.dataset.not);
      list.replaceChildren(...others.map(({ memory }) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = memory.title || memory.content.slice(0, 140);
        button.setAttribute("aria-pressed", "false");
        button.onclick = () => choose(memory.id, button);
        return button;
      }));
      if (!others.length) list.textContent = "Nothing was found.";
    } catch (error) {
      list.textContent = error.message;
    }
  };

  field.addEventListener("input", () => {
    clearTimeout(planned);
    planned = setTimeout(look, 250);
  });
}

/* A menu closes when something else is clicked. */
document.addEventListener("click", (event) => {
  const menu = document.querySelector("details.menu[open]");
  if (menu && !event.target.closest("summary")) menu.open = false;
});

/* A change that came too late: somebody else was quicker. */
document.addEventListener("refused", (event) => {
  if (event.detail.status !== 412) return;
  event.preventDefault();
  event.target.closest("dialog")?.close();
  const line = notice(`Nothing was changed: ${event.detail.message} `, "warn");
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = "Look at it again";
  line.firstChild.append(again);
});

document.getElementById("purge")?.addEventListener("done", ({ detail: { body } }) => {
  document.getElementById("doing").hidden = true;
  const receipt = document.getElementById("receipt");
  const list = document.createElement("dl");
  list.className = "facts";
  const add = (name, ...parts) => {
    const [row, term, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    value.append(...parts);
    row.append(term, value);
    list.append(row);
  };
  const links = (ids, path) => ids.flatMap((id) => {
    const link = document.createElement("a");
    link.className = "id";
    link.href = address(`${path}${id}`);
    link.textContent = `${id.slice(0, 4)}…${id.slice(-6)}`;
    return [link, " "];
  });
  add("Memory", body.id);
  add("Erased at", new Date(body.at).toLocaleString());
  for (const [name, count] of Object.entries(body.removed)) add(name.replaceAll("_", " "), String(count));
  add("files", String(body.files.length));
  if (body.runs.length) add("runs that may quote it", ...links(body.runs, "/ui/runs/"));
  if (body.stale.length) add("made from it", ...links(body.stale, "/ui/memories/"));
  add("still to be done", body.pending.length ? body.pending.join(", ") : "nothing");
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "quiet";
  copy.dataset.copy = JSON.stringify(body, null, 2);
  copy.textContent = "Copy the receipt";
  receipt.append(list, copy);
  receipt.hidden = false;
  receipt.focus();
});
