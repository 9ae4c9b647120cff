// The list of memories: rows are picked, and what is picked is archived at once. Each archiving is a version of its
// own, and one that is refused says why and stays.
import { call, notice, refresh } from "./page.js";

if (matchMedia("(max-width: 60rem)").matches) document.getElementById("filters").open = false;

const picks = () => [...document.querySelectorAll("[data-pick]:checked")];

function count() {
  const bar = document.getElementById("picked");
  if (!bar) return;
  bar.hidden = picks().length === 0;
  document.getElementById("picked-count").textContent = picks().length;
}

document.addEventListener("change", count);

document.addEventListener("click", async ({ target: button }) => {
  if (button.id === "unpick") for (const box of picks()) box.click();
  if (button.id !== "archive") return;
  button.disabled = true;
  const refused = [];
  let done = 0;
  for (const box of picks()) {
    const path = `/api/memories/${box.value}/state`;
    try {
      await call("POST", path, { event: "archive" }, { etag: box.dataset.version, quiet: true });
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
