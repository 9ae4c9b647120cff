// The live part of a run's page: rows come rendered and escaped from the server; rows that a restart made void go.
import { address, fetched, live, localise, refresh } from "./page.js";

const log = document.getElementById("log");
const PARTS = ["head", "facts", "result", "usage"];
let planned = 0;
let drawing = false;
let over = false;

/** The answer as far as it is said, until the server has the whole of it. */
function show() {
  const said = [...log.querySelectorAll("[data-key^='text.delta'] .words > [data-seq]")];
  if (over || !said.length) return;
  document.getElementById("answer").textContent = said.map((piece) => piece.textContent).join("");
}

function drop(ranges) {
  const gone = ({ dataset: { seq } }) => ranges.some(([first, last]) => Number(seq) >= first && Number(seq) <= last);
  for (const piece of log.querySelectorAll(".words > [data-seq]")) if (gone(piece)) piece.remove();
  for (const row of log.querySelectorAll(":scope > li")) {
    if (row.matches(".said") ? !row.querySelector(".words > [data-seq]") : gone(row)) row.remove();
  }
}

function append(row) {
  localise(row);
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

// Head, facts, answer and usage are drawn by the server; they are fetched again when something changed them, one fetch
// after the other, or an older answer could come last.
function later(wait) {
  planned ||= setTimeout(draw, wait);
}

async function draw() {
  planned = 0;
  if (drawing) return later(200);
  drawing = true;
  const drawn = await refresh(PARTS).catch(() => null);
  drawing = false;
  if (!drawn) return later(2000);
  show();
}

function follow() {
  const { run, last } = log.dataset;
  live(address(`/ui/runs/${run}/rows?after=${last}`), (event) => {
    if (event.void.length > 0) drop(event.void);
    add(event.html);
    over = event.end;
    show();
    if (over || !event.type.endsWith(".delta")) later(over ? 0 : 400);
    return !over;
  });
}

// The next part of a long log is put below this one; without a script the link leads to a page with that part.
document.getElementById("more")?.addEventListener("click", async (event) => {
  const link = event.target.closest("a[rel=next]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  link.ariaBusy = "true";
  const part = await fetched(link.href);
  if (!part) return location.assign(link.href);
  for (const row of [...part.getElementById("log").children]) append(document.adoptNode(row));
  const following = part.querySelector("#more a[rel=next]");
  link.replaceWith(...(following ? [document.adoptNode(following)] : []));
});

// "Fork from here" in a row opens the dialog with the number of the row's event.
log.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fork]");
  if (!button) return;
  document.getElementById("fork-event").value = button.closest("li").dataset.seq;
  document.getElementById("fork").showModal();
});

if (log.dataset.live === "yes") {
  show();
  follow();
}
