// The list of memories: rows are picked, and what is picked is archived at once. Each archiving is a version of its own,
// and one that is refused says why and stays.
import { call, notice, refresh } from "./page.js";

const filters = document.getElementById("filters");
if (matchMedia("(max-width: 60rem)").matches) filters.open = false;

const bar = document.getElementById("picked");
const picks = () => [...document.querySelectorAll("[data-pick]:checked")];

function count() {
  const picked = picks();
  if (!bar) return;
  bar.hidden = picked.length === 0;
  document.getElementById("picked-count").textContent = picked.length;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick]")) count();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "x" || event.ctrlKey || event.metaKey || event.target.matches("input:not([type='checkbox']), textarea, select")) return;
  const box = document.querySelector("tr.here [data-pick]");
  if (!box) return;
  box.checked = !box.checked;
  count();
});

document.getElementById("unpick")?.addEventListener("click", () => {
  for (const box of picks()) box.checked = false;
  count();
});

document.getElementById("archive")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  const refused = [];
  let done = 0;
  for (const box of picks()) {
    try {
      await call("POST", `/api/memories/${box.value}/state`, { event: "archive" }, { etag: box.dataset.version, quiet: true });
      box.closest("tr").remove();
      done += 1;
    } catch (error) {
      refused.push(error.message);
    }
  }
  button.disabled = false;
  count();
  if (done) await refresh(["facets", "note"]);
  if (done) notice(`${done} archived. They stay readable under State: archived.`, "good");
  if (refused.length) notice(`${refused.length} could not be archived: ${refused[0]}`, "bad");
});
