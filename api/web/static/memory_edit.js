// The form that corrects a memory. Only what was changed is sent, with the version that was seen. When somebody else
// was quicker (412), both sides are shown and the form goes on from the newer version: nothing that was typed is lost,
// and nothing that they wrote is overwritten without a look.
import { sideBySide } from "./diff.js";
import { act, button, fetched, make, meant, notice, valuesOf } from "./page.js";

const form = document.getElementById("edit");
const fields = [...form.querySelectorAll(".fields [name]")];
const save = document.getElementById("save");
const clash = document.getElementById("clash");
// As the server wrote it: somebody may have typed before this script was there.
const written = form.cloneNode(true);
written.reset();
const base = Object.fromEntries(fields.map(({ name }) => [name, written.elements[name].value]));
let saved = false;

const version = () => Number(form.dataset.etag);
const label = (field) => field.closest("label").firstChild.textContent.trim();
const equal = (field, a, b) => spelled(field, a) === spelled(field, b);
const changed = () => fields.filter((field) => !equal(field, field.value, base[field.name]));

/** What a text of a field says, in one spelling: whether two say the same to the API. */
function spelled(field, text) {
  try {
    return JSON.stringify("time" in field.dataset ? Date.parse(text) || text : (meant(field, text) ?? {}));
  } catch {
    return text;
  }
}

function show() {
  const now = changed();
  save.disabled = now.length === 0;
  save.textContent = `Save as version ${version() + 1}`;
  const told = now.length ? `Changed: ${now.map(label).join("; ")}` : "Nothing is changed yet.";
  document.getElementById("edit-state").textContent = told;
  document.getElementById("preview").hidden = now.length === 0;
  const content = now.find((field) => field.name === "content");
  const text = document.getElementById("preview-text");
  text.hidden = !content;
  const titles = [`Version ${version()}`, `Version ${version() + 1}, as you wrote it`];
  if (content) sideBySide(text, base.content, content.value, titles);
  const mark = (tag, value) => make(tag, {}, value.replaceAll("\n", ", ") || "nothing");
  const line = (field) => [`${label(field)}: `, mark("del", base[field.name]), " → ", mark("ins", field.value)];
  const rest = now.filter((field) => field !== content).map((field) => make("p", {}, ...line(field)));
  document.getElementById("preview-fields").replaceChildren(...rest);
}

let planned = 0;
form.addEventListener("input", () => {
  clearTimeout(planned);
  planned = setTimeout(show, 200);
  save.disabled = false;
});

/** Both sides of every field that both changed; what only they changed is taken, what only you changed stays. */
async function both() {
  const theirs = (await fetched())?.getElementById("edit");
  if (!theirs) return notice("Nothing is saved: somebody else was quicker, and their version cannot be shown.", "bad");
  const title = `Somebody saved version ${theirs.dataset.etag} while you were editing version ${version()}.`;
  form.dataset.etag = theirs.dataset.etag;
  const disputed = [];
  const taken = [];
  for (const field of fields) {
    const told = theirs.elements[field.name].value;
    const mine = !equal(field, field.value, base[field.name]);
    if (mine && !equal(field, told, base[field.name]) && !equal(field, field.value, told)) {
      disputed.push(...choice(field, told, field.value));
    } else if (!mine && !equal(field, told, base[field.name])) {
      taken.push(label(field));
      field.value = told;
    }
    base[field.name] = told;
  }
  const help = "Choose for each field, or write a text that joins both below; then save again.";
  clash.replaceChildren(
    make("h2", { id: "clash-title" }, title),
    make("p", { className: "sub" }, `Nothing is saved yet, and nothing is lost. ${help}`),
  );
  const alone = `Changed by them alone, and taken over: ${taken.join("; ")}.`;
  if (taken.length) clash.append(make("p", { className: "sub" }, alone));
  clash.append(...disputed);
  clash.hidden = false;
  show();
  clash.focus();
  clash.scrollIntoView({ block: "start" });
}

function choice(field, told, mine) {
  const names = [`Theirs, version ${version()}`, "Yours"];
  const shown = make("div", { className: field.name === "content" ? "diff" : "sides" });
  if (field.name === "content") sideBySide(shown, told, mine, names);
  else shown.append(...[told, mine].map((text, at) => side(names[at], text)));
  const options = [["Take theirs", told], ["Keep mine", mine]];
  const list = field.dataset.type === "lines";
  if (field.name === "content" || list) options.push(["Put both below each other", `${told}\n${mine}`]);
  const actions = make("div", { className: "segmented" }, ...options.map(([words, text]) => {
    const choose = ({ target }) => {
      for (const other of actions.children) other.ariaPressed = String(other === target);
      field.value = list ? [...new Set(meant(field, text))].join("\n") : text;
      show();
    };
    return button(words, choose, { ariaPressed: String(text === mine) });
  }));
  return [make("h3", {}, label(field)), shown, actions];
}

function side(name, text) {
  return make("div", {}, make("h4", {}, name), make("div", { className: "text", tabIndex: 0 }, text || "nothing"));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const now = changed();
  if (!now.length) return notice("Nothing is changed, so there is nothing to save.", "calm");
  const body = valuesOf(form, [...now, form.elements.reason]);
  if (!body) return;
  // What was emptied is taken away.
  for (const field of now) body[field.name] ??= field.dataset.type === "json" ? {} : null;
  await act(form, body);
  if (!saved) show();
});

form.addEventListener("refused", (event) => {
  if (event.detail.status !== 412) return;
  event.preventDefault();
  both();
});

form.addEventListener("done", () => { saved = true; });

window.addEventListener("beforeunload", (event) => {
  if (!saved && changed().length) event.preventDefault();
});

if (changed().length) show();

