// One memory: choosing another one in a dialog, and the receipt of an erasure.
import { address, button, call, facts, make, notice } from "./page.js";

/* [data-picker]: what is typed is searched for; a choice goes into the [data-chosen] field of the form. */
for (const field of document.querySelectorAll("[data-picker]")) {
  const list = field.form.querySelector(".picker-list");
  const chosen = field.form.querySelector("[data-chosen]");
  const submit = field.form.querySelector("[data-needs-choice]");
  let planned = 0;
  let asked = 0;

  const choose = (id, chooser) => {
    for (const one of list.children) one.ariaPressed = String(one === chooser);
    chosen.value = chosen.dataset.type === "json" ? JSON.stringify([chosen.dataset.chosen, id]) : id;
    submit.disabled = false;
  };

  const offer = ({ memory }) => {
    const words = memory.title || memory.content.slice(0, 140);
    return button(words, ({ target }) => choose(memory.id, target), { ariaPressed: "false" });
  };

  const look = async () => {
    const words = field.value.trim();
    const mine = ++asked;
    submit.disabled = true;
    if (!words) return list.replaceChildren();
    if (/^mem_[0-9a-f]{32}$/.test(words)) return choose(words);
    const body = { query: words, k: 8, ...(field.dataset.vault ? { vaults: [field.dataset.vault] } : {}) };
    try {
      const { body: found } = await call("POST", "/api/memories/search", body, { quiet: true });
      if (mine !== asked) return;
      const others = found.hits.filter((hit) => hit.memory.id !== field.dataset.not);
      list.replaceChildren(...(others.length ? others.map(offer) : ["Nothing was found."]));
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
  if (event.detail.status !== 412 || event.defaultPrevented) return;
  event.preventDefault();
  event.target.closest("dialog")?.close();
  const again = make("a", { href: location.href }, "Look at it again");
  notice(`Nothing was changed: ${event.detail.message} `, "warn", again);
});

document.getElementById("purge")?.addEventListener("done", ({ detail: { body } }) => {
  document.getElementById("doing").hidden = true;
  const short = (id) => `${id.slice(0, 4)}…${id.slice(-6)}`;
  const link = (path) => (id) => [make("a", { className: "id", href: address(`${path}${id}`) }, short(id)), " "];
  const erased_at = new Date(body.at).toLocaleString();
  const told = { memory: body.id, erased_at, ...body.removed, files: body.files.length };
  if (body.runs.length) told.runs_that_may_quote_it = body.runs.flatMap(link("/ui/runs/"));
  if (body.stale.length) told.made_from_it = body.stale.flatMap(link("/ui/memories/"));
  told.still_to_be_done = body.pending.join(", ") || "nothing";
  const copy = button("Copy the receipt", null, { className: "quiet" });
  copy.dataset.copy = JSON.stringify(body, null, 2);
  const receipt = document.getElementById("receipt");
  receipt.append(facts(told), copy);
  receipt.hidden = false;
  receipt.focus();
});
