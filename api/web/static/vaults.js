// What is done with a whole vault: files out and in, copies, rollback, merging a branch, and deciding by keys.
import { address, call, notice, refresh } from "./page.js";

const POLL_MS = 500;
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

function table(into, values) {
  const list = document.createElement("dl");
  list.className = "facts";
  for (const [name, value] of Object.entries(values)) {
    const [row, term, told] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name.replaceAll("_", " ");
    told.textContent = String(value);
    row.append(term, told);
    list.append(row);
  }
  into.replaceChildren(list);
}

/* Keys of the inbox: a accepts and r rejects the item that j and k have marked. */
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  document.querySelector(`.question.here [data-decide="${CSS.escape(event.key)}"]`)?.click();
});

/* A rollback says what it did; the page then shows what still differs. */
document.getElementById("rollback")?.addEventListener("done", async (event) => {
  const report = document.getElementById("report");
  try {
    const told = await settled(event.detail.body);
    const lost = (told.purged?.length ?? 0) + (told.expired?.length ?? 0);
    report.textContent = `Rolled back: ${told.restored} restored, ${told.archived} archived${lost ? `, ${lost} could not come back` : ""}.`;
    report.hidden = false;
    await refresh(["changes"]);
    document.getElementById("rollback").disabled = true;
  } catch (error) {
    notice(error.message, "bad");
  }
});

/* A branch that cannot be merged says why, memory by memory. */
document.addEventListener("refused", (event) => {
  const conflicts = event.detail.problem?.conflicts;
  const place = document.getElementById("conflicts");
  if (!conflicts || !place || !("clash" in event.target.dataset)) return;
  event.preventDefault();
  place.replaceChildren(event.detail.message);
  for (const one of conflicts) {
    const line = document.createElement("p");
    const link = document.createElement("a");
    link.href = address(`/ui/memories/${one.memory}`);
    link.textContent = one.memory;
    line.append(link, `: ${one.why}`);
    place.append(line);
  }
  place.hidden = false;
  place.focus();
});

/* A grant to everybody names no user. */
document.getElementById("give-form")?.addEventListener("submit", (event) => {
  const user = event.target.elements.user;
  user.dataset.type = user.value.trim() ? "" : "json";
  if (!user.value.trim()) user.value = "null";
  setTimeout(() => { if (user.value === "null") user.value = ""; });
});

document.getElementById("export")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  try {
    const vectors = document.getElementById("export-vectors").checked;
    const reply = await fetch(address(`${button.dataset.path}?vectors=${vectors}`), { method: "POST", headers: { Accept: "application/zip, application/json" } });
    if (!reply.ok) throw new Error((await reply.json()).detail);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await reply.blob());
    link.download = `${button.dataset.name}.zip`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    notice("Exported.", "good");
  } catch (error) {
    notice(`The export failed: ${error.message}`, "bad");
  }
  button.disabled = false;
});

document.getElementById("import")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const dry = event.submitter?.value !== "false";
  const file = form.elements.file.files[0];
  const now = document.getElementById("import-now");
  const place = document.getElementById("imported");
  const query = new URLSearchParams({ dry_run: String(dry), mode: form.elements.mode.value });
  if (!/\.(zip|json|jsonl|ndjson)$/i.test(file.name)) query.set("name", file.name.slice(0, 200));
  try {
    const headers = { "Content-Type": "application/octet-stream", "Idempotency-Key": `ui-${crypto.randomUUID?.() ?? Date.now()}` };
    const reply = await fetch(address(`${form.dataset.path}?${query}`), { method: "POST", headers, body: file });
    const said = await reply.json();
    if (!reply.ok) throw new Error(said.detail);
    const told = await settled(said, reply.status === 202 ? said.id : null);
    table(place, { [dry ? "dry run of" : "imported"]: `${told.total} records (${told.format})`, ...Object.fromEntries(Object.entries(told.counts ?? {}).filter(([, count]) => count > 0)) });
    now.disabled = !dry;
    if (!dry) notice("Imported.", "good");
  } catch (error) {
    place.replaceChildren();
    notice(`The file was not imported: ${error.message}`, "bad");
  }
});
document.getElementById("import")?.addEventListener("change", () => { document.getElementById("import-now").disabled = true; });

document.getElementById("copy")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  try {
    const { body } = await call("POST", `${form.dataset.path}/${event.submitter.value}`, { to: form.elements.to.value }, { quiet: true });
    const told = await settled(body);
    table(document.getElementById("copied"), { copied: told.copied, duplicates: told.duplicates, merged: told.merged });
  } catch (error) {
    notice(`Nothing was copied: ${error.message}`, "bad");
  }
});
document.getElementById("copy")?.addEventListener("change", (event) => {
  const link = document.getElementById("compare-link");
  const target = new URL(link.href);
  target.searchParams.set("b", event.target.value);
  link.href = target.href;
});
