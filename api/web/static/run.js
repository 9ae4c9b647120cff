// The live part of a run's page: reads the event stream, adds rows, and drops rows that a restart made void.
const log = document.getElementById("log");
const badge = document.getElementById("live");
const status = document.getElementById("status");
const answer = document.getElementById("answer");
const tokens = document.getElementById("tokens");
const ENDS = { "run.finished": null, "run.failed": "failed", "run.cancelled": "cancelled" };
let texts = new Map();
let spent = Number(tokens.textContent.replaceAll(",", ""));

function cell(name, className, text) {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

function row(event) {
  const line = document.createElement("li");
  line.dataset.seq = event.seq;
  line.className = event.type.replace(".", "-");
  const time = cell("time", "", event.at.slice(11, 19));
  time.dateTime = event.at;
  const isText = event.type === "text.delta" || event.type === "reasoning.delta";
  line.append(
    cell("span", "seq", event.seq), time, cell("span", "type", event.type), cell("span", "step", event.step ?? ""),
    cell("pre", "", isText ? event.data.text : JSON.stringify(event.data)),
  );
  return line;
}

function setStatus(value) {
  status.className = `status ${value}`;
  status.textContent = value.replaceAll("_", " ");
}

function drop(ranges) {
  for (const line of [...log.children]) {
    const seq = Number(line.dataset.seq);
    if (ranges.some(([first, last]) => seq >= first && seq <= last)) {
      texts.delete(seq);
      line.remove();
    }
  }
}

function showAnswer() {
  answer.textContent = [...texts.values()].join("");
}

function take(event) {
  if (log.querySelector(`li[data-seq="${event.seq}"]`)) return;
  log.append(row(event));
  if (event.type === "run.started" || event.type === "run.resumed") setStatus("running");
  if (event.type === "run.resumed") { drop(event.data.void ?? []); showAnswer(); }
  if (event.type === "text.delta") { texts.set(event.seq, event.data.text); showAnswer(); }
  if (event.type === "llm.call") {
    spent += event.data.usage.prompt_tokens + event.data.usage.completion_tokens;
    tokens.textContent = spent.toLocaleString("en");
  }
  if (event.type in ENDS) {
    setStatus(ENDS[event.type] ?? event.data.status);
    if (event.type === "run.finished" && event.data.output) answer.textContent = event.data.output.text;
    if (event.type === "run.failed") answer.textContent = event.data.message;
    badge.hidden = true;
  }
}

function follow() {
  const address = `${document.body.dataset.root}/api/runs/${log.dataset.run}/stream?after=${log.dataset.last}`;
  const source = new EventSource(address);
  const types = ["run.queued", "run.started", "run.resumed", "run.finished", "run.failed", "run.cancelled", "llm.call",
    "text.delta", "reasoning.delta", "memory.read", "memory.written", "node.created", "node.scored", "node.selected",
    "node.backed_up", "task.opened", "task.closed", "span.pruned", "span.recalled", "tool.call", "tool.result",
    "file.written", "check.failed", "step.completed", "budget.warning"];
  for (const type of types) {
    source.addEventListener(type, (message) => {
      const event = JSON.parse(message.data);
      take(event);
      if (event.type in ENDS) source.close();
    });
  }
  source.onopen = () => { badge.classList.remove("away"); badge.textContent = "live"; };
  source.onerror = () => { badge.classList.add("away"); badge.textContent = "reconnecting"; };
}

for (const line of log.children) {
  if (line.classList.contains("text-delta")) texts.set(Number(line.dataset.seq), line.querySelector("pre").textContent);
}
if (log.dataset.live === "yes") { showAnswer(); follow(); }
