// The live part of a run's page: rows come rendered and escaped from the server; rows that a restart made void go.
import { localise, refresh, say } from "./page.js";

const log = document.getElementById("log");
const PARTS = ["head", "facts", "result", "usage"];
const answered = new Map();
let planned = 0;

function show() {
  const answer = document.getElementById("answer");
  if (answered.size > 0) answer.textContent = [...answered.values()].join("");
}

function keep(row) {
  if (!row.dataset.key.startsWith("text.delta")) return;
  for (const piece of row.querySelectorAll("[data-seq]")) answered.set(Number(piece.dataset.seq), piece.textContent);
}

function drop(ranges) {
  const gone = (element) => ranges.some(([first, last]) => {
    const seq = Number(element.dataset.seq);
    return seq >= first && seq <= last;
  });
  for (const piece of log.querySelectorAll(".words > [data-seq]")) {
    if (!gone(piece)) continue;
    answered.delete(Number(piece.dataset.seq));
    const row = piece.closest("li");
    piece.remove();
    if (!row.querySelector(".words > [data-seq]")) row.remove();
  }
  for (const row of log.querySelectorAll(":scope > li:not(.said)")) if (gone(row)) row.remove();
}

function add(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const row = holder.content.querySelector("li");
  localise(row);
  keep(row);
  const ofStep = [...log.children].findLast((other) => other.dataset.step === row.dataset.step);
  const atEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 80;
  if (row.dataset.key && ofStep?.dataset.key === row.dataset.key) {
    ofStep.querySelector(".words").append(...row.querySelector(".words").childNodes);
  } else {
    log.append(row);
  }
  if (atEnd && window.scrollY > 0) window.scrollTo(0, document.body.scrollHeight);
}

// Head, facts, answer and usage are drawn by the server; they are fetched again when something changed them.
function later(wait) {
  if (planned) return;
  planned = setTimeout(async () => {
    planned = 0;
    try {
      await refresh(PARTS);
      act();
      show();
    } catch {
      later(2000);
    }
  }, wait);
}

function follow() {
  const root = document.body.dataset.root;
  const source = new EventSource(`${root}/ui/runs/${log.dataset.run}/rows?after=${log.dataset.last}`);
  source.onopen = () => say("live");
  source.onerror = () => say(source.readyState === EventSource.CLOSED ? "" : "reconnecting");
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.void.length > 0) drop(event.void);
    add(event.html);
    show();
    if (event.end) {
      source.close();
      say("");
      answered.clear();
      later(0);
    } else if (!event.type.endsWith(".delta")) {
      later(400);
    }
  };
}

async function post(action) {
  const notice = document.getElementById("notice");
  const root = document.body.dataset.root;
  const reply = await fetch(`${root}/api/runs/${log.dataset.run}/${action}`, {
    method: "POST",
    headers: { "Idempotency-Key": `ui-${Date.now()}-${Math.random().toString(36).slice(2)}` },
  });
  if (reply.ok) {
    if (action === "resume") location.reload();
    else later(0);
    return;
  }
  const problem = await reply.json();
  notice.textContent = problem.detail;
  notice.hidden = false;
}

function act() {
  for (const button of document.querySelectorAll("[data-action]")) {
    button.onclick = () => {
      button.disabled = true;
      post(button.dataset.action);
    };
  }
}

document.getElementById("quiet").addEventListener("change", (event) => {
  log.classList.toggle("quiet", event.target.checked);
});

for (const row of log.children) keep(row);
act();
if (log.dataset.live === "yes") {
  show();
  follow();
}
