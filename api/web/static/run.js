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

function append(row) {
  localise(row);
  keep(row);
  const ofStep = [...log.children].findLast((other) => other.dataset.step === row.dataset.step);
  if (row.dataset.key && ofStep?.dataset.key === row.dataset.key) {
    ofStep.querySelector(".words").append(...row.querySelector(".words").childNodes);
  } else {
    log.append(row);
  }
}

function add(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const atEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 80;
  append(holder.content.querySelector("li"));
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

// The next part of a long log is put below this one; without a script the link leads to a page with that part.
document.getElementById("more")?.addEventListener("click", async (event) => {
  const link = event.target.closest("a[rel=next]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  link.setAttribute("aria-busy", "true");
  const reply = await fetch(link.href, { headers: { Accept: "text/html" } });
  if (!reply.ok) {
    location.assign(link.href);
    return;
  }
  const part = new DOMParser().parseFromString(await reply.text(), "text/html");
  for (const row of [...part.getElementById("log").children]) append(document.adoptNode(row));
  const following = part.querySelector("#more a[rel=next]");
  if (following) link.replaceWith(document.adoptNode(following));
  else link.remove();
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
