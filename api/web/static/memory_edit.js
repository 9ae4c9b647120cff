// The form that corrects a memory. Only what was changed is sent, with the version that was seen. When somebody else was
// quicker (412), both sides are shown and the form goes on from the newer version: nothing that was typed is lost, and
// nothing that they wrote is overwritten without a look.
import { sideBySide } from "./diff.js";
import { address, call, notice } from "./page.js";

const form = document.getElementById("edit");
const fields = [...form.elements].filter((field) => field.name);
const save = document.getElementById("save");
const clash = document.getElementById("clash");
const preview = document.getElementById("preview");
const state = document.getElementById("edit-state");
let version = Number(form.dataset.version);
const base = Object.fromEntries(fields.map((field) => [field.name, field.value]));
let saving = false;

const label = (field) => field.closest("label").firstChild.textContent.trim();
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// Times are shown to the second, in UTC.
const isTime = (field) => /_(from|to|at)$/.test(field.name);

/** The value of a field as the API takes it; throws for what is no JSON. */
function sent(field) {
  const text = field.value;
  switch (field.dataset.as) {
    case "list": return lines(text);
    case "number": return Number(text);
    case "bool": return text === "true";
    case "json": return text.trim() ? JSON.parse(text) : {};
    default: return text === "" ? null : text;
  }
}

/** A value of the API as its field shows it. */
function shown(field, value) {
  if (field.dataset.as === "list") return (value ?? []).join("\n");
  if (field.dataset.as === "json") return JSON.stringify(value ?? {}, null, 2);
  if (value === null || value === undefined) return "";
  if (isTime(field)) return `${String(value).slice(0, 19)}Z`;
  return String(value).replaceAll("\r\n", "\n");
}

/** Whether two texts of a field say the same to the API. */
function equal(field, a, b) {
  if (a === b) return true;
  if (field.dataset.as === "number") return Number(a) === Number(b);
  if (field.dataset.as === "list") return lines(a).join("\n") === lines(b).join("\n");
  if (field.dataset.as === "json") {
    try {
      return JSON.stringify(JSON.parse(a || "{}")) === JSON.stringify(JSON.parse(b || "{}"));
    } catch {
      return false;
    }
  }
  return a !== "" && b !== "" && isTime(field) ? Date.parse(a) === Date.parse(b) : false;
}

const changed = () => fields.filter((field) => !equal(field, field.value, base[field.name]));

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function show() {
  const now = changed();
  save.disabled = now.length === 0 || saving;
  save.textContent = `Save as version ${version + 1}`;
  state.textContent = now.length ? `Changed: ${now.map(label).join("; ")}` : "Nothing is changed yet.";
  preview.hidden = now.length === 0;
  const content = now.find((field) => field.name === "content");
  const text = document.getElementById("preview-text");
  text.hidden = !content;
  if (content) sideBySide(text, base.content, content.value, [`Version ${version}`, `Version ${version + 1}, as you wrote it`]);
  const rest = now.filter((field) => field !== content).map((field) => {
    const line = make("p");
    line.append(`${label(field)}: `, make("del", base[field.name].replaceAll("\n", ", ") || "nothing"), " → ", make("ins", field.value.replaceAll("\n", ", ") || "nothing"));
    return line;
  });
  document.getElementById("preview-fields").replaceChildren(...rest);
}

let planned = 0;
form.addEventListener("input", () => {
  clearTimeout(planned);
  planned = setTimeout(show, 200);
  save.disabled = false;
});

/** Both sides of every field that both changed; what only they changed is taken, what only you changed stays. */
function both(current) {
  const theirs = { ...current.header, content: current.content ?? "" };
  const disputed = [];
  const taken = [];
  for (const field of fields) {
    const told = shown(field, theirs[field.name]);
    const mine = !equal(field, field.value, base[field.name]);
    const changedByThem = !equal(field, told, base[field.name]);
    if (mine && changedByThem && !equal(field, field.value, told)) disputed.push([field, told, field.value]);
    else if (changedByThem) {
      taken.push(label(field));
      field.value = told;
    }
    base[field.name] = told;
  }
  clash.replaceChildren();
  const title = make("h2", `Somebody saved version ${current.version} while you were editing version ${version}.`);
  title.id = "clash-title";
  clash.append(title, make("p", "Nothing is saved yet, and nothing is lost. Choose for each field, or write a text that joins both below; then save again.", "sub"));
  if (taken.length) clash.append(make("p", `Changed by them alone, and taken over: ${taken.join("; ")}.`, "sub"));
  version = current.version;
  for (const [field, told, mine] of disputed) clash.append(...choice(field, told, mine));
  clash.hidden = false;
  show();
  clash.focus();
  clash.scrollIntoView({ block: "start" });
}

function choice(field, told, mine) {
  const sides = make("div", "", "sides");
  for (const [name, text] of [[`Theirs, version ${version}`, told], ["Yours", mine]]) {
    const side = make("div");
    const box = make("div", text || "nothing", "text");
    box.tabIndex = 0;
    side.append(make("h4", name), box);
    sides.append(side);
  }
  const difference = make("div", "", "diff");
  sideBySide(difference, told, mine, [`Theirs, version ${version}`, "Yours"]);
  const actions = make("div", "", "row");
  const options = [["Take theirs", told], ["Keep mine", mine]];
  if (field.name === "content" || field.dataset.as === "list") options.push(["Put both below each other", `${told}\n${mine}`]);
  for (const [words, text] of options) {
    const button = make("button", words);
    button.type = "button";
    button.setAttribute("aria-pressed", String(text === mine));
    button.onclick = () => {
      for (const other of actions.children) other.setAttribute("aria-pressed", String(other === button));
      field.value = field.dataset.as === "list" ? [...new Set(lines(text))].join("\n") : text;
      show();
    };
    actions.append(button);
  }
  actions.className = "segmented";
  return [make("h3", label(field)), ...(field.name === "content" ? [difference] : [sides]), actions];
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = {};
  for (const field of changed()) {
    try {
      body[field.name] = sent(field);
      field.removeAttribute("aria-invalid");
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      field.focus();
      return notice(`${label(field)}: this is not JSON: ${error.message}`, "bad");
    }
  }
  if (!Object.keys(body).length) return notice("Nothing is changed, so there is nothing to save.", "calm");
  const reason = document.getElementById("reason").value;
  if (reason) body.reason = reason;
  saving = true;
  save.disabled = true;
  try {
    await call("PATCH", `/api/memories/${form.dataset.memory}`, body, { etag: version, quiet: true });
    location.href = address(`/ui/memories/${form.dataset.memory}`);
  } catch (error) {
    saving = false;
    if (error.status === 412 && error.problem.current) both(error.problem.current);
    else {
      notice(error.message, "bad");
      show();
    }
  }
});

window.addEventListener("beforeunload", (event) => {
  if (!saving && changed().length) event.preventDefault();
});
