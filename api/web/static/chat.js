// The playground: asks by POST /api/runs and draws the stream of the run. Text of models and memories goes in as text.
import { address, call, live, make, notice, valuesOf } from "./page.js";
import { growing } from "./growing.js";
import { asCurl, asPython } from "./snippets.js";

const part = (id) => document.getElementById(id);
const ask = part("ask");
const STATUS = { "run.queued": "queued", "run.started": "running", "run.resumed": "running" };
const ENDS = { "run.finished": "succeeded", "run.failed": "failed", "run.cancelled": "cancelled" };
const ENDED = [...Object.values(ENDS), "budget_exhausted"];
const SHOWN_THOUGHT = 20_000;
let unfollow = () => {};
let clock = 0;
let now = null; // the run on the page

/** The body of POST /api/runs, null when the options are no JSON. A typed task in JSON goes as it is. */
function asked() {
  const values = valuesOf(ask);
  if (!values) return null;
  const { vaults, tokens, calls, seconds, config, ...rest } = values;
  const body = { input: "", ...rest };
  const limits = Object.entries({ tokens, calls, seconds }).filter(([, limit]) => limit);
  if (limits.length) body.budget = Object.fromEntries(limits);
  if (config) body.config = config;
  if (vaults) body.vaults = [vaults];
  if (/^\s*\{/.test(body.input)) {
    try {
      const task = JSON.parse(body.input);
      if (task.kind) body.input = task;
    } catch { /* a text that begins with a brace */ }
  }
  return body;
}

function begin(id, budget = {}) {
  if (part("playground").dataset.follows === "no") return location.assign(address(`/ui/runs/${id}`));
  unfollow();
  clearInterval(clock);
  const used = { tokens: 0, calls: 0, seconds: 0 };
  const drawn = { tree: growing(part("tree")), memories: new Set() };
  now = { id, budget, used, ...drawn, texts: new Map(), thoughts: new Map(), steps: [], begun: 0 };
  document.querySelector(".empty")?.remove();
  for (const empty of ["answer", "reasoning", "thought", "memories", "memories-count", "tree-count"]) {
    part(empty).replaceChildren();
  }
  for (const hidden of ["error", "thinking", "fork", "tree-link"]) part(hidden).hidden = true;
  for (const shown of ["reply", "no-memories", "no-tree", "answer", "stop"]) part(shown).hidden = false;
  part("reply").dataset.going = "";
  part("reply").dataset.run = id;
  part("run-link").href = address(`/ui/runs/${id}`);
  part("tree-link").href = address(`/ui/runs/${id}/tree`);
  part("stop").dataset.path = `/api/runs/${id}/cancel`;
  part("fork-form").dataset.path = `/api/runs/${id}/fork`;
  history.replaceState(null, "", `${location.pathname}?run=${id}`);
  status("queued");
  clock = setInterval(spent, 250);
  spent();
  unfollow = live(address(`/api/runs/${id}/stream`), take, { onEnd: ended });
}

function status(name) {
  part("status").className = `status badge ${name}`;
  part("status").textContent = name.replaceAll("_", " ");
}

function take(event) {
  const { type, data, seq, step } = event;
  if (type in STATUS) status(STATUS[type]);
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
    case "run.failed": fail("failed", `${data.code}: ${data.message}`); break;
    case "run.cancelled": fail("cancelled", `Stopped: ${data.reason}`); break;
    default: if (now.tree.take(type, data)) grown();
  }
  if (type in ENDS) {
    now.ended = Date.parse(event.at);
    over(now, seq);
  }
  spent();
}

// A run that was resumed has an end in the middle of its log, so the record says whether this is the last one. Should
// it not say so yet, the stream ends by itself a little later.
async function over(run, seq) {
  const { body } = await call("GET", `/api/runs/${run.id}`);
  if (run !== now || body.last_event !== seq || !ENDED.includes(body.status)) return;
  unfollow();
  ended();
}

function write(pieces, seq, text, element) {
  pieces.set(seq, text);
  element.append(text);
}

// A thought of another step begins a paragraph.
function think(seq, step, text) {
  const place = part("reasoning");
  part("thinking").hidden = false;
  write(now.thoughts, seq, now.thoughts.size && part("thought").textContent !== step ? `\n\n${text}` : text, place);
  while (place.textContent.length > SHOWN_THOUGHT && place.childNodes.length > 1) place.firstChild.remove();
  part("thought").textContent = step;
  place.scrollTop = place.scrollHeight;
}

// What a restart made void is taken back; it will be said again.
function drop(ranges) {
  for (const [pieces, element] of [[now.texts, part("answer")], [now.thoughts, part("reasoning")]]) {
    for (const seq of [...pieces.keys()]) {
      if (ranges.some(([first, last]) => seq >= first && seq <= last)) pieces.delete(seq);
    }
    element.replaceChildren(...pieces.values());
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

function fail(how, words) {
  status(how);
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
    const left = Math.max(0, Math.round((limit - used) * 10) / 10);
    const bar = line.querySelector("progress");
    const digits = name === "seconds" ? used.toFixed(1) : used.toLocaleString("en").replaceAll(",", "\u202f");
    line.querySelector(".used").textContent = digits;
    line.querySelector(".left").textContent = limit ? `of ${limit}, ${left} left` : "no limit";
    line.classList.toggle("short", Boolean(limit) && used > 0.8 * limit);
    bar.hidden = !limit;
    if (limit) [bar.max, bar.value] = [limit, Math.min(used, limit)];
  }
}

async function remember({ id, shown, why }) {
  if (now.memories.has(id)) return;
  now.memories.add(id);
  const held = shown === "held_out";
  const link = make("a", { href: address(`/ui/memories/${id}`) }, id);
  const reason = make("span", { className: "why" }, held ? `held out to measure it; ${why}` : why);
  part("memories").append(make("li", { className: held ? "held" : "" }, link, reason));
  part("memories-count").textContent = now.memories.size;
  part("no-memories").hidden = true;
  try {
    const { body } = await call("GET", `/api/memories/${id}`, undefined, { quiet: true });
    link.textContent = body.title || body.content.slice(0, 120) || id;
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
  const body = asked();
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

part("fork").addEventListener("click", () => {
  const choices = [[1, "the beginning"], ...now.steps.map(([seq, name]) => [seq, `after ${name} (event ${seq})`])];
  part("fork-event").replaceChildren(...choices.map(([seq, label]) => new Option(label, seq)));
  part("fork-dialog").showModal();
});

part("fork-form").addEventListener("done", ({ detail: { body } }) => {
  notice(`Forked from event ${part("fork-event").value} of ${now.id}.`, "good");
  begin(body.id, now.budget);
});

function code(language) {
  const body = asked();
  if (!body) return;
  const base = new URL(address("/"), location.href).href.replace(/\/$/, "");
  part("code-text").textContent = (language === "curl" ? asCurl : asPython)(body, base);
  for (const one of document.querySelectorAll("[data-code]")) one.ariaPressed = String(one.dataset.code === language);
  if (!part("code").open) part("code").showModal();
}
part("copy").addEventListener("click", () => code(document.querySelector("[aria-pressed=true]").dataset.code));
part("code").addEventListener("click", ({ target }) => {
  if (target.dataset.code) code(target.dataset.code);
});

function about() {
  const { value, selectedOptions: [chosen] } = part("agent");
  part("about").textContent = chosen.dataset.about;
  part("options-link").href = address(`/ui/settings/agents/${encodeURIComponent(value)}`);
}
part("agent").addEventListener("change", about);
about();

const { run } = part("playground").dataset;
if (run) {
  const { body } = await call("GET", `/api/runs/${run}`);
  begin(run, body.budget);
}
