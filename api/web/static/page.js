// What every page does: local times, keys, dialogs, copying, parts that keep themselves fresh, and buttons and forms
// that call the API. Pages declare all of it with data attributes, said at each; what htmx does, with ui.swaps().
import { address, call, valuesOf } from "./api.js";
import { notice, say } from "./notices.js";
import { localise } from "./times.js";

export { address, call, meant, valuesOf } from "./api.js";
export { button, facts, make } from "./dom.js";
export { live } from "./live.js";
export { notice } from "./notices.js";
export { localise } from "./times.js";

/** A page as the server draws it now. Null when it was refused. */
export async function fetched(url = location.href) {
  const reply = await fetch(url, { headers: { Accept: "text/html" } });
  if (!reply.ok) return null;
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  localise(fresh);
  return fresh;
}

/** Fetch this page again and put the parts with these ids in the place of the old ones. Null when it was refused. */
export async function refresh(ids, url) {
  const here = location.href;
  const fresh = await fetched(url);
  // Meanwhile htmx may have put another list there.
  for (const id of fresh && (url || here === location.href) ? ids : []) {
    const old = document.getElementById(id);
    const part = fresh.getElementById(id);
    if (!old || !part) continue;
    old.replaceWith(document.adoptNode(part));
    window.htmx?.process(part);
  }
  return fresh;
}

/* data-unfinished="yes" on a part with an id: it is fetched again every few seconds for as long as it says so, and as
   somebody looks at the page and has not put the focus into it. */
const EVERY_MS = 2000;

async function follow() {
  const part = document.querySelector("[data-unfinished=yes]");
  if (!part) say("");
  else if (!document.hidden && !part.contains(document.activeElement)) {
    say((await refresh([part.id]).catch(() => null)) ? "live" : "reconnecting");
  }
  setTimeout(follow, EVERY_MS);
}

if (document.querySelector("[data-unfinished]")) setTimeout(follow, EVERY_MS);

/* Keys. Rows: [data-row] and .log > li; `Enter` opens the first link of the row that is marked. Any element with
   data-key-press="e" is clicked by that key, so a page names its own: edit e, diff d, graph g; one with
   data-row-key="x" when its row is marked. `/` goes to [data-search]. */
function move(step) {
  const all = [...document.querySelectorAll("[data-row], .log > li")].filter((row) => row.offsetParent !== null);
  const at = all.findIndex((row) => row.classList.contains("here"));
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  if (!next) return;
  all[at]?.classList.remove("here");
  next.classList.add("here");
  next.querySelector("a, summary")?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]")) return;
  const key = CSS.escape(event.key);
  const search = document.querySelector("[data-search]");
  const own = document.querySelector(`[data-key-press="${key}"]:not([hidden]), .here [data-row-key="${key}"]`);
  if (own) own.click();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") document.getElementById("help").showModal();
  else if (event.key === "/" && search) search.focus();
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
  try {
    await navigator.clipboard.writeText(from ? from.textContent : button.dataset.copy);
    notice("Copied.", "good");
  } catch {
    notice("The browser does not let this page copy; select the text and copy it yourself.", "warn");
  }
}

/* data-call="POST" data-path="/api/…" on a button (with data-body='{…}') or a form (its fields become the body):
   calls the API. data-etag="3": If-Match. data-confirm="…": asks first. data-then: what happens after it went well:
   "reload" (default), "refresh:id,id", "none", or an address in which {name} is a field of the answer
   ("/ui/runs/{id}"). data-done="…": a notice. The element gets the event `done` with the answer, or `refused` with
   the error (then the notice is up to the page, if it calls preventDefault). */
export async function act(element, body) {
  const { call: method, path, etag, confirm: question, then = "reload", done } = element.dataset;
  if (question && !window.confirm(question)) return;
  const buttons = element.matches("form") ? element.querySelectorAll("button") : [element];
  for (const one of buttons) one.disabled = true;
  document.getElementById("notices").replaceChildren();
  try {
    const answer = await call(method, path, body, { etag, quiet: true });
    element.dispatchEvent(new CustomEvent("done", { detail: answer, bubbles: true }));
    element.closest("dialog")?.close();
    if (done) notice(done, "good");
    if (then === "reload") location.reload();
    else if (then.startsWith("refresh:")) await refresh(then.slice(8).split(","));
    else if (then !== "none") {
      location.href = address(then.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(answer.body[name])));
    }
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
  if (!form.dataset.call || event.defaultPrevented) return;
  event.preventDefault();
  const body = valuesOf(form);
  if (body) await act(form, body);
});

/* data-picks="2" on a button: it can be pressed when so many [data-pick] are ticked. */
function picked() {
  for (const button of document.querySelectorAll("[data-picks]")) {
    button.disabled = document.querySelectorAll("[data-pick]:checked").length !== Number(button.dataset.picks);
  }
}

document.addEventListener("change", picked);

/* Filters go into the address without the fields that are empty. */
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form[method='get']")) return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

/* htmx: what is refused is a page of its own, and a click that opens a tab is the browser's. */
document.addEventListener("htmx:before:response", (event) => {
  const { raw } = event.detail.ctx.response;
  if (raw.ok) return;
  event.preventDefault();
  location.href = raw.url;
});
document.addEventListener("htmx:error", () => notice("The server cannot be reached; try again.", "bad"));
document.addEventListener("htmx:after:swap", () => [picked(), localise(document)]);
window.addEventListener("click", (event) => {
  if ((event.ctrlKey || event.metaKey || event.shiftKey) && event.target.closest("a[hx-boost]")) event.stopPropagation();
}, true);
localise(document);
// On a narrow screen the tab that is shown may stand outside of its bar.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
