// What every page does: local times, keys, dialogs, copying, forms that send themselves, and buttons and forms that call
// the API. Pages declare all of it with data attributes; docs stand at each.
import { address, call, valuesOf } from "./api.js";
import { notice, quiet } from "./notices.js";
import { localise } from "./times.js";

export { address, call, valuesOf } from "./api.js";
export { live } from "./live.js";
export { notice, say } from "./notices.js";
export { localise } from "./times.js";

/** Fetch this page again and put the parts with these ids in the place of the old ones. Null when it was refused. */
export async function refresh(ids, url = location.href) {
  const reply = await fetch(url, { headers: { Accept: "text/html" } });
  if (!reply.ok) return null;
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  localise(fresh);
  for (const id of ids) {
    const old = document.getElementById(id);
    const part = fresh.getElementById(id);
    if (old && part) {
      old.replaceWith(document.adoptNode(part));
      window.htmx?.process(part);
    }
  }
  return fresh;
}

/** Refresh parts every few seconds for as long as `wanted()` and the page is looked at; gives a function that stops it. */
export function keepFresh(ids, { everyMs = 2000, wanted = () => true, say = () => {} } = {}) {
  let timer = 0;
  async function again() {
    if (!wanted()) return say("");
    const busy = document.hidden || ids.some((id) => document.getElementById(id)?.contains(document.activeElement));
    try {
      if (!busy) say((await refresh(ids)) ? "live" : "reconnecting");
    } catch {
      say("reconnecting");
    }
    timer = setTimeout(again, everyMs);
  }
  if (wanted()) say("live");
  timer = setTimeout(again, everyMs);
  return () => clearTimeout(timer);
}

/* Keys. Rows: [data-row] and .log > li; `Enter` opens the first link of the row that is marked. Any element with
   data-key-press="e" is clicked by that key, so a page names its own: edit e, diff d, graph g. `/` goes to [data-search]. */
function rows() {
  return [...document.querySelectorAll("[data-row], .log > li")].filter((row) => row.offsetParent !== null);
}

function move(step) {
  const all = rows();
  const at = all.findIndex((row) => row.classList.contains("here"));
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  if (!next) return;
  all[at]?.classList.remove("here");
  next.classList.add("here");
  next.querySelector("a, summary")?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  if (document.querySelector("dialog[open]")) return;
  const own = document.querySelector(`[data-key-press="${CSS.escape(event.key)}"]:not([hidden])`);
  if (own) own.click();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") document.getElementById("help").showModal();
  else if (event.key === "/" && document.querySelector("[data-search]")) document.querySelector("[data-search]").focus();
  else return;
  event.preventDefault();
});

/* data-open="id": opens that dialog. data-close: closes the dialog around it. data-copy="text", data-copy-from="id". */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-open], [data-close], [data-copy], [data-copy-from], button[data-call]");
  if (!button) return;
  if (button.dataset.open) document.getElementById(button.dataset.open).showModal();
  else if ("close" in button.dataset) button.closest("dialog").close();
  else if (button.dataset.call) await act(button, button.dataset.body ? JSON.parse(button.dataset.body) : undefined);
  else await copy(button);
});

async function copy(button) {
  const from = document.getElementById(button.dataset.copyFrom ?? "");
  const text = from ? (from.value ?? from.textContent) : button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
    notice("Copied.", "good");
  } catch {
    notice("The browser does not let this page copy; select the text and copy it yourself.", "warn");
  }
}

/* data-call="POST" data-path="/api/…" on a button (with data-body='{…}') or a form (its fields become the body):
   calls the API. data-etag="3": If-Match. data-confirm="…": asks first. data-then: what happens after it went well:
   "reload" (default), "refresh:id,id", "none", or an address in which {name} is a field of the answer
   ("/ui/runs/{id}"). data-done="…": a notice. The element gets the event `done` with the answer, or `refused` with the
   error (then the notice is up to the page, if it calls preventDefault). */
export async function act(element, body) {
  const { call: method, path, etag, confirm: question, then = "reload", done } = element.dataset;
  if (question && !window.confirm(question)) return;
  const buttons = element.matches("form") ? element.querySelectorAll("button") : [element];
  for (const one of buttons) one.disabled = true;
  quiet();
  try {
    const answer = await call(method, path, body, { etag, quiet: true });
    element.dispatchEvent(new CustomEvent("done", { detail: answer, bubbles: true }));
    element.closest("dialog")?.close();
    if (done) notice(done, "good");
    if (then === "reload") location.reload();
    else if (then.startsWith("refresh:")) await refresh(then.slice(8).split(","));
    else if (then !== "none") location.href = address(then.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(answer.body[name])));
  } catch (error) {
    const told = new CustomEvent("refused", { detail: error, bubbles: true, cancelable: true });
    if (element.dispatchEvent(told)) {
      element.closest("dialog")?.close();
      notice(error.message, "bad");
    }
  } finally {
    for (const one of buttons) one.disabled = false;
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.call) return;
  event.preventDefault();
  let body;
  try {
    body = valuesOf(form);
  } catch (error) {
    notice(`This is not JSON: ${error.message}`, "bad");
    return;
  }
  await act(form, body);
});

/* data-auto on a form of filters: a change sends it, without the fields that are empty. */
document.addEventListener("change", (event) => {
  event.target.closest("form[data-auto]")?.requestSubmit();
});
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form[method='get'], form[data-auto]")) return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

document.addEventListener("htmx:after:swap", () => localise(document));
localise(document);
