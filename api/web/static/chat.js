// The playground: asks by POST /api/runs and draws the stream of the run. Text of models and memories goes in as text.
import { call, address, live, notice, valuesOf } from "./page.js";
import { growing } from "./growing.js";
import { asCurl, asPython } from "./snippets.js";

const part = (id) => document.getElementById(id);
const place = part("playground");
const ask = part("ask");
const KINDS = "run.queued run.started run.resumed run.finished run.failed run.cancelled llm.call text.delta reasoning.delta step.completed budget.warning memory.read node.created node.scored node.selected node.backed_up task.opened task.closed span.pruned span.recalled".split(" ");
const STATUS = { "run.queued": "queued", "run.started": "running", "run.resumed": "running", "run.failed": "failed", "run.cancelled": "cancelled" };
const ENDS = { "run.finished": 1, "run.failed": 1, "run.cancelled": 1 };
const ENDED = { succeeded: 1, failed: 1, cancelled: 1, budget_exhausted: 1 };
const SHOWN_THOUGHT = 20_000;
let unfollow = () => {};
let clock = 0;
let now = null; // the run on the page

/** The body of POST /api/runs. A question that is a typed task in JSON goes as it is. Throws when the options are no JSON. */
function asked() {
  const body = { agent: part("agent").value, input: part("input").value, memory: part("memory").value };
  if (/^\s*\{/.test(body.input)) {
    try {
      const task = JSON.parse(body.input);
      if (task.kind) body.input = task;
    } catch { /* a text that begins with a brace */ }
  }
  if (part("vault").value) body.vaults = [part("vault").value];
  if (part("model").value) body.model = part("model").value;
  for (const name of ["tokens", "calls", "seconds"]) {
    const limit = part(`budget-${name}`).value;
    if (limit) (body.budget ??= {})[name] = Number(limit);
  }
  const config = part("config").value.trim();
  if (config) body.config = JSON.parse(config);
  return body;
}

function read() {
  try {
    return asked();
  } catch (error) {
    part("config").closest("details").open = true;
    part("config").focus();
    notice(`The options are not JSON: ${error.message}`, "bad");
    return null;
  }
}

function begin(id, budget = {}) {
  unfollow();
  clearInterval(clock);
  now = { id, budget, texts: new Map(), thoughts: new Map(), steps: [], used: { tokens: 0, calls: 0, seconds: 0 }, begun: 0, tree: growing(part("tree")), memories: new Map() };
  document.querySelector(".empty")?.remove();
  for (const gone of ["answer", "reasoning", "memories", "memories-count", "tree-count", "thought"]) part(gone).replaceChildren();
  for (const hidden of ["error", "thinking", "fork"]) part(hidden).hidden = true;
  for (const shown of ["reply", "no-memories", "no-tree", "answer", "stop"]) part(shown).hidden = false;
  part("reply").dataset.going = "";
  part("run-link").href = address(`/ui/runs/${id}`);
  part("tree-link").href = address(`/ui/runs/${id}/tree`);
  part("tree-link").hidden = true;
  part("reply").dataset.run = id;
  history.replaceState(null, "", `${location.pathname}?run=${id}`);
  status("queued");
  clock = setInterval(spent, 250);
  spent();
  unfollow = live(address(`/api/runs/${id}/stream`), (event) => take(event), { types: KINDS, onEnd: ended });
}

function status(name) {
  part("status").className = `status badge ${name}`;
  part("status").textContent = name.replaceAll("_", " ");
}

function take(event) {
  const { type, data, seq, step } = event;
  if (STATUS[type]) status(STATUS[type]);
  switch (type) {
    case "run.started": now.begun = Date.parse(event.at); break;
    case "run.resumed":
      drop(data.void);
      now.ended = undefined;
      part("error").hidden = true;
      break;
    case "text.delta": write(now.texts, seq, data.text, part("answer")); break;
    case "reasoning.delta": think(seq, step ?? "", data.text); break;
    case "llm.call":
      now.used.calls += 1;
      now.used.tokens += data.usage.prompt_tokens + data.usage.completion_tokens;
      break;
    case "step.completed": now.steps.push([seq, data.name]); break;
    case "memory.read": remember(data); break;
    case "run.finished": finish(data); break;
    case "run.failed": fail(`${data.code}: ${data.message}`); break;
    case "run.cancelled": fail(`Stopped: ${data.reason}`); break;
    default: if (now.tree.take(type, data)) grown();
  }
  if (type in ENDS) {
    now.ended = Date.parse(event.at);
    over(now, seq);
  }
  spent();
}

// A run that was resumed has an end in the middle of its log, so the record says whether this is the last one. Should it
// not say so yet, the stream ends by itself a little later.
async function over(run, seq) {
  const { body } = await call("GET", `/api/runs/${run.id}`);
  if (run !== now || body.last_event !== seq || !(body.status in ENDED)) return;
  unfollow();
  ended();
}

function write(pieces, seq, text, element) {
  pieces.set(seq, text);
  element.append(text);
}

function think(seq, step, text) {
  part("thinking").hidden = false;
  const last = [...now.thoughts.values()].at(-1);
  now.thoughts.set(seq, { step, text });
  part("reasoning").append(last && last.step !== step ? `\n\n${text}` : text);
  while (part("reasoning").textContent.length > SHOWN_THOUGHT && part("reasoning").childNodes.length > 1) part("reasoning").firstChild.remove();
  part("thought").textContent = step;
  part("reasoning").scrollTop = part("reasoning").scrollHeight;
}

// What a restart made void is taken back; it will be said again.
function drop(ranges) {
  for (const [pieces, element, textOf] of [[now.texts, part("answer"), (piece) => piece], [now.thoughts, part("reasoning"), (piece) => piece.text]]) {
    for (const seq of [...pieces.keys()]) if (ranges.some(([first, last]) => seq >= first && seq <= last)) pieces.delete(seq);
    element.replaceChildren(...[...pieces.values()].map(textOf));
  }
}

function finish({ status: how, output, reason }) {
  status(how);
  const text = output?.text ?? "";
  if (text || !part("answer").textContent) part("answer").textContent = text || (reason ?? "There is no answer.");
  for (const made of output?.tool_calls ?? []) part("answer").append(`\n${made.name}(${made.arguments})`);
  if (how === "budget_exhausted") part("error").textContent = `Cut off: ${reason ?? "the budget is used up"}.`;
  part("error").hidden = how !== "budget_exhausted";
}

function fail(words) {
  part("error").textContent = words;
  part("error").hidden = false;
  part("answer").hidden = part("answer").textContent === "";
}

function ended() {
  clearInterval(clock);
  delete part("reply").dataset.going;
  part("stop").hidden = true;
  part("fork").hidden = false;
  part("send").disabled = false;
  spent();
}

function spent() {
  if (now.begun) now.used.seconds = Math.max(0, ((now.ended ?? Date.now()) - now.begun) / 1000);
  for (const [name, used] of Object.entries(now.used)) {
    const line = part(`used-${name}`);
    const limit = now.budget?.[name];
    const bar = line.querySelector("progress");
    line.querySelector(".used").textContent = name === "seconds" ? used.toFixed(1) : used.toLocaleString("en").replaceAll(",", "\u202f");
    line.querySelector(".left").textContent = limit ? `of ${limit}, ${Math.max(0, Math.round((limit - used) * 10) / 10)} left` : "no limit";
    line.classList.toggle("short", Boolean(limit) && used > 0.8 * limit);
    bar.hidden = !limit;
    if (limit) [bar.max, bar.value] = [limit, Math.min(used, limit)];
  }
}

async function remember(data) {
  if (now.memories.has(data.id)) return;
  const line = document.createElement("li");
  const link = document.createElement("a");
  const why = document.createElement("span");
  link.href = address(`/ui/memories/${data.id}`);
  link.textContent = data.id;
  why.className = "why";
  why.textContent = data.shown === "held_out" ? `held out to measure it; ${data.why}` : data.why;
  line.classList.toggle("held", data.shown === "held_out");
  line.append(link, why);
  now.memories.set(data.id, line);
  part("memories").append(line);
  part("memories-count").textContent = now.memories.size;
  part("no-memories").hidden = true;
  try {
    const { body } = await call("GET", `/api/memories/${data.id}`, undefined, { quiet: true });
    link.textContent = body.title || body.content.slice(0, 120) || data.id;
    link.title = link.textContent;
  } catch { /* it may be gone since; its id stays */ }
}

function grown() {
  part("no-tree").hidden = true;
  part("tree-link").hidden = false;
  part("tree-count").textContent = now.tree.size;
}

ask.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = read();
  if (!body) return;
  part("send").disabled = true;
  try {
    const answer = await call("POST", "/api/runs", body);
    begin(answer.body.id, body.budget);
  } catch {
    part("send").disabled = false;
  }
});

part("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask.requestSubmit();
});

part("stop").addEventListener("click", async () => {
  part("stop").disabled = true;
  try {
    await call("POST", `/api/runs/${now.id}/cancel`);
  } finally {
    part("stop").disabled = false;
  }
});

part("fork").addEventListener("click", () => {
  const choices = [[1, "the beginning"], ...now.steps.map(([seq, name]) => [seq, `after ${name} (event ${seq})`])];
  part("fork-event").replaceChildren(...choices.map(([seq, label]) => new Option(label, seq)));
  part("fork-dialog").showModal();
});

part("fork-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { from_event: from } = valuesOf(event.target);
  part("fork-dialog").close();
  const answer = await call("POST", `/api/runs/${now.id}/fork`, { from_event: Number(from) });
  notice(`Forked from event ${from} of ${now.id}.`, "good");
  begin(answer.body.id, now.budget);
});

let language = "curl";
function code() {
  const body = read();
  if (!body) return false;
  part("code-text").textContent = (language === "curl" ? asCurl : asPython)(body, new URL(address("/"), location.href).href.replace(/\/$/, ""));
  for (const button of document.querySelectorAll("[data-code]")) button.setAttribute("aria-pressed", String(button.dataset.code === language));
  return true;
}
part("copy").addEventListener("click", () => code() && part("code").showModal());
part("code").addEventListener("click", (event) => {
  if (!event.target.dataset.code) return;
  language = event.target.dataset.code;
  code();
});

function about() {
  const chosen = part("agent").selectedOptions[0];
  const kinds = chosen.dataset.kinds.split(" ");
  part("about").textContent = chosen.dataset.about + (kinds.includes("chat") ? "" : ` It takes typed tasks as JSON: {"kind": "${kinds[0]}", …}.`);
  part("options-link").href = address(`/ui/settings/agents/${encodeURIComponent(chosen.value)}`);
}
part("agent").addEventListener("change", about);
about();

if (place.dataset.run) {
  const id = place.dataset.run;
  const { body } = await call("GET", `/api/runs/${id}`);
  begin(id, body.budget);
}
