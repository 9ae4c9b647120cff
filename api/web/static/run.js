// The live part of a run's page: rows come rendered and escaped from the server; rows that a restart made void go.
import { address, live, localise, refresh } from "./page.js";

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
      show();
    } catch {
      later(2000);
    }
  }, wait);
}

function follow() {
  const { run, last } = log.dataset;
  live(address(`/ui/runs/${run}/rows?after=${last}`), (event) => {
    if (event.void.length > 0) drop(event.void);
    add(event.html);
    show();
    if (event.end) {
      answered.clear();
      later(0);
      return false;
    }
    if (!event.type.endsWith(".delta")) later(400);
    return true;
  });
}

document.getElementById("quiet").addEventListener("change", (event) => {
  log.classList.toggle("quiet", event.target.checked);
});

// "Fork from here" in a row opens the dialog with the number of the row's event.
log.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fork]");
  if (!button) return;
  document.getElementById("fork-event").value = button.closest("li").dataset.seq;
  document.getElementById("fork").showModal();
});

for (const row of log.children) keep(row);
if (log.dataset.live === "yes") {
  show();
  follow();
}
