// What is done with a whole vault: files out and in, copies, rollback, merging a branch.
import { address, call, facts, make, notice, refresh } from "./page.js";

const POLL_MS = 500;
const part = (id) => document.getElementById(id);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** What came of an answer: itself, or the result of the job that it names, once the job has ended. */
async function settled(body, id = body.job ?? (body.kind && body.state ? body.id : null)) {
  if (!id) return body;
  notice("A job does it; this page waits for it.", "calm");
  for (;;) {
    const { body: job } = await call("GET", `/api/jobs/${id}`);
    if (job.state === "done") return job.result ?? body;
    if (["failed", "dead", "cancelled"].includes(job.state)) throw new Error(job.error ?? `the job is ${job.state}`);
    await wait(POLL_MS);
  }
}

/* A rollback says what it did; the page then shows what still differs. */
part("rollback")?.addEventListener("done", async ({ target, detail: { body } }) => {
  try {
    const told = await settled(body);
    const lost = (told.purged?.length ?? 0) + (told.expired?.length ?? 0);
    const rest = lost ? `, ${lost} could not come back` : "";
    part("report").textContent = `Rolled back: ${told.restored} restored, ${told.archived} archived${rest}.`;
    part("report").hidden = false;
    await refresh(["changes"]);
    target.disabled = true;
  } catch (error) {
    notice(error.message, "bad");
  }
});

/* A branch that cannot be merged says why, memory by memory. */
document.addEventListener("refused", (event) => {
  const conflicts = event.detail.problem?.conflicts;
  const place = part("conflicts");
  if (!conflicts || !place || !("clash" in event.target.dataset)) return;
  event.preventDefault();
  const line = ({ memory, why }) => {
    return make("p", {}, make("a", { href: address(`/ui/memories/${memory}`) }, memory), `: ${why}`);
  };
  place.replaceChildren(event.detail.message, ...conflicts.map(line));
  place.hidden = false;
  place.focus();
});

part("export")?.addEventListener("click", async ({ currentTarget: button }) => {
  button.disabled = true;
  try {
    const path = `${button.dataset.path}?vectors=${part("export-vectors").checked}`;
    const { body } = await call("POST", path, undefined, { quiet: true });
    const href = URL.createObjectURL(body);
    make("a", { href, download: `${button.dataset.name}.zip` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
    notice("Exported.", "good");
  } catch (error) {
    notice(`The export failed: ${error.message}`, "bad");
  }
  button.disabled = false;
});

part("import")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const dry = event.submitter?.value !== "false";
  const file = form.elements.file.files[0];
  const query = new URLSearchParams({ dry_run: String(dry), mode: form.elements.mode.value });
  if (!/\.(zip|json|jsonl|ndjson)$/i.test(file.name)) query.set("name", file.name.slice(0, 200));
  try {
    const { body, status } = await call("POST", `${form.dataset.path}?${query}`, file, { quiet: true });
    const told = await settled(body, status === 202 ? body.id : null);
    const counts = Object.entries(told.counts ?? {}).filter(([, count]) => count > 0);
    const all = [dry ? "dry run of" : "imported", `${told.total} records (${told.format})`];
    part("imported").replaceChildren(facts(Object.fromEntries([all, ...counts])));
    part("import-now").disabled = !dry;
    if (!dry) notice("Imported.", "good");
  } catch (error) {
    part("imported").replaceChildren();
    notice(`The file was not imported: ${error.message}`, "bad");
  }
});
part("import")?.addEventListener("change", () => { part("import-now").disabled = true; });

part("copy")?.addEventListener("submit", async (event) => {
  if (event.submitter.name !== "how") return;
  event.preventDefault();
  const form = event.target;
  try {
    const to = form.elements.b.value;
    const { body } = await call("POST", `${form.dataset.path}/${event.submitter.value}`, { to }, { quiet: true });
    const { copied, duplicates, merged } = await settled(body);
    part("copied").replaceChildren(facts({ copied, duplicates, merged }));
  } catch (error) {
    notice(`Nothing was copied: ${error.message}`, "bad");
  }
});
